"""The independent delta-VAE of appendix D."""

from experiments.build import commitment, components


@components.posterior(
    "independent_delta",
    label="independent delta-VAE",
    color="C4",
    marker="D",
    kinds=("images",),
    fields=commitment.FIELDS,
    check=commitment.check,
    needs={"prior": (("standard_normal",), "its rate is kept from N(0, I) (App. D)")},
)
def make(hparams, sizes, encoder, prior):
    """Normals that stay a rate away from N(0, I) in each latent (App. D).

    The rate is `target_rate_bits`, or otherwise what an AR(1) prior of these alphas
    would commit.
    """
    del prior
    import deltavae_tf
    from deltavae_tf import units

    n = sizes.num_timesteps
    rate = units.nats(hparams.target_rate_bits)
    if not rate:
        rate = deltavae_tf.committed_rate(commitment.alpha(hparams, n), n)
    rate /= n * hparams.latent_channels
    return deltavae_tf.IndependentDeltaEncoder(encoder, rate, name="posterior")
