"""Text from a model: interpolations, completions (the paper's Figures 12 to 14)."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from keras import ops

from deltavae_tf import errors, segments
from deltavae_tf.backend import Tensor
from deltavae_tf.models import token_sampling
from deltavae_tf.models.text_vae import TextVAE


def sample(
    model: TextVAE,
    count: int,
    prior: str = "auxiliary",
    temperature: float = 1.0,
    seed: Any = 0,
    batch_size: int = 64,
    length: int | None = None,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Iterator[np.ndarray]:
    """Samples any number of sentences in batches of one compiled size.

    Args:
      model: `TextVAE`.
      count: int, how many sentences.
      prior: "auxiliary" or "training".
      temperature: float > 0.
      seed: int; sentence i of a seed is the same whatever `count` and `batch_size`.
      batch_size: int, sentences in one run of the compiled loop.
      length: int, the most tokens; by default the model's `max_length`.
      top_k: int, see `TextVAE.sample`.
      top_p: float, likewise.

    Yields:
      int32 `[b, length]`, b <= batch_size, in order.
    """
    if not count >= 1:
        raise errors.UserError(f"`count` must be at least 1. Received: {count}")
    batch_size = min(batch_size, count)
    for first in range(0, count, batch_size):
        tokens = model.sample(
            batch_size, prior, temperature, seed, first, length, top_k, top_p
        )
        yield ops.convert_to_numpy(tokens)[: count - first]


def interpolated_latents(
    model: TextVAE,
    channel: int,
    prior: str = "auxiliary",
    steps: int = 9,
    seed: Any = 0,
    first: int = 0,
    length: int | None = None,
) -> np.ndarray:
    """One latent path, one of whose dimensions takes values in order (Figures 12, 13).

    A path is drawn from the prior; then dimension `channel` is set, at every token, to
    each of `steps` values from mu - 3 sigma to mu + 3 sigma of that prior, and the
    other dimensions stay.

    Args:
      model: `TextVAE`.
      channel: int, in [0, d).
      prior: "training" (Figure 12) or "auxiliary" (Figure 13).
      steps: int >= 2.
      seed: int.
      first: int, the number of the path.
      length: int, time steps; by default the model's `max_length`.

    Returns:
      float32 numpy `[steps, length, d]`.
    """
    if steps < 2:
        raise errors.UserError(f"`steps` must be at least 2. Received: {steps}")
    path = model.sample_latents(1, prior, 1.0, seed, first, length)
    z = np.repeat(ops.convert_to_numpy(path), steps, axis=0)
    if not 0 <= channel < z.shape[-1]:
        raise errors.UserError(
            f"`channel` must be in [0, {z.shape[-1]}). Received: {channel}"
        )
    moments = model.latent_moments(prior)
    mean, deviation = (ops.convert_to_numpy(x)[channel] for x in moments)
    values = mean + deviation * np.linspace(-3, 3, steps)
    z[..., channel] = values[:, None]
    return z


def latents_between(
    model: TextVAE,
    prior: str = "auxiliary",
    steps: int = 9,
    seed: Any = 0,
    first: int = 0,
    length: int | None = None,
) -> np.ndarray:
    """Paths on the line between two samples of the prior: float32 `[steps, length, d]`.

    Args: as `interpolated_latents`.
    """
    if steps < 2:
        raise errors.UserError(f"`steps` must be at least 2. Received: {steps}")
    ends = model.sample_latents(2, prior, 1.0, seed, 2 * first, length)
    start, end = ops.convert_to_numpy(ends)
    weight = np.linspace(0, 1, steps, dtype=np.float32)[:, None, None]
    return (1 - weight) * start + weight * end


def decode(
    model: TextVAE,
    z: np.ndarray,
    temperature: float = 1.0,
    seed: Any = 0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> np.ndarray:
    """Decodes paths with the same noise, so that z alone makes them differ.

    Args:
      model: `TextVAE`.
      z: float `[n, L, d]`.
      temperature: float > 0.
      seed: int.
      top_k: int, see `TextVAE.sample`.
      top_p: float, likewise.

    Returns:
      int32 numpy `[n, L]`.
    """
    n = len(z)
    same = np.zeros(n, np.int32)
    tokens = model.sample_data(z, n, temperature, seed, same, top_k=top_k, top_p=top_p)
    return ops.convert_to_numpy(tokens)


def complete(
    model: TextVAE,
    prefix: Any,
    prior: str = "auxiliary",
    steps: int = 9,
    temperature: float = 1.0,
    seed: Any = 0,
    first: int = 0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> np.ndarray:
    """Completions of a prefix, with z on the line between two samples (Figure 14).

    The latent-free model has no line to walk: its completions differ by their noise.

    Args:
      model: `TextVAE`.
      prefix: int `[P]`, tokens, without EOS.
      prior: "auxiliary" or "training".
      steps: int, how many completions.
      temperature: float > 0.
      seed: int.
      first: int, the number of the pair of samples.
      top_k: int, see `TextVAE.sample`.
      top_p: float, likewise.

    Returns:
      int32 numpy `[steps, max_length]`, each starting with the prefix.
    """
    prefix, length = np.asarray(prefix), model.max_length
    if len(prefix) >= length or segments.EOS in prefix or segments.PAD in prefix:
        raise errors.UserError(
            f"`prefix` must be fewer than {length} tokens, none of them PAD or EOS. "
            f"Received: {len(prefix)} tokens"
        )
    given = np.zeros((steps, length), np.int32)
    given[:, : len(prefix)] = prefix
    z, numbers = None, np.arange(steps, dtype=np.int32) + first * steps
    if model.encoder is not None:
        z = latents_between(model, prior, steps, seed, first)
        numbers = np.zeros(steps, np.int32) + first
    tokens = model.sample_data(
        z,
        steps,
        temperature,
        seed,
        numbers,
        given=given,
        num_given=len(prefix),
        length=length,
        top_k=top_k,
        top_p=top_p,
    )
    return ops.convert_to_numpy(tokens)


def naive_sample(
    z: Tensor | None, uniforms: Tensor, forward: Callable[[Any, Any], Tensor]
) -> np.ndarray:
    """What `TextDecoder.sample_from_uniforms` computes, recomputing the prefix.

    The oracle of the cached sampler and the peer of its benchmark.

    Args:
      z: float `[B, L, d]`, or None for the baseline.
      uniforms: float32 `[B, L]`.
      forward: (z, tokens int32 `[B, L]`) -> logits float32 `[B, L, V]`:
        `TextDecoder.logits` with one segment a row, compiled.

    Returns:
      int32 numpy `[B, L]`.
    """
    tokens = np.full(uniforms.shape, 2, np.int32)
    ended = np.zeros(len(tokens), bool)
    found = np.zeros(uniforms.shape, np.int32)
    for t in range(tokens.shape[1]):
        logits = ops.convert_to_numpy(forward(z, tokens))[:, t]
        drawn = ops.convert_to_numpy(token_sampling.draw(logits, uniforms[:, t]))
        tokens[:, t] = drawn
        found[:, t] = np.where(ended, segments.PAD, drawn)
        ended |= drawn == segments.EOS
    return found
