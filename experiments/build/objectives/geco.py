"""GECO (Rezende and Viola 2018)."""

from experiments.build import components
from experiments.sets import fields


@components.objective(
    "geco",
    label="GECO",
    color="C8",
    marker="P",
    kinds=("images",),
    fields={
        "geco_distortion_bpd": fields.training(
            0.0,
            "the distortion to reach, bits/dim of training images",
            low=0,
            needed=True,
        ),
        "geco_speed": fields.training(
            0.1, "of the multiplier; see objectives.GECO", low=0
        ),
    },
)
def make(hparams, sizes):
    """The least rate with which a distortion is reached."""
    import deltavae_tf
    from deltavae_tf import units

    target = units.nats_from_bits_per_dim(hparams.geco_distortion_bpd, sizes.num_dims)
    return deltavae_tf.GECO(target, hparams.geco_speed)
