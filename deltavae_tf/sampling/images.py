"""Samples of images: in batches through the cache, and naively as its oracle."""

import numpy as np
from keras import ops
from PIL import Image

from deltavae_tf import noise
from deltavae_tf.layers import gated_stack
from deltavae_tf.models import delta_vae


def naive_sample(decoder, z, keys, temperature=1.0):
    """What `ImageDecoder.sample` computes, by one whole forward pass per pixel.

    The oracle of the cached sampler and the peer of its benchmark. Args and returns:
    as `ImageDecoder.sample`.
    """
    height, width, channels = decoder.image_shape
    x = np.zeros((keys.shape[0], *decoder.image_shape), np.int32)
    uniforms = noise.uniform(keys, (height * width, 1 + channels))
    uniforms = ops.reshape(uniforms, (-1, height, width, 1 + channels))
    for row in range(height):
        for column in range(width):
            drawn = decoder(z, x).sample_from_uniforms(
                uniforms[..., 0], uniforms[..., 1:], temperature
            )
            x[:, row, column] = ops.convert_to_numpy(drawn)[:, row, column]
    return x
