"""The delta-VAE: encoder, decoder, prior and auxiliary prior under one objective."""

import inspect

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, noise, objectives, units
from deltavae_tf.layers import weight_norm

_POSTERIOR, _DROPOUT, _LATENTS, _PIXELS = range(4)
_TERMS = ("distortion", "rate", "rate_aux")
_RATE_TOLERANCE = 1e-4  # Relative; float32 sums of n * d terms.


@keras.saving.register_keras_serializable(package="deltavae_tf")
class DeltaVAE(keras.Model):
    """A variational autoencoder whose rate cannot fall below delta.

    Called on a batch it gives, for each example, the terms of the one-sample negative
    ELBO. All noise is a function of (`seed`, training step, example index): it does
    not depend on the number of replicas, and every evaluation draws the same.

    Args:
      encoder: layer or model, x -> (loc, scale), each `[B, n, d]`. None for the
        autoregressive baseline, whose rate is 0. If it has `committed_rate((n, d))`,
        as `IndependentDeltaEncoder`, its posteriors keep that many nats from the
        prior, which then has to be N(0, I).
      decoder: layer or model, (z, x) -> a `tfd.Distribution` with batch shape `[B]`
        over x. If it takes `keys` (uint32 `[B, 2]`), it gets them in training. If it
        has `sample(z, keys, temperature)`, the model samples through that.
      prior: distribution over `[n, d]` with a KL from `Independent(Normal)`, such as
        `AR1`. None with `encoder=None`.
      auxiliary_prior: `LSTMPrior` or None. It is trained on stop_gradient(z) and
        moves neither encoder nor decoder.
      objective: `objectives.Objective`, by default `ELBO()`.
      seed: int, of all noise.
      **kwargs: `name`, `dtype`, ... for `keras.Model`.

    Call arguments:
      batch: dict as the batch contract (`image` or `tokens`, `index`, `mask`), or the
        data alone: then the position in the batch serves as the index.
      training: bool.

    Returns:
      dict of float32 `[B]`, nats: `distortion` = -log p(x | z), `rate` = KL(q || p),
      `rate_aux` = KL(q || p_aux) given one prefix z (equal to `rate` without an
      auxiliary prior). If the objective asks for it also `rate_channels` `[B, d]`,
      the rate of each channel over all time steps.

    Reference: Razavi et al., "Preventing posterior collapse with delta-VAEs" (2019).
    """

    # The unit that the code length of an example is logged in, and its name for people.
    unit, unit_name = "bpd", "bits/dim"
    per_unit = ("nelbo", "nelbo_aux", "rate", "rate_aux")

    def __init__(
        self,
        encoder,
        decoder,
        prior,
        auxiliary_prior=None,
        objective=None,
        seed=0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if (encoder is None) != (prior is None):
            raise ValueError(
                "`encoder` and `prior` go together: give both, or neither for the "
                f"autoregressive baseline. Received: {encoder}, {prior}"
            )
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.auxiliary_prior = auxiliary_prior
        self.objective = objectives.ELBO() if objective is None else objective
        self.seed = seed
        self.clip_norm = None
        self._decoder_takes_keys = "keys" in inspect.signature(decoder.call).parameters
        self.steps = self.add_weight(
            name="steps",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self._objective_state = {
            name: self.add_weight(
                name=f"objective_{name}",
                shape=(),
                dtype="float32",
                initializer=keras.initializers.Constant(value),
                trainable=False,
                aggregation="only_first_replica",
            )
            for name, value in self.objective.initial_state().items()
        }
        if hasattr(encoder, "committed_rate") and prior.committed_rate():
            raise ValueError(
                "An encoder that commits a rate itself needs the prior N(0, I), AR1 "
                f"with alpha = 0. Received: {prior.committed_rate()} nats"
            )
        if self.objective.per_channel and not hasattr(prior, "kl_of_channels"):
            raise ValueError(
                "The objective asks for the rate of each channel: the prior must have "
                f"`kl_of_channels(loc, scale)`, as AR1. Received: {prior}"
            )
        names = [f"{name}_nats" for name in _TERMS]
        names += [f"{name}_{self.unit}" for name in self.per_unit]
        self._term_metrics = {name: keras.metrics.Mean(name=name) for name in names}
        self._grad_norm = keras.metrics.Mean(name="grad_norm")
        self._sample = None
        self._example = None  # Shape and dtype of an example, for saving.

    # The per-example terms.

    def call(self, batch, training=False):
        x, index, _ = unpack(batch)
        self._example = {"shape": list(x.shape[1:]), "dtype": _dtype(x)}
        root = noise.make_key(self.seed)
        step = 0
        if training:
            self.steps.assign(self.steps + 1)
            step = ops.convert_to_tensor(self.steps)
        keys = noise.fold(noise.fold(root, step)[None], index)
        dropout_keys = noise.fold(keys, _DROPOUT) if training else None
        return self.terms(x, keys, dropout_keys)

    def terms(self, x, keys, dropout_keys=None):
        """What `call` returns, with the noise of given keys.

        Args:
          x: data, `[B, ...]`.
          keys: uint32 `[B, 2]`, of the posterior's sample.
          dropout_keys: uint32 `[B, 2]`, or None without dropout.
        """
        if self.encoder is None:
            distribution = self._decode(None, x, dropout_keys)
            nothing = ops.zeros(ops.shape(x)[:1], dtype="float32")
            distortion = -ops.cast(distribution.log_prob(x), "float32")
            return {"distortion": distortion, "rate": nothing, "rate_aux": nothing}

        posterior = self.encode(x)
        loc, scale = posterior.distribution.loc, posterior.distribution.scale
        eps = noise.normal(noise.fold(keys, _POSTERIOR), loc.shape[1:])
        z = loc + scale * eps
        distribution = self._decode(z, x, dropout_keys)
        rate = ops.cast(backend.tfd.kl_divergence(posterior, self.prior), "float32")
        terms = {
            "distortion": -ops.cast(distribution.log_prob(x), "float32"),
            "rate": rate,
            "rate_aux": self._auxiliary_rate(loc, scale, z, rate),
        }
        if self.objective.per_channel:
            terms["rate_channels"] = self.prior.kl_of_channels(loc, scale)
        return terms

    def _decode(self, z, x, dropout_keys=None):
        if dropout_keys is not None and self._decoder_takes_keys:
            return self.decoder(z, x, keys=dropout_keys)
        return self.decoder(z, x)

    def _auxiliary_rate(self, loc, scale, z, rate):
        """sum_t KL(q(z_t | x) || p_aux(z_t | z_<t)) for the sampled prefix, nats."""
        if self.auxiliary_prior is None:
            return rate
        loc, scale, z = (ops.stop_gradient(t) for t in (loc, scale, z))
        normal = backend.tfd.Normal
        kl = backend.tfd.kl_divergence(
            normal(loc, scale), normal(*self.auxiliary_prior(z))
        )
        return ops.sum(kl, axis=(1, 2))

    def committed_rate(self):
        """delta, the rate below which no posterior can go: nats, a Python float."""
        if self.prior is None:
            return 0.0
        if hasattr(self.encoder, "committed_rate"):
            return float(self.encoder.committed_rate(tuple(self.prior.event_shape)))
        return float(self.prior.committed_rate())

    # Training. The loop takes `update`; Keras's own step on JAX uses `compute_loss`.

    def compile(self, optimizer="adam", clip_norm=None, **kwargs):
        """As `keras.Model.compile`; the loss is the objective's.

        Args:
          optimizer: keras optimizer or its name.
          clip_norm: float or None, bound on the norm of the gradient over all
            replicas (Keras's own clips each replica's).
          **kwargs: for `keras.Model.compile`, without `loss`. `jit_compile` is off
            unless asked for: on a CPU the plain graph is faster.
        """
        if kwargs.get("loss") is not None:
            raise ValueError(
                "The objective belongs to the model: DeltaVAE(..., objective=...). "
                f"Received: loss={kwargs['loss']}"
            )
        self.clip_norm = clip_norm
        super().compile(optimizer, **{"jit_compile": False, **kwargs})

    def get_compile_config(self):
        """What `save` keeps of `compile`."""
        if not self.compiled:
            return None
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "clip_norm": self.clip_norm,
            "jit_compile": self.jit_compile,
        }

    def compile_from_config(self, config):
        """Compiles a loaded model as it was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """This replica's share of the loss: a scalar, in nats per example.

        The shares of all replicas sum to the mean over the global batch. The auxiliary
        prior's rate is added; its gradient reaches the auxiliary prior alone. In
        training the objective's state moves on.
        """
        del y, sample_weight
        mask = unpack(x)[2]

        def mean(values):  # Over the examples of all replicas.
            weights = ops.reshape(mask, (-1, *[1] * (len(values.shape) - 1)))
            total = backend.sum_over_replicas(ops.sum(values * weights, axis=0))
            count = backend.sum_over_replicas(ops.sum(mask))
            return total / ops.maximum(count, 1.0)

        state = {k: ops.convert_to_tensor(v) for k, v in self._objective_state.items()}
        loss, after = self.objective(y_pred, self.steps, state, mean)
        if training:
            for name, variable in self._objective_state.items():
                variable.assign(after[name])
        if self.auxiliary_prior is not None:
            loss = loss + y_pred["rate_aux"]
        return ops.mean(loss * mask) / backend.num_replicas()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the running means of the terms and returns all results."""
        del y, sample_weight
        self._update_metrics(x, y_pred)
        return self.get_metrics_result()

    def _update_metrics(self, batch, terms):
        x, _, mask = unpack(batch)
        num_dims = int(np.prod(x.shape[1:]))
        named = {f"{name}_nats": terms[name] for name in _TERMS}
        nelbo = {
            "nelbo_bpd": terms["distortion"] + terms["rate"],
            "nelbo_aux_bpd": terms["distortion"] + terms["rate_aux"],
            "rate_bpd": terms["rate"],
            "rate_aux_bpd": terms["rate_aux"],
        }
        for name, value in nelbo.items():
            named[name] = units.bits_per_dim(value, num_dims)
        for name, value in named.items():
            self._term_metrics[name].update_state(value, sample_weight=mask)

    def fit(self, x=None, *args, **kwargs):
        """As `keras.Model.fit`."""
        if self._example is None:
            # Keras's symbolic build gives the optimizer no variables of a model that
            # was never called.
            arrays = isinstance(x, dict) or hasattr(x, "shape")
            self(
                keras.tree.map_structure(lambda v: v[:1], x)
                if arrays
                else next(iter(x))
            )
        return super().fit(x, *args, **kwargs)

    def train_step(self, *args):
        """One step as Keras's `fit` takes it, of another form for each backend."""
        if backend.name != "tensorflow":
            return super().train_step(*args)
        return self.update(*args)

    def update(self, batch):
        """One step of the optimizer; on TensorFlow, inside a replica.

        On JAX it may run within a `keras.StatelessScope`, and so be compiled.

        Args:
          batch: as for `call`.

        Returns:
          dict of scalars: the running means of all metrics.
        """

        def loss():
            terms = self(batch, training=True)
            return self.compute_loss(batch, y_pred=terms), terms

        value, gradients, terms = backend.value_and_gradients(
            loss, self.trainable_variables, self.non_trainable_variables
        )
        norm = ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients))
        factor = 1.0 / backend.num_replicas()  # The optimizer sums over replicas.
        if self.clip_norm:
            factor = factor * ops.minimum(1.0, self.clip_norm / (norm + 1e-12))
        gradients = [g * ops.cast(factor, g.dtype) for g in gradients]
        self.optimizer.apply(gradients, self.trainable_variables)
        self._grad_norm.update_state(norm)
        self._loss_tracker.update_state(value)
        return self.compute_metrics(batch, None, terms)

    def test_step(self, *args):
        """Updates the metrics with one batch; the noise is every evaluation's."""
        if backend.name != "tensorflow":
            return super().test_step(*args)
        (batch,) = args
        terms = self(batch, training=False)
        loss = self.compute_loss(batch, y_pred=terms, training=False)
        loss = loss * backend.num_replicas()
        self._loss_tracker.update_state(loss)
        return self.compute_metrics(batch, None, terms)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`; raises if the rate is below the committed one."""
        as_dict = kwargs.pop("return_dict", False)
        logs = super().evaluate(*args, return_dict=True, **kwargs)
        del logs["grad_norm"]  # Keras reports all metrics; this one is training's.
        self.check_rate(logs["rate_nats"], logs.get("committed_rate_nats"))
        return logs if as_dict else list(logs.values())

    def check_rate(self, rates, committed=None):
        """Raises a FloatingPointError if a rate is below the committed rate.

        Args:
          rates: float or array, nats, of posteriors of this model.
          committed: float, or array like `rates` where examples commit to different
            rates; by default `committed_rate()`.
        """
        rates = np.asarray(rates, np.float64)
        committed = self.committed_rate() if committed is None else committed
        committed = np.broadcast_to(np.asarray(committed, np.float64), rates.shape)
        lacking = committed - rates - _RATE_TOLERANCE * np.maximum(committed, 1.0)
        if not np.all(lacking <= 0):  # A rate that is not a number is a breach too.
            worst = np.unravel_index(np.argmax(lacking), rates.shape)
            lowest, delta = rates[worst], committed[worst]
            raise FloatingPointError(
                f"A rate of {lowest} nats is below the committed rate of {delta} nats. "
                "By equation 1 this cannot be: encoder or prior is broken."
            )

    def initialize_from(self, batch):
        """Sets weight-normalized layers from a first batch; a no-op without any.

        Reference: Salimans and Kingma (2016), section 3.
        """
        weight_norm.KernelAndBias.initializing = True
        try:
            self(batch)
        finally:
            weight_norm.KernelAndBias.initializing = False

    # What users do with a trained model.

    def encode(self, x):
        """q(z | x): `tfd.Independent(tfd.Normal)` over `[n, d]`, batch shape `[B]`."""
        if self.encoder is None:
            raise ValueError("The autoregressive baseline has no latents to encode to.")
        loc, scale = self.encoder(x)
        loc, scale = ops.cast(loc, "float32"), ops.cast(scale, "float32")
        if len(loc.shape) != 3 or loc.shape != scale.shape:
            raise ValueError(
                "The encoder must return loc and scale, each [B, n, d]. "
                f"Received: {tuple(loc.shape)} and {tuple(scale.shape)}"
            )
        return backend.tfd.Independent(backend.tfd.Normal(loc, scale), 2)

    def decode(self, z, x):
        """p(x | z): a distribution of batch shape `[B]`, teacher-forced on x."""
        return self._decode(z, x)

    def reconstruct(self, x, temperature=1.0, seed=0):
        """x' ~ p(x | z) with z ~ q(z | x), both from the noise of `seed`.

        Args:
          x: data as in a batch, `[B, ...]`.
          temperature: float > 0, of the decoder.
          seed: int, or key uint32 `[2]`.

        Returns:
          Array like x, int32 for images.
        """
        z = self.sample_posterior(x, seed)
        return self.sample_data(z, ops.shape(x)[0], temperature, seed)

    def sample_posterior(self, x, seed=0, first=0):
        """z ~ q(z | x): float32 `[B, n, d]`.

        Args:
          x: data as in a batch, `[B, ...]`.
          seed: int, or key.
          first: int, or ints `[B]`: as `sample`.
        """
        posterior = self.encode(x).distribution
        keys = _sample_keys(seed, first, ops.shape(x)[0], _POSTERIOR)
        eps = noise.normal(keys, posterior.loc.shape[1:])
        return posterior.loc + posterior.scale * eps

    def sample_latents(self, n, prior="aux", temperature=1.0, seed=0, first=0):
        """Latents from a prior: float32 `[n, time steps, d]`.

        Args: as `sample`.
        """
        samplers = {"ar1": self.prior, "aux": self.auxiliary_prior}
        if prior not in samplers or samplers[prior] is None:
            known = [name for name, value in samplers.items() if value is not None]
            raise ValueError(f"`prior` must be one of {known}. Received: {prior!r}")
        keys = _sample_keys(seed, first, n, _LATENTS)
        eps = noise.normal(keys, tuple(self.prior.event_shape))
        return samplers[prior].sample_from_noise(eps, temperature)

    def sample(self, n, prior="aux", temperature=1.0, seed=0, first=0):
        """Samples x from the model, through the decoder's cache if it has one.

        Sample i of a seed is the same whatever `n` and `first`.

        Args:
          n: int, how many.
          prior: "aux" or "ar1". Ignored by the autoregressive baseline.
          temperature: float > 0; below 1 prior and decoder are sharper.
          seed: int, or key uint32 `[2]`.
          first: int, the number of the first sample, to draw many in parts; or ints
            `[n]`, the number of each.

        Returns:
          Array `[n, ...]` of the decoder's dtype, int32 `[n, H, W, C]` for images.
        """
        if not n >= 1:
            raise ValueError(f"`n` must be at least 1. Received: {n}")
        z = None
        if self.encoder is not None:
            z = self.sample_latents(n, prior, temperature, seed, first)
        return self.sample_data(z, n, temperature, seed, first)

    def sample_data(self, z, n, temperature=1.0, seed=0, first=0, **given):
        """x ~ p(x | z) for `n` latents, through the decoder's cache if it has one.

        Args:
          z: float `[n, time steps, d]`, or None for the autoregressive baseline.
          n: int.
          temperature: float > 0.
          seed: int, or key uint32 `[2]`.
          first: int, or ints `[n]`: as `sample`.
          **given: what the decoder's `sample` takes beside, such as `given` and
            `num_given` of `ImageDecoder`.

        Returns:
          As `sample`.
        """
        if not temperature > 0:
            raise ValueError(f"`temperature` must be above 0. Received: {temperature}")
        if not hasattr(self.decoder, "sample"):
            return self.decoder(z, None).sample(seed=seed + first)
        if self._sample is None:
            self._sample = backend.compile(self.decoder.sample, self.decoder)
        temperature = ops.convert_to_tensor(temperature, dtype="float32")
        # Within one of several replicas the strategy compiles, or nobody can.
        alone = backend.num_replicas() == 1
        draw = self._sample if alone else self.decoder.sample
        return draw(z, pixel_keys(seed, first, n), temperature, **given)

    # Saving.

    def get_config(self):
        """The arguments of the constructor, serialized."""
        serialize = keras.saving.serialize_keras_object
        return {
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "prior": serialize(self.prior),
            "auxiliary_prior": serialize(self.auxiliary_prior),
            "objective": serialize(self.objective),
            "seed": self.seed,
            "name": self.name,
            "dtype": keras.saving.serialize_keras_object(self.dtype_policy),
        }

    def get_build_config(self):
        """What `build_from_config` needs: an example's shape and dtype."""
        return self._example

    def build_from_config(self, config):
        """Creates the weights of a model that is being loaded."""
        if config:
            self(np.zeros((1, *config["shape"]), config["dtype"]))

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`."""
        deserialize = keras.saving.deserialize_keras_object
        parts = ["encoder", "decoder", "prior", "auxiliary_prior", "objective", "dtype"]
        return cls(**{**config, **{part: deserialize(config[part]) for part in parts}})


def unpack(batch):
    """Data, example index int32 `[B]` and mask float32 `[B]` of a batch."""
    if isinstance(batch, (tuple, list)):
        batch = batch[0]
    if not isinstance(batch, dict):
        batch = {"x": batch}
    names = [name for name in ("image", "tokens", "x") if name in batch]
    if len(names) != 1:
        raise ValueError(
            "A batch must hold one of 'image', 'tokens' or 'x'. "
            f"Received: {sorted(batch)}"
        )
    x = batch[names[0]]
    index = batch.get("index")
    size = ops.shape(x)[0]
    if index is None:
        index = ops.arange(size) + backend.replica_id() * size
    mask = batch.get("mask")
    if mask is None or len(mask.shape) != 1:
        mask = ops.ones((size,), dtype="float32")
    return x, index, ops.cast(mask, "float32")


def _dtype(x):
    return keras.backend.standardize_dtype(x.dtype)


def pixel_keys(seed, first, n):
    """The keys that `sample_data` gives the decoder: uint32 `[n, 2]`; Args as there."""
    return _sample_keys(seed, first, n, _PIXELS)


def _sample_keys(seed, first, n, purpose):
    """Keys uint32 `[n, 2]` of `n` samples: those from number `first` on, or, if
    `first` is ints `[n]`, of those numbers.
    """
    key = noise.fold(noise.make_key(seed), purpose)
    numbers = first
    if not len(getattr(first, "shape", ())):
        numbers = ops.arange(first, first + n)
    return noise.fold(key[None], numbers)
