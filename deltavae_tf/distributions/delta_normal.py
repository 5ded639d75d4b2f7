"""The independent delta-VAE: a normal that keeps its distance from N(0, 1)."""

import math
import numbers
from typing import Any

import numpy as np
from keras import ops
from scipy import optimize

from deltavae_tf import backend, errors
from deltavae_tf.backend import tfd, tfp

# Where s_l is smaller (rates above 34 nats), `scale` keeps to the part of the interval
# that float32 can take logarithms and gradients of.
_MIN_SCALE = 1e-15


def scale_interval(rate: float) -> tuple[float, float]:
    """The scales s at which KL(N(0, s^2) || N(0, 1)) is at most `rate`.

    Its ends are the two roots of ln s^2 - s^2 + 2 rate + 1 = 0; between them the mean
    has to make up for what the scale leaves.

    Args:
      rate: float > 0, nats.

    Returns:
      (s_l, s_u), floats with s_l < 1 < s_u; s_l is 0 where the root has no float64.
    """
    if not isinstance(rate, numbers.Real) or not 0 < rate < math.inf:
        raise errors.UserError(
            f"`rate` must be a positive, finite number of nats. Received: {rate}"
        )

    def excess(t):  # t = ln s^2
        return math.expm1(t) - t - 2 * rate

    options = {"xtol": 1e-300, "rtol": 4 * np.finfo(np.float64).eps}
    low = optimize.brentq(excess, -2 * rate - 1, 0, **options)
    high = optimize.brentq(excess, 0, math.log(4 * rate + 4), **options)
    return math.exp(low / 2), math.exp(high / 2)


class DeltaNormal(tfd.Normal):
    """N(loc, scale) with KL(N(loc, scale) || N(0, 1)) >= `rate`, whatever the inputs.

        scale = s_l + (s_u - s_l) sigmoid(scale_parameter)
        loc = sqrt(max(0, 2 rate + 1 + ln scale^2 - scale^2)) + max(0, loc_parameter)

    with [s_l, s_u] = `scale_interval(rate)`. The KL is `rate` for every
    `scale_parameter` as long as `loc_parameter` is not positive. In float32 it falls
    short of `rate` by at most 1e-6 (1 + rate).

    The square root is ours: Eq. 6 prints none, but Eq. 4 needs it. Without it the KL
    goes down to 2 rate^2 or rate - 1/8, always below `rate`.

    Everything is float32, with the broadcast shape of the two parameters as its batch
    shape, like any `tfd.Normal`.

    Args:
      loc_parameter: float `[...]`, unconstrained.
      scale_parameter: float `[...]`, unconstrained.
      rate: static float > 0, delta: nats per latent.
      name: str.

    References:
      delta-VAE, appendix D.
    """

    def __init__(
        self,
        loc_parameter: backend.Tensor,
        scale_parameter: backend.Tensor,
        rate: float,
        name: str = "DeltaNormal",
    ) -> None:
        self._rate = rate
        self._interval = scale_interval(rate)
        self._loc_parameter = ops.cast(ops.convert_to_tensor(loc_parameter), "float32")
        self._scale_parameter = ops.cast(
            ops.convert_to_tensor(scale_parameter), "float32"
        )
        low, high = max(self._interval[0], _MIN_SCALE), self._interval[1]
        scale = low + (high - low) * ops.sigmoid(self._scale_parameter)
        left = 2 * rate + 1 + 2 * ops.log(scale) - ops.square(scale)
        # The root's gradient is infinite at the ends, where `left` is rounding noise.
        positive = left > 0
        root = ops.sqrt(ops.where(positive, left, 1.0))
        loc = ops.where(positive, root, 0.0) + ops.relu(self._loc_parameter)
        super().__init__(loc, scale, name=name)
        self._parameters = {
            "loc_parameter": loc_parameter,
            "scale_parameter": scale_parameter,
            "rate": rate,
            "name": name,
        }

    @classmethod
    def _parameter_properties(
        cls, dtype: Any, num_classes: int | None = None
    ) -> dict[str, Any]:
        properties = tfp.util.ParameterProperties
        return {"loc_parameter": properties(), "scale_parameter": properties()}

    def _batch_shape_tensor(self, **_):
        # `tfd.Normal` passes `loc` and `scale` when it samples, and TFP would warn that
        # those are not this class's parameters.
        return super()._batch_shape_tensor()

    @property
    def rate(self) -> float:
        """delta, the smallest KL from N(0, 1): a float, nats per latent."""
        return self._rate

    def scale_interval(self) -> tuple[float, float]:
        """(s_l, s_u), floats: between these `scale` lies."""
        return self._interval
