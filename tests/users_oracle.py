"""A user's linear model, and all its numbers by NumPy alone, in float64.

The encoder is `loc = x A + c`, `scale = softplus(raw)`; the decoder `N(z W + b, 1)`.
The oracle shares no code with the library: it has its own Threefry, dense Gaussians for
the rate, and gradients by finite differences.
"""

import keras
import numpy as np
from keras import ops
from scipy import special

from deltavae_tf import backend
from deltavae_tf.distributions import ar1
from deltavae_tf.models import auxiliary_prior, delta_vae

ALPHA = (0.8, 0.3)
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)


def threefry(key, counter):
    """Threefry-2x32-20 on uint64 arrays, cut to 32 bits after each operation."""
    cut = np.uint64(0xFFFFFFFF)
    key = [np.asarray(k, np.uint64) for k in key]
    words = [*key, key[0] ^ key[1] ^ np.uint64(0x1BD11BDA)]
    a, b = (np.asarray(c, np.uint64) for c in counter)
    a, b = (a + words[0]) & cut, (b + words[1]) & cut
    for round_ in range(20):
        distance = np.uint64(_ROTATIONS[round_ % 8])
        a = (a + b) & cut
        b = ((b << distance) | (b >> (np.uint64(32) - distance))) & cut
        b = b ^ a
        if round_ % 4 == 3:
            turn = round_ // 4 + 1
            a = (a + words[turn % 3]) & cut
            b = (b + words[(turn + 1) % 3] + np.uint64(turn)) & cut
    return a, b


def noise(seed, step, index, shape):
    """Standard normal noise of the posterior: float64 `[len(index), *shape]`."""
    key = threefry((seed, 0), (step, 0))
    keys = threefry(key, (np.asarray(index), np.zeros(len(index))))
    keys = threefry(keys, (np.zeros(len(index)), np.zeros(len(index))))
    count = int(np.prod(shape))
    place = np.arange((count + 1) // 2)[None]
    words = threefry((keys[0][:, None], keys[1][:, None]), (place, np.ones_like(place)))
    words = np.concatenate(words, axis=1)[:, :count]
    uniform = ((words >> np.uint64(9)).astype(np.float64) + 0.5) * 2.0**-23
    return (2**0.5 * special.erfinv(2 * uniform - 1)).reshape(-1, *shape)


class Oracle:
    """Weights of a linear model, and what must come out of it.

    Args:
      seed: int, of the weights.
      features: int, of an example.
      steps: int, n.
      auxiliary: bool, whether there is an auxiliary prior (untrained: N(0, 1)).
      alpha: list of float, of the prior.
    """

    def __init__(self, seed=0, features=3, steps=3, auxiliary=False, alpha=ALPHA):
        rng = np.random.default_rng(seed)
        self.features, self.steps, self.alpha = features, steps, np.asarray(alpha)
        self.channels, self.auxiliary = len(alpha), auxiliary
        latents = steps * self.channels
        self.weights = {
            "a": 0.5 * rng.normal(size=(features, latents)),
            "c": 0.5 * rng.normal(size=latents),
            "raw": 0.5 * rng.normal(size=(steps, self.channels)),
            "w": 0.5 * rng.normal(size=(latents, features)),
            "b": 0.5 * rng.normal(size=features),
        }
        time = np.arange(steps)
        self.covariances = [
            float(a) ** abs(time[:, None] - time[None]) for a in self.alpha
        ]

    def terms(self, x, index, step=0, weights=None, seed=0):
        """Distortion, rate and auxiliary rate of each example, nats."""
        weights = weights or self.weights
        x = np.asarray(x, np.float64)
        shape = (self.steps, self.channels)
        loc = (x @ weights["a"] + weights["c"]).reshape(-1, *shape)
        scale = np.log1p(np.exp(weights["raw"]))
        z = (loc + scale * noise(seed, step, index, shape)).reshape(len(x), -1)
        error = x - (z @ weights["w"] + weights["b"])
        distortion = 0.5 * (error**2 + np.log(2 * np.pi)).sum(1)
        rate = np.zeros(len(x))
        for k, covariance in enumerate(self.covariances):
            inverse = np.linalg.inv(covariance)
            m, s2 = loc[:, :, k], scale[:, k] ** 2
            rate += 0.5 * ((np.diag(inverse) * s2).sum() - self.steps)
            rate += 0.5 * np.einsum("bi,ij,bj->b", m, inverse, m)
            rate += 0.5 * (np.linalg.slogdet(covariance)[1] - np.log(s2).sum())
        normal = 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale)).sum((1, 2))
        return distortion, rate, normal if self.auxiliary else rate

    def means(self, batches, step=0):
        """What `fit` (from training step `step`) or `evaluate` (0) must report.

        Args:
          batches: list of (x, index, weight), of which the weights do not change.
          step: int, the number of the first training step; 0: evaluation.
        """
        found = []
        for i, (x, index, weight) in enumerate(batches):
            terms = self.terms(x, index, step + i if step else 0)
            found.append(np.stack([*terms, np.asarray(weight, np.float64)]))
        *terms, weight = np.concatenate(found, axis=1)
        distortion, rate, auxiliary = [(t * weight).sum() / weight.sum() for t in terms]
        loss = distortion + rate + (auxiliary if self.auxiliary else 0)
        return {
            "loss": loss,
            "distortion_nats": distortion,
            "rate_nats": rate,
            "rate_aux_nats": auxiliary,
        }

    def gradient(self, x, index, weight, step, weights=None):
        """Gradient of the weighted mean loss by central differences."""
        weights = dict(weights or self.weights)
        weight = np.asarray(weight, np.float64) / np.sum(weight)

        def loss():
            distortion, rate, _ = self.terms(x, index, step, weights)
            return weight @ (distortion + rate)

        found, width = {}, 1e-6
        for name, value in weights.items():
            found[name] = np.zeros_like(value)
            for place in np.ndindex(value.shape):
                ends = []
                for sign in (1, -1):
                    weights[name] = value.copy()
                    weights[name][place] += sign * width
                    ends.append(loss())
                found[name][place] = (ends[0] - ends[1]) / (2 * width)
            weights[name] = value
        return found

    def train(self, batches, update, every=1):
        """Weights after a step of `update(weights, gradients) -> weights` a batch.

        Args:
          batches: list of (x, index, weight).
          update: the optimizer.
          every: int, how many gradients are averaged for one step.
        """
        weights, kept = dict(self.weights), []
        for i, (x, index, weight) in enumerate(batches):
            kept.append(self.gradient(x, index, weight, i + 1, weights))
            if len(kept) == every:
                mean = {k: sum(g[k] for g in kept) / every for k in weights}
                weights, kept = update(weights, mean), []
        return weights

    def model(self, **kwargs):
        """The same model as a user writes it."""
        auxiliary = None
        if self.auxiliary:
            auxiliary = auxiliary_prior.LSTMPrior(4, self.channels)
        return delta_vae.DeltaVAE(
            Encoder(self.weights),
            Decoder(self.weights),
            ar1.AR1(self.alpha, self.steps),
            auxiliary,
            **kwargs,
        )


class Encoder(keras.layers.Layer):
    """x `[B, F]` -> loc, scale `[B, n, d]`."""

    def __init__(self, weights, **kwargs):
        super().__init__(**kwargs)
        self.given = [weights[name] for name in ("a", "c", "raw")]
        self.a, self.c, self.raw = (
            self.add_weight(shape=w.shape, initializer=_start(w)) for w in self.given
        )

    def call(self, x):
        loc = ops.matmul(ops.cast(x, self.compute_dtype), self.a) + self.c
        loc = ops.reshape(loc, (-1, *self.raw.shape))
        return loc, ops.softplus(self.raw) + ops.zeros_like(loc)


class Decoder(keras.layers.Layer):
    """z `[B, n, d]` -> a normal over `[F]`."""

    def __init__(self, weights, **kwargs):
        super().__init__(**kwargs)
        self.w, self.b = (
            self.add_weight(shape=w.shape, initializer=_start(w))
            for w in (weights["w"], weights["b"])
        )

    def call(self, z, x):
        del x
        flat = ops.reshape(ops.cast(z, self.compute_dtype), (-1, self.w.shape[0]))
        loc = ops.cast(ops.matmul(flat, self.w) + self.b, "float32")
        return backend.tfd.Independent(backend.tfd.Normal(loc, 1.0), 1)


def _start(value):
    return lambda shape, dtype=None: ops.convert_to_tensor(value, dtype)


def weights_of(model):
    """The linear model's weights as the oracle names them."""
    variables = [model.encoder.a, model.encoder.c, model.encoder.raw]
    variables += [model.decoder.w, model.decoder.b]
    found = [ops.convert_to_numpy(v) for v in variables]
    return dict(zip(("a", "c", "raw", "w", "b"), found, strict=True))


def data(size, features=3, seed=1):
    """Examples float32 `[size, features]`."""
    return np.random.default_rng(seed).normal(size=(size, features)).astype("float32")


def batches_of(x, size, weight=None):
    """(x, index, weight) of each batch, numbered by the place in it."""
    weight = np.ones(len(x)) if weight is None else np.asarray(weight)
    cut = range(0, len(x), size)
    parts = [(x[i : i + size], weight[i : i + size]) for i in cut]
    return [(part, np.arange(len(part)), w) for part, w in parts]
