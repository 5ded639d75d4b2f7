"""The same model on both backends: the same nats; one train step on JAX.

In the product's environment the numbers are TensorFlow's; `make test-jax` runs this
file where JAX is, and skips what needs TensorFlow.
"""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from deltavae_tf import backend, noise
from deltavae_tf.distributions import ar1, delta_normal
from deltavae_tf.layers import gated_stack
from deltavae_tf.models import auxiliary_prior, delta_vae, image_decoder, image_encoder
from deltavae_tf.sampling import images, traversals
from tests import testing

on_jax = pytest.mark.skipif(
    backend.name != "jax", reason="JAX is absent: `make test-jax` runs this"
)
H, W = 4, 5

# Nats of `make(dropout_rate=0.3)` on TensorFlow 2.21, CPU.
EVALUATED = {
    "distortion": [206.6699, 207.0991, 188.9261, 199.5909, 197.9675, 206.1584],
    "rate": [4.2152, 3.8796, 3.6576, 4.2516, 3.9799, 4.1943],
    "rate_aux": [1.2044, 1.4188, 1.197, 1.2955, 1.0794, 1.291],
}
TRAINED = {
    "distortion": [206.763, 208.5388, 188.0323, 202.1353, 198.5604, 205.7608],
    "rate": [4.2152, 3.8796, 3.6576, 4.2516, 3.9799, 4.1943],
    "rate_aux": [1.21, 1.161, 1.2071, 1.2647, 1.1916, 1.2586],
}
LATENTS = [1.28092, -0.14147, -0.47506, 1.65257]


def make(dropout_rate=0.0):
    """A model with every kind of layer and weights from a numpy seed."""
    prior = ar1.AR1([0.5, 0.9], H)
    shared = {"num_attention": 2, "num_heads": 2, "num_levels": 17}
    model = delta_vae.DeltaVAE(
        image_encoder.ImageEncoder(
            2, 2, 8, 16, initial_scale=prior.optimal_scale(), **shared
        ),
        image_decoder.ImageDecoder(
            2, 8, 16, num_mixtures=3, dropout_rate=dropout_rate, **shared
        ),
        prior,
        auxiliary_prior.LSTMPrior(8, 2),
        seed=5,
    )
    batch = {
        "image": np.random.default_rng(0).integers(0, 17, (6, H, W, 3), "uint8"),
        "index": np.arange(10, 16, dtype="int32"),
        "mask": np.ones(6, "float32"),
    }
    backend.make_variables(model, batch)
    set_weights(model)
    return model, batch


def set_weights(layer):
    """The same weights in every process and on every backend."""
    rng = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        start = 1.0 if variable.name in ("gamma", "gain") else 0.0
        variable.assign(start + rng.normal(size=variable.shape, scale=0.2))


def test_terms_are_the_same_numbers_on_every_backend():
    model, batch = make(dropout_rate=0.3)
    for training, expected in (
        (False, EVALUATED),
        (True, TRAINED),
    ):
        call = functools.partial(model, training=training)
        terms = backend.graph(call, model)(batch)
        for name, value in expected.items():
            found = ops.convert_to_numpy(terms[name])
            np.testing.assert_allclose(found, value, rtol=2e-4, err_msg=name)


@pytest.mark.parametrize("normalization", ["layer", "weight"])
def test_rematerialized_layers_have_the_same_gradients(normalization):
    x = np.random.default_rng(0).normal(size=(2, H, W, 3)).astype("float32")
    memory = np.random.default_rng(1).normal(size=(2, H, 6)).astype("float32")
    stacks = [
        gated_stack.GatedStack(
            1, 8, 16, 1, 2, cross_attention=True, dropout_rate=0.3,
            normalization=normalization, rematerialize=rematerialize,
        )
        for rematerialize in (False, True)
    ]  # fmt: skip
    for stack in stacks:
        backend.make_variables(stack, x, memory)
        set_weights(stack)

    def loss_and_gradients(stack):
        return backend.value_and_gradients(
            lambda: (ops.sum(ops.sin(stack(x, memory, testing.keys(2)))), ()),
            stack.trainable_variables,
        )[:2]

    found = [
        backend.graph(functools.partial(loss_and_gradients, stack), stack)()
        for stack in stacks
    ]
    (kept, kept_gradients), (again, again_gradients) = found
    np.testing.assert_allclose(kept, again, rtol=1e-5, atol=1e-4)
    for a, b in zip(kept_gradients, again_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@on_jax
def test_rematerialized_layers_keep_less_for_the_backward_pass():
    import jax

    sizes = []
    for rematerialize in (False, True):
        stack = gated_stack.GatedStack(6, 8, 16, 0, rematerialize=rematerialize)
        x = np.ones((2, 8, 8, 3), "float32")
        backend.make_variables(stack, x)
        values = [ops.convert_to_tensor(v) for v in stack.trainable_variables]

        def output(values, stack=stack, x=x):
            mapping = list(zip(stack.trainable_variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return stack(x)

        # What `vjp` returns is a pytree of what it kept.
        kept = jax.tree.leaves(jax.vjp(output, values)[1])
        sizes.append(sum(leaf.size for leaf in kept))
    assert sizes[1] < sizes[0] / 2, sizes


def test_samples_are_the_same_numbers_on_every_backend():
    model, _ = make()
    z = ops.convert_to_numpy(model.sample_latents(2, "auxiliary", seed=1))
    np.testing.assert_allclose(z[1, :, 0], LATENTS, rtol=1e-3)
    cached = ops.convert_to_numpy(backend.compile(model.decoder.sample, model.decoder)(
        z, testing.keys(2), ops.convert_to_tensor(1.0)
    ))  # fmt: skip
    naive = images.naive_sample(model.decoder, z, testing.keys(2))
    np.testing.assert_array_equal(cached, naive)


@on_jax
def test_traversals_on_jax():
    model, batch = make()
    kinds = traversals.Traversals(model, seed=1, batch_size=4)
    dream = kinds.daydream(2, 2)
    np.testing.assert_allclose(dream.latents[0, 1, :, 0], LATENTS, rtol=1e-3)
    z = model.sample_posterior(dream.images[0], 1, ops.convert_to_tensor([2, 3]))
    np.testing.assert_allclose(dream.latents[1], z, rtol=1e-4, atol=1e-5)
    done = kinds.completion(batch["image"][:2], num_given=7, rows=1)
    keys = noise.sample_keys(1, ops.convert_to_tensor([0, 1]), 2, noise.Purpose.DATA)
    naive = images.naive_sample(
        model.decoder, done.latents[2], keys, given=done.images[1], num_given=7
    )
    np.testing.assert_array_equal(done.images[2], naive)


@on_jax
def test_fit_on_jax():
    import sys

    model, batch = make(dropout_rate=0.1)
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    model.compile(keras.optimizers.Adam(1e-3))
    history = model.fit(batch, epochs=3, batch_size=3, verbose=0).history
    assert history["nelbo_bpd"][-1] < history["nelbo_bpd"][0]
    assert int(model.steps) == 6
    after = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    assert all((a != b).any() for a, b in zip(after, before, strict=True))
    assert model.evaluate(batch, verbose=0, return_dict=True)["rate_nats"] > 0
    assert "tensorflow" not in sys.modules


@on_jax
@pytest.mark.parametrize("scale_parameter", [-1e3, -20.0, 0.0, 20.0, 1e3])
def test_delta_normal_gradients_are_finite_on_jax(scale_parameter):
    import jax

    def kl(parameters):
        q = delta_normal.DeltaNormal(*parameters, rate=0.2)
        return backend.tfd.kl_divergence(q, backend.tfd.Normal(0.0, 1.0))

    gradient = jax.grad(kl)(np.array([0.3, scale_parameter], "float32"))
    assert np.isfinite(gradient).all()
