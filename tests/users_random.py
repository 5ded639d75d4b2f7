"""Random users: any data, decoder, weights and call; SciPy knows what must come out.

The decoder's distribution does not depend on z, so the distortion of an example is
SciPy's log density, and its rate a dense Gaussian's.
"""

import keras
import numpy as np
from keras import ops
from scipy import special, stats

from deltavae_tf import backend, errors
from deltavae_tf.distributions import ar1
from deltavae_tf.models import delta_vae
from tests import users_oracle

tfd = backend.tfd


def _counts(rng, shape, theta):
    return rng.integers(0, 5, shape)


def _floats(rng, shape, theta):
    return rng.normal(size=shape)


def _positive(rng, shape, theta):
    return rng.gamma(2.0, size=shape) + 0.01


def _binary(rng, shape, theta):
    return rng.integers(0, 2, shape)


def _share(rng, shape, theta):
    return rng.uniform(0.05, 0.95, shape)


def _mixture(p):
    logits = ops.stack([p, -p], axis=-1)
    parts = tfd.Normal(ops.stack([p - 1, p + 1], axis=-1), 0.7)
    return tfd.MixtureSameFamily(tfd.Categorical(logits), parts)


def _mixture_density(x, p):
    log_weights = np.stack([p, -p]) - special.logsumexp(np.stack([p, -p]), axis=0)
    parts = [stats.norm.logpdf(x, p - 1, 0.7), stats.norm.logpdf(x, p + 1, 0.7)]
    return special.logsumexp(np.stack(parts) + log_weights[:, None], axis=0)


def _category(x, p):
    logits = p[:, None] * np.arange(5)
    logits = logits - special.logsumexp(logits, axis=1, keepdims=True)
    return np.take_along_axis(logits[None], x[..., None].astype(int), 2)[..., 0]


# name: (distribution of theta [F], the dtype it takes, its data, SciPy's density)
KINDS = {
    "Normal": (
        lambda p: tfd.Normal(p, 1.3),
        "float32",
        _floats,
        lambda x, p: stats.norm.logpdf(x, p, 1.3),
    ),
    "Laplace": (
        lambda p: tfd.Laplace(p, 0.8),
        "float32",
        _floats,
        lambda x, p: stats.laplace.logpdf(x, p, 0.8),
    ),
    "StudentT": (
        lambda p: tfd.StudentT(4.0, p, 0.9),
        "float32",
        _floats,
        lambda x, p: stats.t.logpdf(x, 4.0, p, 0.9),
    ),
    "Gamma": (
        lambda p: tfd.Gamma(ops.exp(p), 1.5),
        "float32",
        _positive,
        lambda x, p: stats.gamma.logpdf(x, np.exp(p), scale=1 / 1.5),
    ),
    "LogNormal": (
        lambda p: tfd.LogNormal(p, 1.1),
        "float32",
        _positive,
        lambda x, p: stats.lognorm.logpdf(x, 1.1, scale=np.exp(p)),
    ),
    "Beta": (
        lambda p: tfd.Beta(ops.exp(p), 2.0),
        "float32",
        _share,
        lambda x, p: stats.beta.logpdf(x, np.exp(p), 2.0),
    ),
    "Mixture": (_mixture, "float32", _floats, _mixture_density),
    "Bernoulli": (
        lambda p: tfd.Bernoulli(p),
        "int32",
        _binary,
        lambda x, p: stats.bernoulli.logpmf(x, special.expit(p)),
    ),
    "Categorical": (
        lambda p: tfd.Categorical(p[..., None] * np.arange(5, dtype="float32")),
        "int32",
        _counts,
        _category,
    ),
    "Poisson": (
        lambda p: tfd.Poisson(log_rate=p),
        "float32",
        _counts,
        lambda x, p: stats.poisson.logpmf(x, np.exp(p)),
    ),
}
DTYPES = ("float32", "float64", "uint8", "int32", "int64", "float16", "bool")


class Encoder(keras.layers.Layer):
    """`loc` linear in x, one scale a latent."""

    def __init__(self, weights, scale):
        super().__init__()
        self.matrix = self.add_weight(
            shape=weights.shape, initializer=users_oracle._start(weights)
        )
        self.scale = scale

    def call(self, x):
        x = ops.reshape(ops.cast(x, "float32"), (-1, self.matrix.shape[0]))
        loc = ops.reshape(ops.matmul(x, self.matrix), (-1, *self.scale.shape))
        return loc, ops.zeros_like(loc) + self.scale


class Decoder(keras.layers.Layer):
    """theta -> a distribution over `[F]`, the same for each z."""

    def __init__(self, theta, kind):
        super().__init__()
        self.theta = self.add_weight(
            shape=theta.shape, initializer=users_oracle._start(theta)
        )
        self.kind = kind

    def call(self, z, x):
        del x
        theta = ops.convert_to_tensor(self.theta) + 0 * ops.sum(z, (1, 2))[:, None]
        return tfd.Independent(KINDS[self.kind][0](theta), 1)


def _number(rng, low, high):
    return int(rng.integers(low, high + 1))


def run(seed, strategy_scope=None):
    """One random user. Returns "right" or "refused"; raises if a number is wrong."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(KINDS)))
    _, wanted, make, density = KINDS[kind]
    features, steps = _number(rng, 1, 5), _number(rng, 2, 5)
    channels, size = _number(rng, 1, 3), _number(rng, 1, 17)
    batch_size = _number(rng, 1, 9)
    theta = 0.5 * rng.normal(size=features)
    matrix = 0.3 * rng.normal(size=(features, steps * channels))
    scale = rng.uniform(0.2, 1.5, (steps, channels)).astype("float32")
    alpha = rng.uniform(0, 0.95, channels)
    x = make(rng, (size, features), theta)
    dtype = wanted if rng.random() < 0.7 else str(rng.choice(DTYPES))
    fits = np.array_equal(x.astype(dtype).astype("float64"), np.float64(x))
    x = x.astype(dtype)
    weight = np.ones(size)
    batch, given = {"x": x}, {}
    if rng.random() < 0.5:
        mask = rng.integers(0, 2, size)
        batch["mask"] = mask.astype(rng.choice(["bool", "float32", "int32", "float64"]))
        weight = weight * mask
    if rng.random() < 0.4:
        given["sample_weight"] = rng.gamma(1.0, size=size).astype("float32")
        weight = weight * given["sample_weight"]
    if rng.random() < 0.3:
        batch["index"] = rng.permutation(1000)[:size].astype("int32")
    call = str(rng.choice(["fit", "evaluate", "train_on_batch", "test_on_batch"]))
    eager = bool(rng.random() < 0.9)
    try:
        with strategy_scope() if strategy_scope else _nothing():
            model = delta_vae.DeltaVAE(
                Encoder(matrix, scale), Decoder(theta, kind), ar1.AR1(alpha, steps)
            )
            model.compile(keras.optimizers.SGD(0.0), run_eagerly=eager)
        if len(batch) == 1 and rng.random() < 0.5:
            batch = x
        if call.endswith("on_batch"):
            logs = getattr(model, call)(batch, return_dict=True, **given)
        else:
            given |= {"batch_size": batch_size, "verbose": 0}
            if call == "evaluate":
                given["return_dict"] = True
            logs = getattr(model, call)(batch, **given)
            logs = logs.history if call == "fit" else logs
    except errors.UserError:
        expected_refusal = dtype != wanted or not weight.any()
        assert expected_refusal, "A right user was refused."
        return "refused"
    del fits  # What the user cast is the user's data.
    distortion = -density(np.float64(x), theta).sum(1)
    loc = (np.float64(x) @ matrix).reshape(-1, steps, channels)
    rate, time = np.zeros(size), np.arange(steps)
    for k in range(channels):
        covariance = alpha[k] ** abs(time[:, None] - time[None])
        inverse = np.linalg.inv(covariance)
        m, s2 = loc[:, :, k], np.float64(scale[:, k]) ** 2
        rate += 0.5 * ((np.diag(inverse) * s2).sum() - steps - np.log(s2).sum())
        rate += 0.5 * np.einsum("bi,ij,bj->b", m, inverse, m)
        rate += 0.5 * np.linalg.slogdet(covariance)[1]
    expected = {
        "distortion_nats": distortion,
        "rate_nats": rate,
        "loss": distortion + rate,
    }
    for name, value in expected.items():
        mean = (value * weight).sum() / weight.sum()
        found = float(np.asarray(logs[name]).ravel()[-1])
        np.testing.assert_allclose(
            found,
            mean,
            rtol=2e-4,
            atol=2e-4,
            err_msg=f"{seed} {kind} {dtype} {call} {name}",
        )
    return "right"


def _nothing():
    import contextlib

    return contextlib.nullcontext()
