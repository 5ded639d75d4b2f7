"""Discretized mixture of logistics over integer images (PixelCNN++)."""

import numbers
from typing import Any, Self

import numpy as np
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.distributions import checks

MIN_LOG_SCALE = -7.0  # PixelCNN++.
MAX_LOG_SCALE = 20.0  # Ours: all mass is in the two edge bins long before.


class DiscretizedLogisticMixture(backend.tfd.Distribution):
    """p(x) over images of integers, each pixel a mixture of K logistics.

    With `L = num_levels`, `v = 2 x / (L - 1) - 1` in [-1, 1] and half a bin
    `h = 1 / (L - 1)`, a sub-pixel has under component k the mass

        p(x | k) = sigmoid((v - m + h) / s) - sigmoid((v - m - h) / s)

    of a logistic with mean m and scale s; the lowest and the highest bin reach to
    infinity, so the L masses sum to 1. One component serves all channels of a pixel:

        log p(pixel) = logsumexp_k [ log softmax(logits)_k + sum_c log p(x_c | k) ]

    With three channels the means depend on the true sub-pixels before them:

        m_1 = loc_1 + tanh(c_0) v_0,   m_2 = loc_2 + tanh(c_1) v_0 + tanh(c_2) v_1

    `log_scale` is clipped to [-7, 20]: the floor is PixelCNN++'s, the ceiling ours (a
    scale at which every inner bin has less mass than 1e-9). Outside, the gradient to
    `log_scale` is zero. All densities are float32 and in nats, whatever the dtype of
    the parameters. The value may have any integer or float dtype that holds integers
    in [0, L - 1]; of any other value the log-probability is -inf, and with
    `validate_args` it is an error. A value whose last three dimensions are not the
    event's is refused.

    Shapes:
      batch: the leading dimensions `[...]`; event: `[H, W, C]`.

    Args:
      logits: float `[..., H, W, K]`, unnormalized log mixture weights.
      loc: float `[..., H, W, C, K]`, means in units of v.
      log_scale: float `[..., H, W, C, K]`, logarithm of s in units of v.
      coefficients: float `[..., H, W, 3, K]` before tanh if C is 3, `None` if C is 1.
      num_levels: int, L.
      validate_args: bool, raise where a value is not an integer in [0, L - 1]. Looks
        at concrete values only, never inside a compiled function.
      name: str.

    References:
      Salimans et al., "PixelCNN++", ICLR 2017, section 2; delta-VAE, section 4.1.
    """

    def __init__(
        self,
        logits: backend.Tensor,
        loc: backend.Tensor,
        log_scale: backend.Tensor,
        coefficients: backend.Tensor | None = None,
        num_levels: int = 256,
        validate_args: bool = False,
        name: str = "DiscretizedLogisticMixture",
    ) -> None:
        parameters = dict(locals())
        if not isinstance(num_levels, numbers.Integral) or num_levels < 2:
            raise errors.UserError(
                f"`num_levels` must be an integer of at least 2. Received: {num_levels}"
            )
        self.num_levels: int = int(num_levels)
        self.logits: backend.Tensor = _float32(logits)
        self.loc: backend.Tensor = _float32(loc)
        self.log_scale: backend.Tensor = _float32(log_scale)
        self.coefficients: backend.Tensor | None = (
            None if coefficients is None else _float32(coefficients)
        )
        self._check_shapes()
        super().__init__(
            dtype="int32",
            reparameterization_type=backend.tfd.NOT_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def from_parameters(
        cls,
        parameters: backend.Tensor,
        num_channels: int,
        num_levels: int = 256,
        **kwargs: Any,
    ) -> Self:
        """The distribution whose parameters a network gives along one axis.

        Args:
          parameters: float `[..., H, W, num_parameters(K, num_channels)]`, in the
            order logits, loc, log_scale, coefficients; K follows from the size.
          num_channels: int, C: 1 or 3.
          num_levels: int, L.
          **kwargs: `validate_args`, `name`.
        """
        parameters = _float32(parameters)
        size = parameters.shape[-1]
        per_component = cls.num_parameters(1, num_channels)
        num_components, rest = divmod(size, per_component)
        if rest or not num_components:
            raise errors.UserError(
                "The last axis of `parameters` must be a positive multiple of "
                f"{per_component} for {num_channels} channels. Received: "
                f"{size} in shape {tuple(parameters.shape)}"
            )
        each = num_channels * num_components
        ends = np.cumsum([num_components, each, each])
        logits, *blocks = ops.split(
            parameters, ends if num_channels == 3 else ends[:2], -1
        )
        shape = (*ops.shape(parameters)[:-1], num_channels, num_components)
        names = ("loc", "log_scale", "coefficients")[: len(blocks)]
        given = {
            name: ops.reshape(block, shape)
            for name, block in zip(names, blocks, strict=True)
        }
        return cls(logits, **given, num_levels=num_levels, **kwargs)

    @staticmethod
    def num_parameters(num_components: int, num_channels: int) -> int:
        """How many numbers a pixel needs: K (1 + 2 C + 3 [C == 3])."""
        if num_channels not in (1, 3):
            raise errors.UserError(
                f"`num_channels` must be 1 or 3. Received: {num_channels}"
            )
        return num_components * (1 + 2 * num_channels + 3 * (num_channels == 3))

    @classmethod
    def _parameter_properties(
        cls, dtype: Any, num_classes: int | None = None
    ) -> dict[str, Any]:
        properties = backend.tfp.util.ParameterProperties
        return {
            "logits": properties(event_ndims=3),
            "loc": properties(event_ndims=4),
            "log_scale": properties(event_ndims=4),
            "coefficients": properties(event_ndims=4),
        }

    def _check_shapes(self):
        logits, loc = tuple(self.logits.shape), tuple(self.loc.shape)
        log_scale = tuple(self.log_scale.shape)
        received = f"logits {logits}, loc {loc}, log_scale {log_scale}"
        if self.coefficients is not None:
            received += f", coefficients {tuple(self.coefficients.shape)}"
        if len(loc) < 4 or loc != log_scale or (*loc[:-2], loc[-1]) != logits:
            raise errors.UserError(
                "`logits` must be [..., H, W, K], `loc` and `log_scale` "
                f"[..., H, W, C, K]. Received: {received}"
            )
        if loc[-2] not in (1, 3):
            raise errors.UserError(
                f"Images must have 1 or 3 channels. Received: {loc[-2]} in {received}"
            )
        expected = (*loc[:-2], 3, loc[-1]) if loc[-2] == 3 else None
        found = self.coefficients
        if (None if found is None else tuple(found.shape)) != expected:
            raise errors.UserError(
                "`coefficients` must be [..., H, W, 3, K] for 3 channels and None for "
                f"1. Received: {received}"
            )

    def _event_shape(self):
        return type(self.batch_shape)(list(self.loc.shape[-4:-1]))

    def _event_shape_tensor(self):
        return ops.convert_to_tensor(ops.shape(self.loc)[-4:-1], "int32")

    @property
    def _half_range(self):
        """(L - 1) / 2: pixels are half_range times a unit of v."""
        return (self.num_levels - 1) / 2

    def log_prob(self, value: backend.Tensor, name: str = "log_prob") -> backend.Tensor:
        """log p(value) in nats.

        Args:
          value: integers `[..., H, W, C]` in [0, num_levels - 1], of any dtype.
          name: str.

        Returns:
          float32 `[...]`, nats.
        """
        # TFP would cut a float array down to this distribution's int32.
        return super().log_prob(ops.convert_to_tensor(value), name=name)

    def _log_prob(self, value):
        return ops.sum(self.log_prob_per_pixel(value), axis=(-2, -1))

    def log_prob_per_pixel(self, value: backend.Tensor) -> backend.Tensor:
        """log p of each pixel given those it was conditioned on.

        Args:
          value: integers `[..., H, W, C]` in [0, num_levels - 1], of any dtype.

        Returns:
          float32 `[..., H, W]`, nats.
        """
        checks.check_event("value", value, tuple(self.loc.shape[-4:-1]))
        value = _float32(value)
        highest = self.num_levels - 1
        good = checks.is_integer_in(value, 0, highest)
        if self.validate_args:
            message = f"Values must be integers in [0, {highest}]."
            checks.require(good, value, message)
        # In units of half a bin everything is exact: neighboring bins meet in the same
        # float, and the masses sum to 1 to float32 precision.
        log_scale = ops.clip(self.log_scale, MIN_LOG_SCALE, MAX_LOG_SCALE)
        width = ops.exp(-log_scale) / self._half_range  # 2 h / s
        centered = ops.expand_dims(value - self._half_range, -1)
        z = (centered - self._means(centered)) * width
        log_mass = self._log_mass(z, width, ops.expand_dims(value, -1))
        log_weight = ops.log_softmax(self.logits, axis=-1)
        nats = ops.logsumexp(log_weight + ops.sum(log_mass, axis=-2), axis=-1)
        return ops.where(ops.all(good, axis=-1), nats, -np.inf)

    def _log_mass(self, z, width, value):
        """log(sigmoid(z + width / 2) - sigmoid(z - width / 2)) with open edges.

        The difference is sigmoid(a) sigmoid(-b) (1 - exp(b - a)), and a - b = `width`
        does not depend on z, so nothing cancels however far z is.
        """
        below_top = ops.cast(value < self.num_levels - 1, "float32")
        above_bottom = ops.cast(value > 0, "float32")
        return (
            ops.log(-ops.expm1(-width)) * (below_top * above_bottom)
            - ops.softplus(-(z + 0.5 * width)) * below_top
            - ops.softplus(z - 0.5 * width) * above_bottom
        )

    def _means(self, centered):
        """Means `[..., C, K]` in pixels from the middle, given `[..., C, 1]`."""
        loc = self.loc * self._half_range
        if self.coefficients is None:
            return loc
        # Not by slices: their gradient on TensorFlow is many times slower.
        weights = ops.unstack(ops.tanh(self.coefficients), 3, axis=-2)
        red, green = centered[..., 0, :], centered[..., 1, :]
        shift = [
            ops.zeros_like(weights[0]) * red,
            weights[0] * red,
            weights[1] * red + weights[2] * green,
        ]
        return loc + ops.stack(shift, axis=-2)

    def _sample_n(self, n, seed=None):
        seeds = backend.tfp.random.split_seed(seed, n=2, salt="mixture_logistic")
        uniform = backend.tfd.Uniform(np.float32(0), np.float32(1))
        shape = (n, *ops.shape(self.loc)[:-1])
        return self.sample_from_uniforms(
            uniform.sample(shape[:-1], seed=seeds[0]),
            uniform.sample(shape, seed=seeds[1]),
        )

    def sample_from_uniforms(
        self,
        component_uniform: backend.Tensor,
        channel_uniforms: backend.Tensor,
        temperature: float | backend.Tensor = 1.0,
    ) -> backend.Tensor:
        """The image that given random numbers stand for: exact, and a pure function.

        The component is the inverse CDF of the mixture weights; each channel in turn
        is the inverse CDF of its logistic, rounded to its bin, given the rounded
        sub-pixels before it. The uniforms may have more leading dimensions than the
        parameters (samples).

        Args:
          component_uniform: float `[..., H, W]` in [0, 1).
          channel_uniforms: float `[..., H, W, C]` in [0, 1). The ends are moved inward
            to 2**-24 and 1 - 2**-24, the finest a float32 generator tells apart.
          temperature: float > 0, divides the mixture logits and multiplies the scales.

        Returns:
          int32 `[..., H, W, C]` in [0, num_levels - 1].
        """
        if isinstance(temperature, numbers.Real) and not float(temperature) > 0:
            raise errors.UserError(
                f"`temperature` must be greater than 0. Received: {temperature}"
            )
        chosen = self._choose_component(_float32(component_uniform), temperature)
        u = ops.clip(_float32(channel_uniforms), 2.0**-24, 1 - 2.0**-24)
        log_scale = ops.clip(self.log_scale, MIN_LOG_SCALE, MAX_LOG_SCALE)
        scale = ops.exp(_select(log_scale, chosen)) * (temperature * self._half_range)
        noise = scale * (ops.log(u) - ops.log1p(-u))
        loc = _select(self.loc, chosen) * self._half_range
        if self.coefficients is None:
            return ops.cast(self._round(loc + noise), "int32")
        weight = ops.tanh(_select(self.coefficients, chosen))
        continuous = loc + noise
        red = self._round(continuous[..., 0])
        red_v = red - self._half_range
        green = self._round(continuous[..., 1] + weight[..., 0] * red_v)
        green_v = green - self._half_range
        blue = self._round(
            continuous[..., 2] + weight[..., 1] * red_v + weight[..., 2] * green_v
        )
        return ops.cast(ops.stack([red, green, blue], axis=-1), "int32")

    def _choose_component(self, uniform, temperature):
        """One-hot `[..., H, W, 1, K]`."""
        weights = ops.exp(ops.log_softmax(self.logits / temperature, axis=-1))
        below = ops.cumsum(weights, axis=-1)[..., :-1] <= uniform[..., None]
        index = ops.sum(ops.cast(below, "int32"), axis=-1)
        return ops.one_hot(index, self.logits.shape[-1])[..., None, :]

    def _round(self, centered):
        """The bin that holds a point given in pixels from the middle."""
        level = ops.floor(centered + self.num_levels / 2)
        return ops.clip(level, 0, self.num_levels - 1)


def _float32(x):
    return ops.cast(ops.convert_to_tensor(x), "float32")


def _select(parameters, one_hot):
    return ops.sum(parameters * one_hot, axis=-1)
