"""How much of the latents a model uses: active units and mutual information."""

import numpy as np

from deltavae_tf.errors import UserError

_LOG_2PI = np.log(2 * np.pi)
_BLOCK = 512


def active_units(loc: np.ndarray, threshold: float = 0.01) -> tuple[int, int]:
    """How many latents move with the data: Var_x E_q[z | x] >= threshold.

    Args:
      loc: `[N, ...]`, posterior means of N examples.
      threshold: float.

    Returns:
      int active units, int units in all.

    Reference: Burda et al., "Importance weighted autoencoders" (2016), section 5.2.
    """
    loc = np.asarray(loc, np.float64)
    if len(loc) < 2:
        raise UserError(f"Active units need at least 2 examples. Received: {len(loc)}")
    variance = loc.reshape(len(loc), -1).var(axis=0)
    return int((variance >= threshold).sum()), len(variance)


def mutual_information(
    loc: np.ndarray, scale: np.ndarray, seed: int = 0
) -> tuple[float, float]:
    """I(x; z) under q(z | x) and the N examples, each as likely.

    One z for each example: mean of ln q(z | x) - ln (1/N sum_j q(z | x_j)). It cannot
    exceed ln N, whatever the model, so look at `ln N` beside it.

    Args:
      loc: `[N, ...]`, posterior means.
      scale: `[N, ...]`, posterior deviations.
      seed: int, of the z.

    Returns:
      float, nats; float, ln N.

    Reference: Hoffman and Johnson, "ELBO surgery" (2016); Dieng et al. (2019).
    """
    count = len(loc)
    loc = np.asarray(loc, np.float64).reshape(count, -1)
    scale = np.asarray(scale, np.float64).reshape(count, -1)
    z = loc + scale * np.random.default_rng(seed).normal(size=loc.shape)
    # ln q(z_i | x_j) for all pairs, the square written out as products of matrices.
    precision = scale**-2
    constant = -0.5 * (
        np.sum(loc**2 * precision + 2 * np.log(scale), axis=1) + loc.shape[1] * _LOG_2PI
    )
    total = 0.0
    for start in range(0, count, _BLOCK):
        part = z[start : start + _BLOCK]
        pairs = part @ (loc * precision).T - 0.5 * part**2 @ precision.T + constant
        own = pairs[np.arange(len(part)), start + np.arange(len(part))]
        highest = pairs.max(axis=1)
        marginal = highest + np.log(np.exp(pairs - highest[:, None]).mean(axis=1))
        total += np.sum(own - marginal)
    return float(total / count), float(np.log(count))
