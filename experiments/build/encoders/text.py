"""The paper's encoder of sentences: a Transformer that looks ahead."""

from experiments.build import components
from experiments.sets import fields

# Encoder and decoder share these.
SHARED = {
    "layers": fields.architecture(4, "l, of encoder and decoder", low=1),
    "width": fields.architecture(512, "h, channels", low=2),
    "filter_size": fields.architecture(2048, "r, feed-forward width", low=1),
    "num_heads": fields.architecture(2, "attention heads", low=1),
}


def check(hparams) -> None:
    """Raises a `UserError` for a width that the heads do not divide."""
    from deltavae_tf import errors

    if hparams.width % hparams.num_heads:
        raise errors.UserError(
            "'width' must be a multiple of 'num_heads'. "
            f"Received: {hparams.width} and {hparams.num_heads}"
        )


def shared_arguments(hparams) -> tuple:
    """What encoder and decoder are built with alike."""
    return (hparams.layers, hparams.width, hparams.filter_size, hparams.num_heads)


@components.encoder(
    "transformer",
    kinds=("text",),
    check=check,
    fields={
        "vocabulary_size": fields.architecture(
            32_768, "subwords, bytes and PAD, EOS", low=260
        ),
        "initial_loc_scale": fields.training(
            1.0,
            "how large the posterior means are at the start, relative to the layer's "
            "own",
            low=0,
        ),
        **SHARED,
    },
)
def make(hparams, sizes, prior, policy):
    """A token's latent sees the token and what follows it (section 4.4)."""
    del sizes
    import deltavae_tf

    return deltavae_tf.TextEncoder(
        hparams.vocabulary_size,
        hparams.latent_channels,
        *shared_arguments(hparams),
        alpha=prior.alpha,
        initial_loc_scale=hparams.initial_loc_scale,
        name="encoder",
        dtype=policy,
    )
