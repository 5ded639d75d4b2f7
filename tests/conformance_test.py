"""What every public layer and distribution does; one without an example here fails."""

import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from deltavae_tf import backend, distributions, errors, layers, models
from deltavae_tf.distributions import latent_prior
from deltavae_tf.layers import weight_norm
from deltavae_tf.models import (
    auxiliary_prior,
    delta_vae,
    image_encoder,
    text_vae,
    training_step,
)
from deltavae_tf.training import checkpoints
from tests import testing

B, H, W, C = 3, 4, 5, 6
NOT_LAYERS_OF_THEIR_OWN = (  # The model and what it is made of.
    *delta_vae.DeltaVAE.__mro__,
    text_vae.TextVAE,
    training_step.TrainingStep,
    weight_norm.KernelAndBias,
)
# XLA takes half a minute for their noise; Dropout and noise_test.py have it there.
WITHOUT_KEYS_UNDER_XLA = (
    *("GatedStack", "ImageDecoder", "TransformerBlock"),
    *("SequenceBlock", "SequenceStack", "TextDecoder"),
)
FLOAT32_OUTPUTS = (
    *("ImageEncoder", "ImageDecoder", "IndependentDeltaEncoder", "LSTMPrior"),
    *("SequenceStack", "TextDecoder", "TextEncoder"),
)


def values(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def image(channels=3, num_levels=256):
    rng = np.random.default_rng(1)
    return rng.integers(0, num_levels, (B, H, W, channels)).astype("uint8")


def tokens():
    """Rows with two sentences, the second cut or followed by padding."""
    return np.int32([[5, 6, 1, 7, 8], [4, 1, 3, 1, 0], [2, 2, 2, 2, 1]])


# Arguments of the constructor (or a function that makes them), and of the call.
LAYERS = {
    "Dropout": (
        {"rate": 0.3},
        lambda: (values(B, H, C), testing.keys(B)),
    ),
    "GatedLayer": (
        {"width": C, "kernel_size": 5, "dropout_rate": 0.2, "normalization": "weight"},
        lambda: (values(B, H, W, C), values(B, H, W, C, seed=1), testing.keys(B)),
    ),
    "GatedStack": (
        {"num_layers": 2, "width": C, "filter_size": 7, "num_attention": 2}
        | {"num_heads": 3, "cross_attention": True, "dropout_rate": 0.2},
        lambda: (values(B, H, W, 2), values(B, H, 4), testing.keys(B)),
    ),
    "HorizontalConv2D": (
        {"filters": 4, "kernel_size": 5, "normalization": "weight"},
        lambda: (values(B, H, W, C),),
    ),
    "ImageDecoder": (
        {"num_layers": 1, "width": 8, "filter_size": 7, "num_attention": 1}
        | {"num_heads": 2, "num_mixtures": 3, "num_levels": 17, "dropout_rate": 0.2},
        lambda: (values(B, H, 4), image(num_levels=17), testing.keys(B)),
    ),
    "ImageEncoder": (
        {"latent_channels": 2, "num_layers": 1, "width": 8, "filter_size": 7}
        | {"num_attention": 1, "initial_scale": [[0.5, 0.7]] * H},
        lambda: (image(),),
    ),
    "IndependentDeltaEncoder": (
        lambda: {"encoder": image_encoder.ImageEncoder(2, 1, 8, 7), "rate": 0.2},
        lambda: (image(),),
    ),
    "LayerNorm": ({"epsilon": 1e-3}, lambda: (values(B, H, C),)),
    "Linear": (
        {"units": 4, "normalization": "weight"},
        lambda: (values(B, H, C),),
    ),
    "LSTMPrior": (
        {"units": 7, "latent_channels": 2, "covariance": "full"},
        lambda: (values(B, H, 2),),
    ),
    "MultiHeadAttention": (
        {"num_heads": 2, "width": C, "dropout_rate": 0.2},
        lambda: (
            (values(B, 5, C), values(B, 7, C), values(B, 7, 4))
            + (np.tri(5, 7, dtype=bool), testing.keys(B))
        ),
    ),
    "SequenceBlock": (
        {"num_heads": 2, "filter_size": 7, "dropout_rate": 0.2},
        lambda: (
            (values(B, H, C), np.tri(H, dtype=bool)[None].repeat(B, 0))
            + (testing.keys(B),)
        ),
    ),
    "SequenceStack": (
        {"num_layers": 2, "width": C, "filter_size": 7, "num_heads": 2}
        | {"dropout_rate": 0.2},
        lambda: (values(B, H, C), np.int32([[1, 1, 2, 0]] * B), testing.keys(B)),
    ),
    "TextDecoder": (
        {"vocabulary_size": 9, "num_layers": 1, "width": 8, "filter_size": 7}
        | {"num_heads": 2, "dropout_rate": 0.2},
        lambda: (values(B, 5, 2), tokens(), testing.keys(B)),
    ),
    "TextEncoder": (
        {"vocabulary_size": 9, "latent_channels": 2, "num_layers": 1, "width": 8}
        | {"filter_size": 7, "num_heads": 2, "alpha": [0.2, 0.4]},
        lambda: (tokens(),),
    ),
    "TokenEmbedding": (
        {"vocabulary_size": 9, "width": C},
        lambda: (tokens(),),
    ),
    "TransformerBlock": (
        {"num_heads": 2, "filter_size": 7, "cross_attention": True}
        | {"dropout_rate": 0.2},
        lambda: (values(B, H, W, C), values(B, H, 2), testing.keys(B)),
    ),
    "VerticalConv2D": (
        {"filters": 4, "kernel_size": 5, "bias_initializer": "ones"},
        lambda: (values(B, H, W, C),),
    ),
}

# The distribution, a value of it, and the dtype of its samples.
DISTRIBUTIONS = {
    "AR1": lambda: (
        distributions.AR1([0.3, 0.9], H),
        values(B, H, 2),
        "float32",
    ),
    "DeltaNormal": lambda: (
        distributions.DeltaNormal(values(B, 2), values(B, 2, seed=1), rate=0.2),
        values(B, 2, seed=2),
        "float32",
    ),
    "DiscretizedLogisticMixture": lambda: (
        distributions.DiscretizedLogisticMixture(
            values(B, H, W, 2),
            *(values(B, H, W, 3, 2, seed=i) for i in range(3)),
        ),
        image().astype("int32"),
        "int32",
    ),
    "TokenCategorical": lambda: (
        distributions.TokenCategorical(logits=values(B, 5, 11)),
        tokens(),
        "int32",
    ),
}

# A prior over [H, 2], and where sequences begin and end if their lengths differ.
PRIORS = {
    "AR1": lambda: (distributions.AR1([0.3, 0.9], H), None),
    "DistributionPrior": lambda: (
        latent_prior.DistributionPrior(
            backend.tfd.Independent(
                backend.tfd.Normal(values(H, 2), np.float32(0.8)), 2
            )
        ),
        None,
    ),
    "LSTMPrior": lambda: (lstm_prior(), None),
    "SegmentedAR1": lambda: (
        distributions.SegmentedAR1([0.3, 0.9]),
        np.int32([[1] * H, [1, 2, 2, 2], [1, 1, 1, 0]]),
    ),
}


def lstm_prior():
    prior = auxiliary_prior.LSTMPrior(5, 2)
    prior(values(B, H, 2))
    testing.randomize(prior)
    return prior


def public_classes(package, base):
    """Subclasses of `base` that are defined in a module of `package`, by name."""
    found = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, base):
                if value.__module__ == info.name and not name.startswith("_"):
                    found[name] = value
    return found


PUBLIC_LAYERS = {
    name: value
    for package in (layers, models)
    for name, value in public_classes(package, keras.layers.Layer).items()
    if value not in NOT_LAYERS_OF_THEIR_OWN
}
PUBLIC_DISTRIBUTIONS = public_classes(distributions, backend.tfd.Distribution)
PUBLIC_PRIORS = {
    name: value
    for package in (distributions, models)
    for name, value in public_classes(package, latent_prior.LatentPrior).items()
    if name != "LatentPrior"
}
every_prior = pytest.mark.parametrize("name", sorted(PUBLIC_PRIORS))
every_layer = pytest.mark.parametrize("name", sorted(PUBLIC_LAYERS))
every_distribution = pytest.mark.parametrize("name", sorted(PUBLIC_DISTRIBUTIONS))


def test_introspection_finds_them():
    assert {"Dropout", "ImageDecoder"} <= set(PUBLIC_LAYERS)
    assert "AR1" in PUBLIC_DISTRIBUTIONS
    assert set(PRIORS) <= set(PUBLIC_PRIORS)
    assert not set(LAYERS) - set(PUBLIC_LAYERS), "examples of classes that are gone"
    assert not set(DISTRIBUTIONS) - set(PUBLIC_DISTRIBUTIONS)


def make(name, dtype="float32", random=True):
    """A built layer, by default with random weights, and its inputs."""
    if name not in LAYERS:
        pytest.fail(f"{name} is public: give it an entry in {__name__}.LAYERS")
    arguments, inputs = LAYERS[name]
    keras.utils.set_random_seed(0)
    arguments = arguments() if callable(arguments) else arguments
    layer = PUBLIC_LAYERS[name](**arguments, dtype=dtype)
    inputs = inputs()
    layer(*inputs)
    if random:
        testing.randomize(layer)
    return layer, inputs


def tensors(outputs):
    """A layer's outputs as a list of tensors, a distribution by its parameters."""
    if isinstance(outputs, distributions.DiscretizedLogisticMixture):
        outputs = [
            outputs.logits,
            outputs.loc,
            outputs.log_scale,
            outputs.coefficients,
        ]
    if isinstance(outputs, backend.tfd.Independent):  # Of tokens, some of them masked.
        outputs = outputs.distribution.distribution.logits
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def assert_close(found, expected, atol=0.0, rtol=0.0):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        a, b = (ops.convert_to_numpy(ops.cast(x, "float32")) for x in (a, b))
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, atol=atol, rtol=rtol)


def variables_by_hand(root):
    """The keras.Variables that can be reached from a layer: no tracking of Keras."""
    found, seen, todo = {}, set(), [root]
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, keras.Variable):
            found[id(value)] = value
        elif isinstance(value, (list, tuple)):
            todo += value
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, keras.layers.Layer):
            todo += vars(value).values()
    return found.values()


@every_layer
def test_config_round_trip(name):
    layer, inputs = make(name)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert keras.saving.serialize_keras_object(again)["config"] == config["config"]
    arguments = set(inspect.signature(type(layer)).parameters) - {"kwargs"}
    assert arguments <= set(config["config"])
    again(*inputs)
    assert [v.shape for v in again.weights] == [v.shape for v in layer.weights]
    for new, old in zip(again.weights, layer.weights, strict=True):
        new.assign(old)
    assert_close(tensors(again(*inputs)), tensors(layer(*inputs)))


@every_layer
def test_eager_graph_and_xla_agree(name):
    layer, inputs = make(name)
    inputs = [tf.convert_to_tensor(x) for x in inputs]
    for jit_compile in (False, True):
        if jit_compile and name in WITHOUT_KEYS_UNDER_XLA:
            inputs = inputs[:-1]
        eager = tensors(layer(*inputs))
        function = tf.function(
            lambda *args: tensors(layer(*args)), jit_compile=jit_compile
        )
        assert_close(function(*inputs), eager, atol=1e-4, rtol=1e-4)


@every_layer
def test_gradient_reaches_every_variable(name):
    layer, inputs = make(name)
    with tf.GradientTape() as tape:
        outputs = tensors(layer(*inputs))
        loss = sum(
            tf.reduce_sum(y * values(*y.shape, seed=i)) for i, y in enumerate(outputs)
        )
    variables = layer.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, variable.path
        # Softmax does not see what is added to all keys alike.
        if not variable.path.endswith("key/weights/bias"):
            assert np.abs(gradient.numpy()).max() > 1e-4, variable.path


@every_layer
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_dtype_policy(name, policy):
    layer, inputs = make(name, policy)
    dtype = "float32" if name in FLOAT32_OUTPUTS else layer.compute_dtype
    outputs = tensors(layer(*inputs))
    assert {keras.backend.standardize_dtype(y.dtype) for y in outputs} == {dtype}
    assert {v.dtype for v in layer.weights} <= {"float32"}
    if policy == "mixed_bfloat16":
        expected = [ops.convert_to_numpy(y) for y in tensors(make(name)[0](*inputs))]
        for y, z in zip(outputs, expected, strict=True):
            difference = ops.convert_to_numpy(ops.cast(y, "float32")) - z
            assert np.sqrt(np.mean(difference**2)) < 0.1 * np.std(z) + 1e-3


@every_layer
def test_every_variable_is_saved_and_restored(name):
    layer, inputs = make(name)
    sections = {"layer": layer.weights}
    arrays = checkpoints.variables_to_arrays(sections)
    by_hand = [v for v in variables_by_hand(layer) if "seed" not in v.path]
    assert {id(v) for v in layer.weights} == {id(v) for v in by_hand}
    assert len(arrays) == len(by_hand)
    before = tensors(layer(*inputs))
    testing.randomize(layer, seed=1)
    if arrays:
        with pytest.raises(AssertionError):
            assert_close(tensors(layer(*inputs)), before)
    checkpoints.assign_arrays(sections, arrays)
    assert_close(tensors(layer(*inputs)), before)


@every_distribution
def test_distribution(name):
    if name not in DISTRIBUTIONS:
        pytest.fail(f"{name} is public: give it an entry in {__name__}.DISTRIBUTIONS")
    distribution, value, dtype = DISTRIBUTIONS[name]()
    log_prob = distribution.log_prob(value)
    assert log_prob.dtype == "float32" and log_prob.shape[0] == B

    @tf.function(jit_compile=True)
    def compiled(x):
        return DISTRIBUTIONS[name]()[0].log_prob(x)

    xla = compiled(tf.convert_to_tensor(value))
    assert_close([xla], [log_prob], atol=1e-4, rtol=1e-5)

    shape = tuple(distribution.batch_shape) + tuple(distribution.event_shape)
    samples = distribution.sample(2, seed=(1, 2))
    assert tuple(samples.shape) == (2, *shape)
    assert samples.dtype == dtype
    assert np.isfinite(distribution.log_prob(samples).numpy()).all()
    assert (samples[0].numpy() != samples[1].numpy()).any()


@every_prior
def test_prior(name):
    if name not in PRIORS:
        pytest.fail(f"{name} is public: give it an entry in {__name__}.PRIORS")
    prior, segments = PRIORS[name]()
    assert isinstance(prior, latent_prior.LatentPrior)
    assert tuple(prior.event_shape) in ((H, 2), (None, 2))
    loc, scale = values(B, H, 2), np.exp(0.2 * values(B, H, 2, seed=1))
    rates = []
    for seed in range(400):
        z = loc + scale * values(B, H, 2, seed=2 + seed)
        q = backend.tfd.Independent(backend.tfd.Normal(loc, scale), 2)
        rates.append([prior.rate(loc, scale, z), q.log_prob(z) - prior.log_prob(z)])
    for rate in rates[0]:
        assert tuple(rate.shape) == (B,) and rate.dtype == "float32"
    # On average over z the rate is the mean of log q(z) - log p(z).
    rate, estimate = np.mean(np.float64(rates), axis=0)
    error = np.std(np.float64(rates)[:, 1] - np.float64(rates)[:, 0], axis=0)
    assert np.all(np.abs(rate - estimate) < 4 * error / np.sqrt(len(rates)) + 1e-3)

    rate = np.array(
        prior.rate(loc, scale, z, *([] if segments is None else [segments]))
    )
    delta = prior.committed_rate(segments)
    assert isinstance(delta, float) or tuple(delta.shape) == (B,)
    assert np.all(rate >= np.array(delta))
    if segments is None:
        return
    # Padding costs nothing; a row's rate is the sum of its segments'.
    moved = np.where(segments[..., None] > 0, loc, loc + 1)
    np.testing.assert_allclose(prior.rate(moved, scale, z, segments), rate, rtol=1e-6)
    alone = prior.rate(loc[1:2, 1:], scale[1:2, 1:], z[1:2, 1:])
    first = prior.rate(loc[1:2, :1], scale[1:2, :1], z[1:2, :1])
    np.testing.assert_allclose(rate[1], (alone + first)[0], rtol=1e-5)


@every_prior
def test_prior_samples_and_config(name):
    prior, _ = PRIORS[name]()
    eps = values(5, H, 2)
    if name == "DistributionPrior":  # What a plain distribution lacks.
        for lacking in (lambda: prior.sample_from_noise(eps), prior.get_config):
            with pytest.raises(errors.UserError, match="plain distribution .* lacks"):
                lacking()
        return
    z = np.array(prior.sample_from_noise(eps))
    assert z.shape == eps.shape and z.dtype == "float32"
    np.testing.assert_allclose(prior.sample_from_noise(eps[3:]), z[3:], atol=1e-6)
    assert np.std(prior.sample_from_noise(eps, 0.5) - z) > 0.1
    config = keras.saving.serialize_keras_object(prior)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(prior)
    assert keras.saving.serialize_keras_object(again)["config"] == config["config"]
