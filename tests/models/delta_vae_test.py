"""The delta-VAE: its terms, its gradients, plain Keras around it, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from data import digits
from data.images import batches
from deltavae_tf.distributions import ar1
from deltavae_tf.models import delta_vae
from tests import testing, tiny


def make(seed=0, **changes):
    return tiny.image_model(seed, **changes)


@pytest.fixture(scope="module")
def untouched():
    """A model for tests that change nothing of it."""
    return make()


def batch_of(size, start=0):
    split = digits.load("train")
    rows = slice(start, start + size)
    return {
        "image": tf.constant(split.image[rows]),
        "index": tf.constant(split.index[rows]),
        "mask": tf.ones([size]),
    }


def gradients(model, batch, variables, terms_to_loss):
    with tf.GradientTape() as tape:
        loss = terms_to_loss(model(batch, training=True))
    return tape.gradient(loss, [v.value for v in variables])


def test_terms_are_float32_nats_per_example():
    for dtype in ("float32", "mixed_bfloat16"):
        model = make(dtype=dtype)
        terms = model(batch_of(5))
        assert {k: (v.shape, v.dtype) for k, v in terms.items()} == {
            name: ((5,), tf.float32) for name in ("distortion", "rate", "rate_aux")
        }


def test_rate_is_the_kl_and_distortion_is_the_decoders():
    model = make()
    testing.randomize(model.encoder, scale=0.1)
    batch = batch_of(3)
    terms = model(batch)
    posterior = model.encode(batch["image"])
    loc, scale = (np.float64(posterior.distribution.loc),
                  np.float64(posterior.distribution.scale))  # fmt: skip
    alpha = np.linspace(0.5, 0.95, 2)
    steps = np.arange(8)
    for i in range(3):
        kl = 0.0
        for k in range(2):  # Against a dense Gaussian.
            prior = alpha[k] ** abs(steps[:, None] - steps[None])
            inverse = np.linalg.inv(prior)
            m, s2 = loc[i, :, k], scale[i, :, k] ** 2
            kl += 0.5 * (np.trace(inverse * s2) + m @ inverse @ m - 8)
            kl += 0.5 * (np.linalg.slogdet(prior)[1] - np.log(s2).sum())
        np.testing.assert_allclose(terms["rate"][i], kl, rtol=1e-4)
    assert np.all(terms["rate"] >= model.committed_rate())
    # The distortion is -log p(x | z) for one z near the posterior's mean.
    at_mean = -model.decode(loc.astype("float32"), batch["image"]).log_prob(
        batch["image"]
    )
    np.testing.assert_allclose(terms["distortion"], at_mean, rtol=0.2)


def test_auxiliary_prior_moves_neither_encoder_nor_decoder():
    model, batch = make(), batch_of(4)
    testing.randomize(model)
    others = model.encoder.trainable_variables + model.decoder.trainable_variables
    auxiliary = model.auxiliary_prior.trainable_variables
    found = gradients(model, batch, others, lambda t: tf.reduce_sum(t["rate_aux"]))
    assert all(g is None for g in found)
    found = gradients(model, batch, auxiliary, lambda t: tf.reduce_sum(t["rate_aux"]))
    assert all(g is not None and np.abs(g).max() > 0 for g in found)

    def elbo(t):
        return tf.reduce_sum(t["distortion"] + t["rate"])

    assert all(g is None for g in gradients(model, batch, auxiliary, elbo))
    found = gradients(model, batch, others, elbo)
    assert all(g is not None for g in found)


def test_a_step_is_the_same_with_and_without_the_auxiliary_prior():
    batch = batch_of(8)
    weights = []
    for use in (True, False):
        model = make(seed=3)
        if not use:
            model = delta_vae.DeltaVAE(
                model.encoder, model.decoder, model.prior, seed=3
            )
            model(batch)
        model.compile(keras.optimizers.SGD(1e-3))
        model.train_step(batch)
        layers = (model.encoder, model.decoder)
        weights.append([v.numpy() for x in layers for v in x.trainable_variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def test_noise_follows_the_example_and_the_step():
    model = make()
    testing.randomize(model.encoder)
    batch = batch_of(6)
    whole = model(batch)["distortion"]
    part = {k: v[2:4] for k, v in batch.items()}
    np.testing.assert_allclose(whole[2:4], model(part)["distortion"], rtol=1e-5)
    np.testing.assert_array_equal(whole, model(batch)["distortion"])  # Evaluation.
    first = model(batch, training=True)["distortion"]
    assert (first.numpy() != whole.numpy()).all()
    again = model(batch, training=True)["distortion"]
    np.testing.assert_array_equal(first, again)
    assert int(model.steps) == 0  # Only a step of training moves it.
    model.compute_loss(batch, y_pred=model(batch, training=True))
    assert int(model.steps) == 1
    second = model(batch, training=True)["distortion"]
    assert (first.numpy() != second.numpy()).all()


def test_clip_norm_bounds_the_update():
    batch = batch_of(8)
    moved = []
    for clip in (None, 1e-3):
        model = make(seed=1)
        model.compile(keras.optimizers.SGD(1.0), clip_norm=clip)
        before = [v.numpy() for v in model.trainable_variables]
        logs = model.train_step(batch)
        after = [v.numpy() for v in model.trainable_variables]
        steps = [np.sum((a - b) ** 2) for a, b in zip(after, before, strict=True)]
        moved.append(np.sqrt(np.sum(steps)))
    np.testing.assert_allclose(moved[0], logs["grad_norm"], rtol=1e-3)
    np.testing.assert_allclose(moved[1], 1e-3, rtol=1e-2)


def test_fit_and_evaluate_on_tf_data():
    model = make(learning_rate=0.01)
    data = batches.training_batches(digits.load("train"), 32, seed=0)
    history = model.fit(data, steps_per_epoch=15, epochs=2, verbose=0).history
    assert history["nelbo_bpd"][1] < history["nelbo_bpd"][0] - 0.1
    test = digits.load("test")
    results = [
        model.evaluate(
            batches.evaluation_batches(test, size), verbose=0, return_dict=True
        )
        for size in (50, 297)
    ]
    for name, value in results[0].items():
        if name != "loss":  # Keras averages the loss over batches, not examples.
            np.testing.assert_allclose(value, results[1][name], rtol=1e-4)
    assert results[0]["rate_nats"] >= model.committed_rate()


def test_a_rate_below_the_committed_one_is_an_error():
    model = make()
    with pytest.raises(FloatingPointError, match="below the committed rate"):
        model.check_rate([model.committed_rate() * 0.99])
    broken = delta_vae.DeltaVAE(
        model.encoder, model.decoder, ar1.AR1([0.9, 0.99], 8), seed=0
    )
    broken.compile()
    broken.committed_rate = lambda: 1e4
    with pytest.raises(FloatingPointError):
        broken.evaluate(tf.data.Dataset.from_tensors(batch_of(4)), verbose=0)


def test_plain_arrays_and_a_users_own_models():
    """An encoder and a decoder of one's own plug in; z is [B, n, d]."""

    class Encoder(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(8)

        def call(self, x):
            loc, scale = ops.split(self.dense(x), 2, axis=-1)
            loc, scale = (ops.reshape(t, (-1, 4, 1)) for t in (loc, scale))
            return loc, ops.softplus(scale)

    class Decoder(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(5)

        def call(self, z, x):
            del x
            from deltavae_tf import backend

            loc = self.dense(ops.reshape(z, (-1, 4)))
            return backend.tfd.Independent(backend.tfd.Normal(loc, 1.0), 1)

    model = delta_vae.DeltaVAE(Encoder(), Decoder(), ar1.AR1([0.8], 4))
    x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(x, batch_size=16, epochs=3, verbose=0, shuffle=False).history
    assert history["loss"][-1] < history["loss"][0]
    assert model.sample(7, prior="training").shape == (7, 5)
    assert model.encode(x[:3]).event_shape == (4, 1)


def test_save_and_load(tmp_path):
    model, batch = make(), batch_of(4)
    model.train_step(batch)
    path = tmp_path / "m.keras"
    model.save(path)
    again = keras.models.load_model(path)
    for name, value in model(batch).items():
        np.testing.assert_array_equal(value, again(batch)[name])
    np.testing.assert_array_equal(model.sample(3), again.sample(3))
    for loaded in (model, again):  # The optimizer's state came along.
        loaded.train_step(batch)
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("prior", ["auxiliary", "training"])
def test_samples_do_not_depend_on_how_many(prior):
    model = make()
    testing.randomize(model.auxiliary_prior)
    five = ops.convert_to_numpy(model.sample(5, prior, seed=3))
    two = ops.convert_to_numpy(model.sample(2, prior, seed=3, first=3))
    np.testing.assert_array_equal(five[3:], two)
    other = ops.convert_to_numpy(model.sample(5, prior, seed=4))
    assert (other != five).any()
    assert five.min() >= 0 and five.max() <= 16


def test_baseline_without_latents():
    model, batch = tiny.image_decoder_alone(), batch_of(4)
    terms = model(batch)
    assert float(tf.reduce_sum(terms["rate"])) == 0.0 == model.committed_rate()
    model.train_step(batch)
    assert model.sample(2).shape == (2, 8, 8, 1)
    with pytest.raises(ValueError, match="no latents"):
        model.encode(batch["image"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n": 0}, "`n` must be at least 1"),
        ({"n": 1, "temperature": 0}, "`temperature` must be above 0"),
        ({"n": 1, "prior": "gaussian"}, "one of .*aux.* Received: 'gaussian'"),
    ],
)
def test_bad_sampling_arguments(arguments, message, untouched):
    with pytest.raises(ValueError, match=message):
        untouched.sample(**arguments)


def test_a_loss_for_compile_is_refused(untouched):
    with pytest.raises(ValueError, match="objective"):
        untouched.compile("adam", loss="mse")


def test_weight_norm_starts_from_the_data():
    model, batch = make(normalization="weight"), batch_of(32)
    from deltavae_tf.layers import layer_norm, weight_norm

    layers = [
        x
        for x in model.decoder._flatten_layers()
        if isinstance(x, weight_norm.KernelAndBias)
    ]
    kinds = {type(x) for x in model.decoder._flatten_layers()}
    assert layer_norm.LayerNorm not in kinds  # One or the other.
    model.initialize_from(batch)
    outputs = []
    original = weight_norm.KernelAndBias.apply_to

    def spy(self, inputs, linear_map):
        out = original(self, inputs, linear_map)
        outputs.append(out)
        return out

    weight_norm.KernelAndBias.apply_to = spy
    try:
        model(batch)
    finally:
        weight_norm.KernelAndBias.apply_to = original
    assert len(outputs) > len(layers)
    for out in outputs:
        out = np.float64(out).reshape(-1, out.shape[-1])
        np.testing.assert_allclose(out.mean(0), 0, atol=1e-2)
        std = out.std(0)
        assert ((abs(std - 1) < 1e-2) | (std < 1e-2)).all()


@pytest.mark.slow  # One without attention: `test_xla_trains_too` of the loop.
def test_the_train_step_compiles_whole_under_xla():
    """With attention, cross-attention, dropout, LSTM and Adam: what a TPU asks."""
    overrides = {"dropout": 0.1, "decoder_attention": 1, "encoder_attention": 1}
    batch, logs = batch_of(8), []
    for jit_compile in (False, True):
        model = make(**overrides)
        model.optimizer.build(model.trainable_variables)
        step = tf.function(model.train_step, jit_compile=jit_compile, autograph=False)
        logs.append(step(batch))
    for name, value in logs[0].items():
        np.testing.assert_allclose(logs[1][name], value, rtol=1e-3)
