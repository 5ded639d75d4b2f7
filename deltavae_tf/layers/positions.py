"""Fixed sinusoidal position signals, as numpy constants."""

import numpy as np


def sinusoid(
    length: int, channels: int, max_wavelength: float = 10_000.0
) -> np.ndarray:
    """Sinusoids of geometrically spaced wavelengths: float32 `[length, channels]`.

    The first half of the channels are sines, the second cosines, as in Tensor2Tensor.
    An odd last channel is 0.

    Reference: Vaswani et al., "Attention is all you need" (2017), section 3.5.
    """
    half = channels // 2
    exponent = np.arange(half) / max(half - 1, 1)
    angles = np.arange(length)[:, None] * max_wavelength ** -exponent[None]
    signal = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    return np.pad(signal, ((0, 0), (0, channels - 2 * half))).astype(np.float32)


def row_signal(height: int, channels: int) -> np.ndarray:
    """The row's share of `pixel_signal`: float32 `[height, channels]`."""
    half = channels // 2
    return np.pad(sinusoid(height, half), ((0, 0), (0, channels - half)))


def pixel_signal(height: int, width: int, channels: int) -> np.ndarray:
    """Row in the first half of the channels, column in the second.

    Returns:
      float32 `[height, width, channels]`.
    """
    rows = row_signal(height, channels)[:, None]
    half = channels // 2
    columns = np.pad(sinusoid(width, channels - half), ((0, 0), (half, 0)))[None]
    return rows + columns
