"""The paper's decoder of sentences."""

from experiments.build import components
from experiments.build.encoders import text
from experiments.sets import fields


@components.decoder(
    "transformer",
    kinds=("text",),
    check=text.check,
    width=lambda hparams: hparams.width,
    fields={
        "vocabulary_size": fields.architecture(
            32_768, "subwords, bytes and PAD, EOS", low=260
        ),
        **text.SHARED,
    },
)
def make(hparams, sizes, policy):
    """Causal self-attention over earlier tokens (section 4.4)."""
    del sizes
    import deltavae_tf

    return deltavae_tf.TextDecoder(
        hparams.vocabulary_size,
        *text.shared_arguments(hparams),
        use_latents=hparams.use_latents,
        dropout_rate=hparams.dropout,
        name="decoder",
        dtype=policy,
    )
