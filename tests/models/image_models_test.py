"""Encoder and decoder of images: exactly the dependencies of the paper."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from deltavae_tf.distributions import ar1
from deltavae_tf.layers import transformer_block
from deltavae_tf.models import image_decoder, image_encoder
from deltavae_tf.sampling import images
from tests import testing

H, W, LEVELS = 4, 5, 17


def make_encoder(**kwargs):
    encoder = image_encoder.ImageEncoder(
        3, 2, 8, 16, num_heads=2, num_levels=LEVELS, **kwargs
    )
    encoder(np.zeros((1, H, W, 1), np.uint8))
    testing.randomize(encoder)
    return encoder


def make_decoder(channels=1, **kwargs):
    arguments = {"num_attention": 2, "num_heads": 2, "num_mixtures": 2, **kwargs}
    keras.utils.set_random_seed(0)
    decoder = image_decoder.ImageDecoder(2, 8, 16, num_levels=LEVELS, **arguments)
    z = np.random.default_rng(1).normal(size=(2, H, 3)).astype("float32")
    z = z if decoder.use_latents else None
    x = np.random.default_rng(0).integers(0, LEVELS, (2, H, W, channels), "uint8")
    decoder(z, x)
    testing.randomize(decoder)
    return decoder, z, x


@pytest.mark.parametrize("num_attention", [0, 2])
def test_anti_causal_encoder_sees_exactly_its_rows_and_those_below(num_attention):
    encoder = make_encoder(num_attention=num_attention)
    for part in (0, 1):  # loc, scale
        found = testing.dependencies(
            lambda x, part=part: encoder(x)[part], (H, W, 1), LEVELS
        )
        found = found.reshape(H, H, W)
        rows = np.triu(np.ones((H, H), bool))
        np.testing.assert_array_equal(found, np.repeat(rows[..., None], W, axis=2))


def test_non_causal_encoder_sees_everything():
    encoder = make_encoder(num_attention=2, anti_causal=False)
    assert testing.dependencies(lambda x: encoder(x)[0], (H, W, 1), LEVELS).all()


@pytest.mark.parametrize("anti_causal", [True, False])
def test_latents_know_a_column_by_the_position_signal(anti_causal):
    image = np.zeros((2, 3, 24, 1), np.uint8)
    image[0, :, 11:13] = image[1, :, 12:14] = LEVELS - 1  # Far from the border.
    for told in (False, True):
        encoder = image_encoder.ImageEncoder(
            3, 2, 8, 16, anti_causal=anti_causal,
            num_levels=LEVELS, position_signal=told,
        )  # fmt: skip
        encoder(image)
        testing.randomize(encoder)
        first, second = ops.convert_to_numpy(encoder(image)[0])
        assert np.allclose(first, second, atol=1e-5) == (not told)


@pytest.mark.parametrize("anti_causal", [True, False])
def test_training_starts_near_the_committed_rate(anti_causal):
    prior = ar1.AR1(np.linspace(0.5, 0.95, 3), H)
    encoder = image_encoder.ImageEncoder(
        3, 2, 8, 16, anti_causal=anti_causal, initial_scale=prior.optimal_scale()
    )
    x = np.random.default_rng(0).integers(0, 256, (2, H, W, 3), "uint8")
    loc, scale = encoder(x)
    at_zero = prior.kl_from_normal(ops.zeros_like(loc), scale)
    np.testing.assert_allclose(at_zero, prior.committed_rate(), rtol=1e-5)
    assert 0 < np.abs(loc).max() < 0.5


def output_dependencies(decoder, z):
    def function(x):
        rows = np.repeat(z[:1], len(x), axis=0) if z is not None else None
        outputs = decoder(rows, x)
        parts = [outputs.logits[..., None, :], outputs.loc, outputs.log_scale]
        return ops.reshape(ops.concatenate(parts, axis=-2), (len(x), H * W, -1))

    return testing.dependencies(function, decoder.image_shape, LEVELS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("use_latents", [True, False])
def test_decoder_sees_exactly_the_strict_raster_past(channels, use_latents):
    decoder, z, _ = make_decoder(channels, use_latents=use_latents)
    strict_past = np.tril(np.ones((H * W, H * W), bool), k=-1)
    np.testing.assert_array_equal(output_dependencies(decoder, z), strict_past)


@pytest.mark.parametrize("num_attention", [0, 2])
@pytest.mark.parametrize("causal_latents", [True, False])
def test_decoder_sees_exactly_the_latents_up_to_its_row(causal_latents, num_attention):
    decoder, z, x = make_decoder(
        causal_latents=causal_latents, num_attention=num_attention
    )
    before = ops.convert_to_numpy(decoder(z, x).loc)
    for j in range(H):
        moved = z.copy()
        moved[:, j] += 1.0
        seen = (ops.convert_to_numpy(decoder(moved, x).loc) != before).any((0, 3, 4))
        rows = np.arange(H) >= j if causal_latents else np.ones(H, bool)
        np.testing.assert_array_equal(seen, np.repeat(rows[:, None], W, axis=1))


@pytest.mark.parametrize(
    "channels, use_latents, num_attention, temperature, told",
    [(1, True, 2, 1.0, False), (3, True, 0, 0.7, True), (3, False, 2, 1.0, True)],
)
def test_cached_samples_equal_naive_samples(
    channels, use_latents, num_attention, temperature, told, monkeypatch
):
    monkeypatch.setattr(transformer_block, "ROWS_PER_BLOCK", 3)  # Blocks of 3 and 1.
    decoder, z, _ = make_decoder(
        channels,
        use_latents=use_latents,
        num_attention=num_attention,
        position_signal=told,
    )
    keys = testing.keys(2)
    naive = images.naive_sample(decoder, z, keys, temperature)
    for jit_compile in (False, True):
        sampler = tf.function(decoder.sample, jit_compile=jit_compile)
        np.testing.assert_array_equal(sampler(z, keys, temperature), naive)
    assert len(np.unique(naive)) > 5


def test_completions_equal_naive_completions():
    decoder, z, x = make_decoder(3)
    num_given = [0, 13]
    keys = testing.keys(2)
    sampler = tf.function(decoder.sample, jit_compile=True)
    found = sampler(z, keys, 1.0, x, tf.constant(num_given)).numpy()
    naive = images.naive_sample(decoder, z, keys, 1.0, x, num_given)
    np.testing.assert_array_equal(found, naive)
    kept = np.arange(H * W) < np.broadcast_to(num_given, (2,))[:, None]
    same = (found == x).all(-1).reshape(2, H * W)
    assert same[kept].all() and not same[~kept].any()
    # What is not given has no influence.
    x[:, -1] = 0
    np.testing.assert_array_equal(sampler(z, keys, 1.0, x, num_given), naive)


def test_dropout_acts_in_training_only_and_follows_the_keys():
    decoder, z, x = make_decoder(dropout_rate=0.5)
    log_prob = decoder(z, x).log_prob(x)
    np.testing.assert_array_equal(log_prob, decoder(z, x).log_prob(x))
    one = decoder(z, x, keys=testing.keys(2, seed=0)).log_prob(x)
    again = decoder(z, x, keys=testing.keys(2, seed=0)).log_prob(x)
    other = decoder(z, x, keys=testing.keys(2, seed=1)).log_prob(x)
    np.testing.assert_array_equal(one, again)
    assert (ops.convert_to_numpy(one) != ops.convert_to_numpy(other)).all()
    assert (ops.convert_to_numpy(one) != ops.convert_to_numpy(log_prob)).all()


def test_dropout_reaches_every_layer():
    decoder, _, _ = make_decoder(dropout_rate=0.5)
    found = {"Dropout": [], "MultiHeadAttention": []}
    for layer in decoder._flatten_layers():
        found.get(type(layer).__name__, []).append(layer)
    # Each gated layer has one, each block one, and two attentions with their own.
    assert [x.rate for x in found["Dropout"]] == [0.5] * (2 + 2)
    assert [x.dropout_rate for x in found["MultiHeadAttention"]] == [0.5] * (2 * 2)


def test_wrong_number_of_latents_is_refused():
    decoder, _, x = make_decoder()
    other = image_decoder.ImageDecoder(1, 8, 16, num_heads=2)
    with pytest.raises(ValueError, match="one latent for each image row"):
        other(np.zeros((2, H + 1, 3), "float32"), x)


def test_two_channels_are_refused():
    decoder = image_decoder.ImageDecoder(1, 8, 16, use_latents=False)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        decoder(None, np.zeros((2, H, W, 2), "uint8"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_images_are_refused(dtype):
    with pytest.raises(ValueError, match="integers.*Received: float"):
        make_encoder()(np.zeros((2, H, W, 1), dtype))


@pytest.mark.parametrize("shape", [(2, H, W + 1, 1), (2, H, W, 3)])
def test_images_of_another_shape_are_refused(shape):
    decoder, z, _ = make_decoder()
    for call in (make_encoder(), lambda x: decoder(z, x)):
        with pytest.raises(ValueError, match=r"\[B, 4, 5, 1\].*Received: uint8"):
            call(np.zeros(shape, "uint8"))


def test_images_without_channels_are_refused():
    with pytest.raises(ValueError, match=r"\[B, H, W, C\].*Received: \[2, 4, 5\]"):
        image_encoder.ImageEncoder(3, 2, 8, 16)(np.zeros((2, H, W), "uint8"))


@pytest.mark.parametrize("cls", ["encoder", "decoder"])
def test_config_round_trip(cls):
    layer = make_encoder() if cls == "encoder" else make_decoder()[0]
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
