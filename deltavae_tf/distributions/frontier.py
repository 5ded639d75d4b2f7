"""The optimum behind `information.py`: the least rate - price * information.

mu is the price. Divide each step by its scale in S: with A = S^1/2 P^-1 S^1/2 and its
eigenvalues v, the best Q has the eigenvalues max(1, mu / v) (water-filling), and

    rate - mu I = 1/2 [ sum_k phi(v_k) - ln det S + ln det P - n ],
    phi(v) = v if v >= mu, else mu + mu ln(v / mu),

is convex in log_s = ln S - ln(S of Eq. 1), which Newton's method finds. The chain is
symmetric in time, and so is log_s: A falls apart into two tridiagonal halves.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import linalg

from deltavae_tf.distributions import ar1

# Beyond it the rate is information but for some 1e-8 nats, and F is taken for linear.
_HIGHEST_PRICE = 1 - 1e-6


class Point(NamedTuple):
    """The optimum at one price; nats."""

    price: float
    dual: float  # D(price): the least rate - price * information.
    information: float
    slope: float  # d information / d price.

    @property
    def rate(self) -> float:
        """The rate there."""
        return self.dual + self.price * self.information


class Prior:
    """The frontier of an AR(1) prior: channels apart, at one price for all.

    Args:
      alpha: float64 `[d]`, each in [0, 1).
      num_timesteps: int, n >= 2.
      starts: dict, where each channel's Newton steps begin; written to.
    """

    def __init__(
        self, alpha: np.ndarray, num_timesteps: int, starts: dict | None = None
    ) -> None:
        alpha, counts = np.unique(alpha, return_counts=True)
        n = num_timesteps
        starts = {} if starts is None else starts
        self._channels = [
            Channel(a, n, starts.setdefault(k, np.zeros((n + 1) // 2)))
            for k, a in enumerate(alpha)
        ]
        self._counts = counts
        self.committed_rate = self._sum(c.committed_rate for c in self._channels)
        self.lowest_price = min(c.lowest_price for c in self._channels)

    def _sum(self, values):
        return math.fsum(
            count * x for count, x in zip(self._counts, values, strict=True)
        )

    def at(self, price: float) -> Point:
        """The point with this price."""
        points = [channel.at(price) for channel in self._channels]
        return Point(price, *map(self._sum, list(zip(*points, strict=True))[1:]))

    def find(self, gap: Callable) -> Point:
        """The point where a gap is 0; the last one before price 1 if none is.

        Newton's method in the log odds of the price, kept between bounds.

        Args:
          gap: function of a Point: a number that increases with the price, and its
            derivative.

        Returns:
          Point, so near that F, least over all prices, is right to 1e-9.
        """
        low, high = (_log_odds(p) for p in (self.lowest_price, _HIGHEST_PRICE))
        end = max(low, high)
        now = min(0.5 * low, end)  # Between the lowest price and 1/2.
        for _ in range(200):
            point = self.at(1 / (1 + math.exp(-now)))
            value, slope = gap(point)
            if now >= end and value <= 0:
                return point
            low, high = (now, high) if value < 0 else (low, now)
            slope *= point.price * (1 - point.price)
            then = now - value / slope if slope > 0 else math.inf
            if not low < then < high:
                # 4 in log odds at once at most: the last price costs the most.
                then = min(now + 4, end) if high == end else (low + high) / 2
            moved = abs(then - now) * (1 - point.price)  # In the price's logarithm.
            if point.slope * point.price * moved**2 < 1e-9 and slope > 0:
                break
            now = then
        return point


class Channel:
    """One channel's convex problem: the log_s of the module's docstring, by Newton."""

    def __init__(self, alpha: float, n: int, start: np.ndarray) -> None:
        """`start`, float `[(n + 1) // 2]`, is written to: log_s at the last price."""
        self.committed_rate = ar1.committed_rate([alpha], n)
        self._n, self._log_s = n, start
        self._last: tuple[float, np.ndarray] | None = None  # A price, the slope there.
        variance = np.full(n, 1 / (1 + alpha**2))  # Eq. 1's, over 1 - alpha^2.
        variance[[0, -1]] = 1
        off = -alpha * np.sqrt(variance[1:] * variance[:-1])
        # A at log_s = 0 has ones on its diagonal and `off` beside it. Its halves:
        # vectors even, and odd, about the middle; each a diagonal and what is beside.
        half, rest = n // 2, n % 2
        even, odd = np.ones(half + rest), np.ones(half)
        even_off, odd_off = off[: half + rest - 1].copy(), off[: half - 1]
        if rest:
            even_off[-1] *= math.sqrt(2)
        else:
            even[-1] += off[half - 1]
            odd[-1] -= off[half - 1]
        self._halves = (even, even_off), (odd, odd_off)
        self._times = np.full(half + rest, 2.0)  # How many steps have each log_s.
        self._times[half:] = 1
        self.lowest_price = self._spectrum(np.zeros(half + rest))[0][0][0]

    def at(self, price: float) -> Point:
        """The Point with this price."""
        if price <= self.lowest_price:
            return Point(price, self.committed_rate, 0.0, 0.0)
        log_s = self._log_s
        value, gradient, spectrum = self._value(log_s, price)
        if self._last is not None:  # Go on along the frontier, if that is better.
            ahead = log_s + self._last[1] * (price - self._last[0])
            found = self._value(ahead, price)
            if found[0] < value:
                log_s, (value, gradient, spectrum) = ahead, found
        for _ in range(100):
            hessian = self._hessian(spectrum, price)
            factor = linalg.cho_factor(hessian)
            step = -linalg.cho_solve(factor, gradient)
            decrease = -gradient @ step
            size = 1.0
            while size > 1e-10:
                new = self._value(log_s + size * step, price)
                if new[0] <= value - 1e-4 * size * decrease + 1e-14 * self._n:
                    break
                size /= 2
            log_s = log_s + size * step
            value, gradient, spectrum = new
            if decrease <= 1e-10 * price:
                break
        self._log_s[:] = log_s
        below = [v < price for v, _ in spectrum]
        information = sum(
            0.5 * np.sum(np.log(price / v[b]))
            for (v, _), b in zip(spectrum, below, strict=True)
        )
        # d gradient / d price.
        moved = np.zeros_like(log_s)
        for (_, u), b in zip(spectrum, below, strict=True):
            moved[: len(u)] += np.sum(u[:, b] ** 2, axis=1)
        slope = sum(np.sum(b) for b in below) / price
        tangent = -linalg.cho_solve(factor, moved)  # d log_s / d price.
        self._last = price, tangent
        slope = 0.5 * (slope - moved @ tangent)
        return Point(price, self.committed_rate + 0.5 * value, information, slope)

    def _spectrum(self, log_s):
        """Eigenvalues, ascending, and eigenvectors of both halves of A."""
        found = []
        for diagonal, off in self._halves:
            scale = np.exp(0.5 * log_s[: len(diagonal)])
            found.append(
                linalg.eigh_tridiagonal(
                    diagonal * scale**2, off * scale[1:] * scale[:-1]
                )
            )
        # For alpha next to 1 the smallest eigenvalue (an even one) is lost in rounding;
        # the determinant is known, as delta is -1/2 ln det A at log_s = 0.
        (even, _), (odd, _) = found
        others = np.sum(np.log(even[1:])) + np.sum(np.log(odd))
        even[0] = np.exp(self._times @ log_s - 2 * self.committed_rate - others)
        return found

    def _value(self, log_s, price):
        """2 (rate - price information - delta), its gradient, the spectrum."""
        spectrum = self._spectrum(log_s)
        value, gradient = -self._times @ log_s - self._n, -self._times
        for v, u in spectrum:
            floored = np.maximum(v, price)
            value += np.sum(floored + price * np.log(np.minimum(v / price, 1)))
            gradient = gradient + np.pad(u**2 @ floored, (0, len(log_s) - len(v)))
        return value, gradient, spectrum

    def _hessian(self, spectrum, price):
        """Of `_value`: sum_kj c_kj (u_k u_j) (u_k u_j)^T with
        c_kj = (v_k + v_j) / 2 * (max(v_k, price) - max(v_j, price)) / (v_k - v_j)."""
        size = len(self._times)
        hessian = 1e-13 * np.eye(size)
        for v, u in spectrum:
            m, b = len(v), np.sum(v < price)
            # Both above the price: c is (v_k + v_j) / 2. Both below: 0.
            above = u[:, b:]
            hessian[:m, :m] += (above @ above.T) * ((above * v[b:]) @ above.T)
            # One above, one below, twice.
            k, j = v[b:], v[:b, None]
            c = (k + j) * (k - price) / (k - j)
            pairs = u[:, :b, None] * above[:, None, :] * np.sqrt(c)
            pairs = pairs.reshape(m, b * (m - b))
            hessian[:m, :m] += pairs @ pairs.T
        return hessian


def _log_odds(price):
    return math.log(price / (1 - price)) if price < 1 else math.inf
