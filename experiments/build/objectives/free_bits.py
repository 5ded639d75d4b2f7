"""Free bits (Kingma et al. 2016), of an example or of each channel."""

from experiments.build import components
from experiments.sets import fields

_FIELDS = {
    "free_bits": fields.training(
        0.0, "bits per example that cost nothing", low=0, needed=True
    )
}


def _make(hparams, per_channel):
    import deltavae_tf
    from deltavae_tf import units

    return deltavae_tf.FreeBits(units.nats(hparams.free_bits), per_channel)


@components.objective(
    "free_bits", label="free bits", color="C2", marker="v", fields=_FIELDS
)
def make(hparams, sizes):
    """Distortion + max(rate, free bits) (section 4.3)."""
    del sizes
    return _make(hparams, per_channel=False)


@components.objective(
    "free_bits_per_channel",
    label="free bits per channel",
    color="C5",
    marker=">",
    kinds=("images",),
    fields=_FIELDS,
)
def make_per_channel(hparams, sizes):
    """The same with an equal share of the free bits for each channel."""
    del sizes
    return _make(hparams, per_channel=True)
