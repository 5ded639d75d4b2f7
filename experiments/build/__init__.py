"""A model from hyper-parameters: each part from its registry, put together here."""

import importlib

import experiments.sets  # noqa: F401 (First: it imports the components itself.)
from deltavae_tf import errors


def model(hparams, seed: int = 0):
    """A built, compiled model.

    Args:
      hparams: `sets.Hparams`.
      seed: int, of the weights and of all noise.

    Returns:
      `DeltaVAE`, or `TextVAE` for text.
    """
    import keras

    if hparams.dtype == "auto":
        raise errors.UserError(
            "dtype=auto is settled when a run starts: name float32 or mixed_bfloat16 "
            "to look at a model without one. Received: dtype=auto"
        )
    keras.utils.set_random_seed(seed)
    policy = keras.dtype_policies.DTypePolicy(hparams.dtype)
    kind = _kind(hparams.kind)
    sizes = kind.sizes(hparams)
    # Initial weights depend on the order in which the parts are made: leave it.
    decoder = hparams.component("decoder").make(hparams, sizes, policy)
    prior = hparams.component("prior").make(hparams, sizes)
    encoder = auxiliary_prior = None
    if prior is not None:
        encoder = hparams.component("encoder").make(hparams, sizes, prior, policy)
        encoder = hparams.component("posterior").make(hparams, sizes, encoder, prior)
        auxiliary_prior = _auxiliary_prior(hparams, policy)
    found = kind.model(
        hparams,
        encoder=encoder,
        decoder=decoder,
        prior=prior,
        auxiliary_prior=auxiliary_prior,
        objective=hparams.component("objective").make(hparams, sizes),
        seed=seed,
        dtype=policy,
    )
    if hparams.trained_part == "auxiliary_prior":
        if auxiliary_prior is None:
            raise errors.UserError(
                "A decoder alone has no auxiliary prior to train. Received: "
                "trained_part=auxiliary_prior with prior=none"
            )
        found.encoder.trainable = found.decoder.trainable = False
    found.compile(optimizer(hparams), clip_norm=hparams.clip_norm or None)
    return found


def _kind(name):
    return importlib.import_module(f"experiments.build.{name}")


def _auxiliary_prior(hparams, policy):
    import deltavae_tf

    return deltavae_tf.LSTMPrior(
        hparams.auxiliary_units,
        hparams.latent_channels,
        hparams.auxiliary_covariance,
        name="auxiliary_prior",
        dtype=policy,
    )


def optimizer(hparams):
    """Adam with the schedule of the hyper-parameters."""
    from deltavae_tf.training import adam, schedules

    width = hparams.component("decoder").width
    rate = schedules.make(
        hparams.learning_rate_schedule,
        learning_rate=hparams.learning_rate,
        floor=hparams.learning_rate_floor,
        scale=hparams.learning_rate_scale,
        width=width(hparams) if width else None,
        warmup_steps=hparams.warmup_steps,
        decay_steps=hparams.decay_steps,
    )
    return adam.Adam(
        rate,
        beta_1=hparams.adam_beta_1,
        beta_2=hparams.adam_beta_2,
        epsilon=hparams.adam_epsilon,
    )
