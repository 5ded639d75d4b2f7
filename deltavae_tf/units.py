"""Conversions between information units. Every rate in this library is in nats."""

import math
from typing import TypeVar

import numpy as np

Quantity = TypeVar("Quantity", float, np.ndarray)

NATS_PER_BIT = math.log(2.0)


def bits(nats: Quantity) -> Quantity:
    """Converts nats to bits."""
    return nats / NATS_PER_BIT


def nats(bits: Quantity) -> Quantity:
    """Converts bits to nats."""
    return bits * NATS_PER_BIT


def bits_per_dim(nats_per_example: Quantity, num_dims: int) -> Quantity:
    """Converts nats per example to bits per dimension.

    Args:
      nats_per_example: float or array, nats.
      num_dims: int, every predicted scalar counts: 32 * 32 * 3 for CIFAR-10.

    Returns:
      Bits per dimension, of the shape of `nats_per_example`.
    """
    return nats_per_example / (num_dims * NATS_PER_BIT)


def nats_from_bits_per_dim(bits_per_dim: Quantity, num_dims: int) -> Quantity:
    """The inverse of `bits_per_dim`: nats per example."""
    return bits_per_dim * num_dims * NATS_PER_BIT
