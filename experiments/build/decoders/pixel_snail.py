"""The paper's decoder of images."""

from experiments.build import components
from experiments.build.encoders import images
from experiments.sets import fields


def _check(hparams):
    images.check_part(hparams, "decoder")


@components.decoder(
    "pixel_snail",
    kinds=("images",),
    check=_check,
    width=lambda hparams: hparams.decoder_width,
    fields={
        "decoder_layers": fields.architecture(8, "l_d, gated convolutions", low=1),
        "decoder_width": fields.architecture(128, "h_d, channels", low=1),
        "decoder_filter": fields.architecture(1024, "r_d, feed-forward width", low=1),
        "decoder_attention": fields.architecture(
            2, "a_d, self-attention layers; 0 keeps cross-attention", low=0
        ),
        "num_mixtures": fields.architecture(
            32, "K, logistics of the output mixture", low=1
        ),
        **images.SHARED,
    },
)
def make(hparams, sizes, policy):
    """Gated convolutions and attention over earlier pixels (section 4.1)."""
    import deltavae_tf

    return deltavae_tf.ImageDecoder(
        hparams.decoder_layers,
        hparams.decoder_width,
        hparams.decoder_filter,
        hparams.decoder_attention,
        num_mixtures=hparams.num_mixtures,
        use_latents=hparams.use_latents,
        causal_latents=hparams.encoder == "anti_causal",
        dropout_rate=hparams.dropout,
        name="decoder",
        **images.shared_arguments(hparams, sizes, policy),
    )
