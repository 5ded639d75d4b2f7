"""The paper's encoders of images: gated convolutions and attention."""

from experiments.build import components
from experiments.sets import fields

# Encoder and decoder share these.
SHARED = {
    "num_heads": fields.architecture(2, "attention heads", low=1),
    "kernel_size": fields.architecture(3, "of the convolutions, odd", low=1),
    "normalization": fields.architecture(
        "layer", "of layers or of weights", choices=("layer", "weight")
    ),
    "position_signal": fields.training(
        False, "tell every pixel its row and column, as a Transformer's tokens are"
    ),
    "rematerialize": fields.free(
        False,
        "compute layers again in the backward pass instead of keeping them: a third "
        "more work, a fraction of the memory",
    ),
}
FIELDS = {
    "encoder_layers": fields.architecture(8, "l_e, gated convolutions", low=1),
    "encoder_width": fields.architecture(128, "h_e, channels", low=1),
    "encoder_filter": fields.architecture(1024, "r_e, feed-forward width", low=1),
    "encoder_attention": fields.architecture(2, "a_e, attention layers", low=0),
    "initial_loc_scale": fields.training(
        1.0,
        "how large the posterior means are at the start, relative to the layer's own",
        low=0,
    ),
    **SHARED,
}


def check_part(hparams, part: str) -> None:
    """Raises a `UserError` for sizes that do not fit; `part` is encoder or decoder."""
    from deltavae_tf import errors

    width = getattr(hparams, f"{part}_width")
    if width % hparams.num_heads:
        raise errors.UserError(
            f"'{part}_width' must be a multiple of 'num_heads'. "
            f"Received: {width} and {hparams.num_heads}"
        )
    layers = getattr(hparams, f"{part}_layers")
    attention = getattr(hparams, f"{part}_attention")
    if attention > layers + 1:
        raise errors.UserError(
            f"'{part}_attention' is at most '{part}_layers' + 1: one before "
            f"each layer and one after. Received: {attention} and {layers}"
        )
    if hparams.kernel_size % 2 == 0:
        raise errors.UserError(
            f"'kernel_size' must be odd. Received: {hparams.kernel_size}"
        )


def shared_arguments(hparams, sizes, policy) -> dict:
    """What encoder and decoder are built with alike."""
    return {
        "num_heads": hparams.num_heads,
        "kernel_size": hparams.kernel_size,
        "num_levels": sizes.num_levels,
        "normalization": hparams.normalization,
        "rematerialize": hparams.rematerialize,
        "position_signal": hparams.position_signal,
        "dtype": policy,
    }


def _check(hparams):
    check_part(hparams, "encoder")


def _make(hparams, sizes, prior, policy, anti_causal):
    import deltavae_tf

    return deltavae_tf.ImageEncoder(
        hparams.latent_channels,
        hparams.encoder_layers,
        hparams.encoder_width,
        hparams.encoder_filter,
        hparams.encoder_attention,
        anti_causal=anti_causal,
        initial_scale=prior.optimal_scale(),
        initial_loc_scale=hparams.initial_loc_scale,
        name="encoder",
        **shared_arguments(hparams, sizes, policy),
    )


@components.encoder("anti_causal", fields=FIELDS, kinds=("images",), check=_check)
def make_anti_causal(hparams, sizes, prior, policy):
    """A row's latent sees its row and later ones (section 2.2)."""
    return _make(hparams, sizes, prior, policy, anti_causal=True)


@components.encoder(
    "non_causal", label="non-causal", fields=FIELDS, kinds=("images",), check=_check
)
def make_non_causal(hparams, sizes, prior, policy):
    """Each latent sees the whole image (section 4.3, Table 6)."""
    return _make(hparams, sizes, prior, policy, anti_causal=False)
