"""What users get wrong, and the words that must be in the one line they then read.

Each entry makes a model (which may be refused already), says on what data, and which
calls must refuse; after a refusal nothing has moved.
"""

import dataclasses

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend
from deltavae_tf.distributions import ar1, mixture_logistic, token_categorical
from deltavae_tf.models import auxiliary_prior, delta_vae
from tests import users_oracle

tfd = backend.tfd
B, F, N, D = 6, 5, 4, 2
EVERYWHERE = ("call", "fit", "train_on_batch", "evaluate", "test_on_batch")
USUAL = ("call", "fit")  # The others come to the same lines.
TABLE = {}


@dataclasses.dataclass(frozen=True)
class Wrong:
    """An entry.

    Attributes:
      make: function without arguments, the model.
      words: regular expression, in the message.
      data: what `fit` takes; or a function that makes it.
      calls: names of the calls that must refuse. "make": the constructor.
    """

    make: object
    words: str
    data: object = None
    calls: tuple = USUAL


def floats():
    return np.random.default_rng(0).normal(size=(B, F)).astype("float32")


def counts(high=7, dtype="int32"):
    return np.random.default_rng(0).integers(0, high, (B, F)).astype(dtype)


class Encoder(keras.layers.Layer):
    """A right encoder, unless `spoil` changes what it returns."""

    def __init__(self, spoil=lambda loc, scale: (loc, scale), steps=N, channels=D):
        super().__init__()
        self.shape, self.spoil = (steps, channels), spoil
        self.dense = keras.layers.Dense(2 * steps * channels)

    def call(self, x):
        flat = ops.tanh(ops.cast(x, "float32"))
        flat = ops.reshape(flat, (-1, int(np.prod(x.shape[1:]))))
        loc, raw = ops.split(self.dense(flat), 2, axis=-1)
        loc, raw = (ops.reshape(t, (-1, *self.shape)) for t in (loc, raw))
        return self.spoil(loc, ops.softplus(raw))


class Decoder(keras.layers.Layer):
    """z -> `distribution(parameters [B, outputs])`."""

    def __init__(self, distribution=None, outputs=F, shape=(F,)):
        super().__init__()
        self.distribution = distribution or normal
        self.dense = keras.layers.Dense(outputs)
        self.shape = shape

    def call(self, z, x):
        del x
        flat = ops.reshape(z, (-1, N * D))
        parameters = ops.reshape(self.dense(flat), (-1, *self.shape))
        return self.distribution(parameters)


def normal(loc):
    return tfd.Independent(tfd.Normal(loc, 1.0), 1)


def categorical(logits):
    return tfd.Independent(tfd.Categorical(logits), 1)


def vae(encoder=None, decoder=None, prior=None, **kwargs):
    return delta_vae.DeltaVAE(
        encoder or Encoder(),
        decoder or Decoder(),
        prior or ar1.AR1([0.8, 0.4], N),
        **kwargs,
    )


def wrong(name, make, words, data=floats, calls=USUAL):
    """Enters a case."""
    assert name not in TABLE
    TABLE[name] = Wrong(make, words, data, calls)


def encoder(name, spoil, words, **kwargs):
    wrong(f"encoder: {name}", lambda: vae(Encoder(spoil)), words, **kwargs)


# Encoders.

encoder("only loc", lambda loc, scale: loc, "Encoder.*loc and scale.*Received")
encoder("a list of loc", lambda loc, scale: [loc], "Encoder.*loc and scale.*Received")
encoder("three", lambda loc, s: (loc, s, s), "Encoder.*loc and scale.*Received")
encoder("a distribution", lambda loc, s: tfd.Normal(loc, s), "Encoder.*loc and scale")
encoder("a dict", lambda loc, s: {"loc": loc, "scale": s}, "Encoder.*loc and scale")
encoder("stacked", lambda loc, s: ops.stack([loc, s]), "Encoder.*loc and scale")
encoder("None", lambda loc, s: None, "Encoder.*loc and scale")
encoder(
    "flat", lambda loc, s: (ops.reshape(loc, (-1, N * D)),) * 2, r"Encoder.*\[B, n, d\]"
)
encoder("scale of one step", lambda loc, s: (loc, s[:, :1]), r"Encoder.*\[B, n, d\]")
encoder("a posterior for all", lambda loc, s: (loc[:1], s[:1]), r"Encoder.*\[B, n, d\]")
encoder("raw scale", lambda loc, s: (loc, loc), "Encoder.*scale.*softplus")
encoder("log scale", lambda loc, s: (loc, ops.log(s / 2)), "Encoder.*scale.*softplus")
encoder("scale of 0", lambda loc, s: (loc, ops.zeros_like(s)), "Encoder.*scale.*softpl")
encoder("scale of NaN", lambda loc, s: (loc, s * np.nan), "Encoder.*scale")
encoder("infinite scale", lambda loc, s: (loc, s + np.inf), "Encoder.*scale")
encoder("loc of NaN", lambda loc, s: (loc * np.nan, s), "Encoder.*loc")
encoder("infinite loc", lambda loc, s: (loc / 0.0, s), "Encoder.*loc")
encoder("integers", lambda loc, s: (ops.cast(loc, "int32"),) * 2, "Encoder.*float")
for _steps, _channels in ((3, 2), (4, 3), (2, 4), (4, 1), (1, 2)):
    wrong(
        f"encoder: {_steps} steps of {_channels}",
        lambda s=_steps, c=_channels: vae(Encoder(steps=s, channels=c)),
        r"\[4, 2\].*prior|prior.*\[4, 2\]|\(4, 2\)",
    )
wrong(
    "encoder: a function", lambda: vae(lambda x: x), "encoder.*layer", calls=("make",)
)


class TwoInputs(Encoder):
    def call(self, x, y):
        return super().call(x)


wrong("encoder: takes two", lambda: vae(TwoInputs()), "encoder.*x", calls=("make",))

# Decoders.


class OnlyZ(Decoder):
    def call(self, z):
        return super().call(z, None)


class OnlyZTraining(Decoder):
    def call(self, z, training=False):
        return super().call(z, None)


def sequential():
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(F)])


for _name, _make in (
    ("only z", OnlyZ),
    ("only z and training", OnlyZTraining),
    ("Sequential", sequential),
):
    wrong(
        f"decoder: takes {_name}",
        lambda m=_make: vae(decoder=m()),
        r"decoder.*\(z, x\)",
        calls=("make",),
    )


class NeedsX(Decoder):
    def call(self, z, x):
        return normal(super().call(z, x).distribution.loc + 0 * ops.cast(x, "float32"))


def decoder(name, distribution, words, data=floats, outputs=F, shape=(F,), **kwargs):
    wrong(
        f"decoder: {name}",
        lambda: vae(decoder=Decoder(distribution, outputs, shape)),
        words,
        data,
        **kwargs,
    )


wrong(
    "decoder: a function",
    lambda: vae(decoder=lambda z, x: z),
    "decoder.*layer",
    calls=("make",),
)
decoder("logits", lambda p: p, "Decoder.*distribution.*log_prob")
decoder("None", lambda p: None, "Decoder.*distribution.*log_prob")
decoder("a pair", lambda p: (normal(p), p), "Decoder.*distribution.*log_prob")
decoder("normal of each", lambda p: tfd.Normal(p, 1.0), r"log_prob.*\[B\].*Independent")
decoder(
    "normal over batch too",
    lambda p: tfd.Independent(tfd.Normal(p, 1.0), 2),
    r"log_prob.*\[B\]|event",
)
decoder("an axis too many", lambda p: normal(p[:, None]), r"event|\[B\]")
decoder(
    "an axis too many, all event",
    lambda p: tfd.Independent(tfd.Normal(p[:, None], 1.0), 2),
    "event",
)
decoder("one number for all", lambda p: normal(p[:, :1]), "event")
decoder("part of x", lambda p: normal(p[:, :3]), "event|shape")
decoder("one for the batch", lambda p: normal(p[0]), r"batch")
CATEGORIES = {"outputs": F * 7, "shape": (F, 7)}
decoder(
    "categorical of each",
    tfd.Categorical,
    r"log_prob.*\[B\].*Independent",
    counts,
    calls=EVERYWHERE,
    **CATEGORIES,
)
decoder("floats into Categorical", categorical, "int32.*float32", floats, **CATEGORIES)
if backend.name == "tensorflow":  # JAX promotes dtypes, and its numbers are right.
    for _dtype in ("uint8", "int8"):
        decoder(
            f"{_dtype} into Categorical",
            categorical,
            f"int32.*{_dtype}",
            lambda t=_dtype: counts(dtype=t),
            **CATEGORIES,
        )
    decoder(
        "float64 into Normal",
        normal,
        "float32.*float64",
        lambda: floats().astype("float64"),
    )
    for _dtype in ("int32", "uint8"):
        decoder(
            f"{_dtype} into Normal",
            normal,
            f"float32.*{_dtype}",
            lambda t=_dtype: counts(dtype=t),
        )


def mixture(parameters):
    made = mixture_logistic.DiscretizedLogisticMixture.from_parameters
    return made(parameters, num_channels=1, num_levels=17)


def pixels(high):
    return np.random.default_rng(0).integers(0, high, (B, 2, 3, 1)).astype("int32")


for _name, _data in (("too high", pixels(256)), ("negative", pixels(17) - 1)):
    decoder(
        f"levels {_name}",
        mixture,
        r"\[0, 16\]",
        lambda d=_data: d,
        outputs=2 * 3 * 3,
        shape=(2, 3, 3),
    )
decoder(
    "a token too many",
    lambda p: tfd.Independent(token_categorical.TokenCategorical(p), 1),
    r"\[0, 6\]",
    lambda: counts(9),
    **CATEGORIES,
)
decoder(
    "a category too many",
    categorical,
    r"\[0, 6\]|\[0, 7\)",
    lambda: counts(9),
    **CATEGORIES,
)
decoder(
    "a negative category",
    categorical,
    r"\[0, 6\]|\[0, 7\)",
    lambda: counts() - 1,
    **CATEGORIES,
)
decoder(
    "levels into Bernoulli",
    lambda p: tfd.Independent(tfd.Bernoulli(p, dtype="float32"), 1),
    r"\[0, 1\]",
    lambda: counts(256, "float32"),
)
decoder("NaN", lambda p: normal(p * np.nan), "distortion.*nan")
decoder(
    "minus infinity",
    lambda p: tfd.Independent(tfd.Uniform(p - 1e-6, p + 1e-6), 1),
    "distortion.*inf",
)
decoder(
    "a negative deviation",
    lambda p: tfd.Independent(tfd.Normal(p, -ops.abs(p)), 1),
    "distortion.*nan",
)
wrong(
    "decoder: is given no x by sample",
    lambda: vae(decoder=NeedsX()),
    "Decoder|NeedsX.*x=None.*sample",
    calls=("sample",),
)
wrong(
    "decoder: temperature without sample",
    vae,
    "sample.*temperature",
    calls=("temperature",),
)

# Priors.


def prior(name, make, words, **kwargs):
    wrong(f"prior: {name}", lambda: vae(prior=make()), words, **kwargs)


prior("another n", lambda: ar1.AR1([0.8, 0.4], 5), "prior")
prior("another d", lambda: ar1.AR1([0.8], N), "prior")
prior("not Independent", lambda: tfd.Normal(np.zeros((N, D), "f"), 1.0), "prior")
prior(
    "independent of one axis",
    lambda: tfd.Independent(tfd.Normal(np.zeros((N, D), "f"), 1.0), 1),
    "prior",
)
prior(
    "a batch of priors",
    lambda: tfd.Independent(tfd.Normal(np.zeros((B, N, D), "f"), 1.0), 2),
    "prior",
)
prior("scalar", lambda: tfd.Normal(0.0, 1.0), "prior")
prior("a string", lambda: "ar1", "prior")
prior("a number", lambda: 0.5, "prior")

# The rest of the constructor.

for _seed in (None, 1.5, "7", [1, 2, 3]):
    wrong(
        f"seed {_seed!r}",
        lambda s=_seed: vae(seed=s),
        "`seed`.*integer.*Received",
        calls=("make",),
    )
wrong(
    "auxiliary: another d",
    lambda: vae(auxiliary_prior=auxiliary_prior.LSTMPrior(4, 3)),
    "LSTMPrior.*3",
)
wrong(
    "auxiliary: no layer",
    lambda: vae(auxiliary_prior="lstm"),
    "auxiliary.*layer",
    calls=("make",),
)
wrong(
    "auxiliary: without latents",
    lambda: delta_vae.DeltaVAE(None, Decoder(), None, auxiliary_prior.LSTMPrior(4, 2)),
    "auxiliary",
    calls=("make",),
)
wrong(
    "objective: a function",
    lambda: vae(objective=lambda t: t["rate"]),
    "objective",
    calls=("make",),
)
wrong(
    "objective: its name", lambda: vae(objective="elbo"), "objective", calls=("make",)
)
wrong(
    "encoder without prior",
    lambda: delta_vae.DeltaVAE(Encoder(), Decoder(), None),
    "prior",
    calls=("make",),
)


class Penalized(Encoder):
    def call(self, x):
        self.add_loss(ops.sum(ops.square(self.dense(x))))
        return super().call(x)


def _regularized():
    made = Encoder()
    made.dense.kernel_regularizer = keras.regularizers.L2(0.1)
    return made


TRAINING = ("fit", "evaluate")
wrong("a regularizer", lambda: vae(_regularized()), "regularizer", calls=TRAINING)
wrong("add_loss", lambda: vae(Penalized()), "add_loss", calls=TRAINING)

# Data.


def data(name, make, words, model=vae, calls=USUAL):
    wrong(f"data: {name}", model, words, make, calls)


data(
    "none",
    lambda: np.zeros((0, F), "float32"),
    "empty|no examples",
    calls=("fit", "evaluate"),
)
data("a list of arrays", lambda: [floats(), floats()], "list|one array")
data("two kinds", lambda: {"image": floats(), "tokens": floats()}, "one of 'image'")
data("no kind", lambda: {"picture": floats()}, "one of 'image'.*picture")
data(
    "a mask of two axes",
    lambda: {"x": floats(), "mask": np.ones((B, 1), "f")},
    r"`?mask`?.*\[B\]",
)
data(
    "a mask of each pixel",
    lambda: {"x": floats(), "mask": np.ones((B, F), "f")},
    r"`?mask`?.*\[B\]",
)
data("a negative mask", lambda: {"x": floats(), "mask": np.arange(B) - 2.0}, "mask")
data("a mask of NaN", lambda: {"x": floats(), "mask": np.full(B, np.nan, "f")}, "mask")
data(
    "a mask of zeros",
    lambda: {"x": floats(), "mask": np.zeros(B, "f")},
    "mask|no examples|weight",
    calls=("evaluate", "fit"),
)
data(
    "numbers of two axes",
    lambda: {"x": floats(), "index": np.zeros((B, 1), "int32")},
    r"`?index`?.*\[B\]",
)
data(
    "numbers that are floats",
    lambda: {"x": floats(), "index": np.zeros(B, "f")},
    r"`?index`?.*int",
)
data("NaN", lambda: np.where(floats() > 1, np.nan, floats()).astype("f"), "nan|finite")
data(
    "infinite",
    lambda: np.where(floats() > 1, np.inf, floats()).astype("f"),
    "inf|finite",
)
data("a scalar", lambda: np.float32(3), r"\[B")

WEIGHTED = ("fit", "train_on_batch", "evaluate", "test_on_batch")
WEIGHTS = {
    "negative": np.arange(B) - 2.0,
    "NaN": np.full(B, np.nan),
    "of each number": np.ones((B, F)),
    "zero": np.zeros(B),
}

COMPILE = {
    "loss": ({"loss": "mse"}, "objective"),
    "metrics": ({"metrics": ["mae"]}, "metrics"),
    "weighted_metrics": ({"weighted_metrics": ["mae"]}, "metrics"),
    "loss_weights": ({"loss_weights": [2.0]}, "loss_weights"),
    "a negative clip_norm": ({"clip_norm": -1.0}, "clip_norm"),
    "clip_norm of NaN": ({"clip_norm": float("nan")}, "clip_norm"),
    "clip_norm as text": ({"clip_norm": "1"}, "clip_norm"),
    "two kinds of clipping": (
        {
            "optimizer": lambda: keras.optimizers.SGD(
                0.1, gradient_accumulation_steps=2
            ),
            "clip_norm": 1.0,
        },
        "gradient_accumulation_steps",
    ),
}
COMPILE_ON_REPLICAS = {
    "jit_compile": ({"jit_compile": True}, "jit_compile"),
    "gradient_accumulation_steps": (
        {"optimizer": lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)},
        "gradient_accumulation_steps",
    ),
    "ema_overwrite_frequency": (
        {
            "optimizer": lambda: keras.optimizers.SGD(
                0.1, use_ema=True, ema_overwrite_frequency=2
            )
        },
        "ema_overwrite_frequency",
    ),
}


def call(name, model, x):
    """The call that must refuse."""
    calls = {
        "call": lambda: model(_first(x)),
        "fit": lambda: model.fit(x, batch_size=4, verbose=0, shuffle=False),
        "evaluate": lambda: model.evaluate(x, batch_size=4, verbose=0),
        "train_on_batch": lambda: model.train_on_batch(x),
        "test_on_batch": lambda: model.test_on_batch(x),
        "sample": lambda: (model(x), model.sample(2, prior="training")),
        "temperature": lambda: (
            model(x),
            model.sample(2, prior="training", temperature=0.5),
        ),
    }
    return calls[name]()


def _first(x):
    return x


def state(model):
    """Everything that a refused call must leave as it was."""
    optimizer = [ops.convert_to_numpy(v) for v in model.optimizer.variables]
    weights = [ops.convert_to_numpy(v) for v in model.weights]
    return [*weights, *optimizer], model.clip_norm, int(model.steps)


def same(before, after):
    """Whether two states are, in what both hold: a call may have made weights."""
    if before[1:] != after[1:]:
        return False
    old, new = before[0], after[0]
    if len(old) != len(new):  # Made by the call; what counts is that none moved.
        return True
    return all(np.array_equal(a, b) for a, b in zip(old, new, strict=True))


__all__ = ["TABLE", "users_oracle"]
