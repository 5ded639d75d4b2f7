"""Helpers of several tests."""

import socket

import keras
import numpy as np
from keras import ops

from deltavae_tf import noise


def keys(count, seed=0):
    """uint32 `[count, 2]`, one key for each example."""
    return noise.fold(noise.make_key(seed), ops.arange(count))


def randomize(layer, seed=0, scale=0.3):
    """Gives every weight a random value, so that no zero start hides a path."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        if "float" in variable.dtype:
            noise_ = rng.normal(size=variable.shape, scale=scale)
            variable.assign(ops.convert_to_numpy(variable) + noise_)


def dependencies(function, image_shape, num_levels=256, seed=0):
    """Which outputs move when a pixel does, for all pairs: bool `[out, H * W]`.

    Args:
      function: uint8 `[B, H, W, C]` -> array `[B, out, ...]`.
      image_shape: (H, W, C).
      num_levels: int.
      seed: int.
    """
    height, width, _ = image_shape
    rng = np.random.default_rng(seed)
    base = np.repeat(rng.integers(0, num_levels, image_shape)[None], height * width, 0)
    moved = base.copy()
    for i in range(height * width):
        pixel = moved[i, i // width, i % width]
        moved[i, i // width, i % width] = (pixel + num_levels // 2) % num_levels
    # Both go through one shape of computation: compared with another place in a
    # batch, the last bit can differ although nothing moved.
    before, after = (np.asarray(function(x.astype(np.uint8))) for x in (base, moved))
    shape = (*before.shape[:2], -1)
    return (before.reshape(shape) != after.reshape(shape)).any(axis=-1).T


def tolerance(layer):
    """Absolute tolerance for comparing two ways to compute a layer's outputs."""
    policy = keras.dtype_policies.get(layer.dtype_policy)
    return 2e-5 if policy.compute_dtype == "float32" else 0.1


def free_ports(count):
    """Ports of this machine that nobody listens at, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("localhost", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
