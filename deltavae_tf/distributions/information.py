"""What a prior can carry: the most information at a given rate (the frontier).

The committed rate says what a mean-field posterior must spend under an AR(1) prior. It
does not say how much of what is spent above it can be information. This module does:
for every encoder with posteriors N(m(x), diag(s(x)^2)), and every distribution of x,

    I(x; z) <= F(E_x KL(q(z|x) || p)),

and `information_at_rate` computes F. The result is ours; the paper has only F's end,
Eq. 1, where the rate is delta and the information 0.

The bound. Let P be the prior's covariance over the time steps of one channel. Write
Q = E[diag(s^2)] + E[m m^T] and S = exp(E[ln diag(s^2)]), the geometric mean. Then

    rate  = 1/2 [ tr(P^-1 Q) - ln det S + ln det P - n ],
    I    <= 1/2 [ ln det Q - ln det S ],    Q >= E[diag(s^2)] >= S:

the rate is exact; h(z) is at most a normal's of the same covariance, which is at most Q;
and a geometric mean is at most an arithmetic one. Channels add up: the rate reads only
the diagonal blocks of Q, and ln det Q is at most the sum over these blocks (Fischer).
For any price 0 < mu < 1,

    D(mu) = min over Q >= S of  rate - mu I

is a convex problem in (Q, S), although "the most I at a rate" is not one: I is convex
in S. So I <= (rate - D(mu)) / mu for every mu. The minimum is unique, so it moves
continuously with mu, and each rate above delta is met at some mu (up to the limit that
mu = 1 has): there is no duality gap, and F(rate) = min over mu of (rate - D(mu)) / mu,
concave and increasing. The price mu is dF's inverse: nats of rate for one more nat of
information. From the limit at mu = 1 on, Q = P and F(rate) = rate.

The numbers. Divide each step by its scale in S: with A = S^1/2 P^-1 S^1/2 and its
eigenvalues v, the best Q has the eigenvalues max(1, mu / v) (water-filling), and

    rate - mu I = 1/2 [ sum_k phi(v_k) - ln det S + ln det P - n ],
    phi(v) = v if v >= mu, else mu + mu ln(v / mu),

is convex in l = ln S - ln(S of Eq. 1), which Newton's method finds. The chain is
symmetric in time, and so is l: A falls apart into two tridiagonal halves.

Where a run cannot come up to F, though F is tight (a linear encoder of normal data of
n d dimensions meets it): the aggregate posterior is a mixture, not a normal; its mean is
not 0; the scales depend on x; channels correlate. With N equally likely examples I is
also at most ln N. What F does not bound: the auxiliary rate, which is at least I and may
lie above F; posteriors that are not independent over time given x; and, for sentences,
what their lengths say (given the length, it holds length by length).
"""

import math
import numbers
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize

from deltavae_tf import errors
from deltavae_tf.distributions import ar1

# Beyond it the rate is information but for some 1e-8 nats, and F is taken for linear.
_HIGHEST_PRICE = 1 - 1e-6
# A rate may be measured in float32: so much below delta (relative, at least 1 nat) is it.
_ROUNDING = 1e-4


class Frontier(NamedTuple):
    """Points of the information frontier, each float64 `[p]`; nats for all channels."""

    prices: np.ndarray  # Nats of rate for one more nat of information, in [0, 1).
    rates: np.ndarray  # E_x KL(q(z|x) || p); delta first, where the price is low.
    informations: np.ndarray  # The largest I(x; z) at that rate.


def information_at_rate(
    rate: float, alpha: float | Sequence[float], num_timesteps: int
) -> float:
    """The most information that latents can carry about x at this rate: F(rate).

    Args:
      rate: float, E_x KL(q(z|x) || AR1), nats for all n steps and d channels.
      alpha: float for one channel, or `[d]`; each in [0, 1).
      num_timesteps: int, n >= 2.

    Returns:
      float (float64), nats: 0 at the committed rate, never above `rate`; 1e-6 exact.

    Raises:
      UserError: the rate is below the committed rate (by more than float32's rounding:
        1e-4 of it), which no encoder can have.
    """
    prior = _Prior(alpha, num_timesteps)
    rate, delta = _number("rate", rate), prior.committed_rate
    if rate < delta - _ROUNDING * max(delta, 1):
        raise errors.UserError(
            f"`rate` must be at least the committed rate, {delta:.6g} nats for this "
            "prior: no encoder spends less. A rate in bits is not one in nats. "
            f"Received: {rate}"
        )
    if rate <= delta:
        return 0.0

    def gap(point):
        # In logarithms: the excess is nearly a power of the price.
        excess = max(point.rate - delta, 1e-300)
        slope = point.price * point.slope / excess
        return math.log(excess / (rate - delta)), slope

    point = prior.find(gap)
    return min((rate - point.dual) / point.price, rate)


def rate_for_information(
    information: float, alpha: float | Sequence[float], num_timesteps: int
) -> float:
    """The least rate at which latents can carry this information: F's inverse.

    Args:
      information: float, I(x; z), nats for all channels; at least 0.
      alpha: float for one channel, or `[d]`; each in [0, 1).
      num_timesteps: int, n >= 2.

    Returns:
      float (float64), nats: the committed rate for 0, never below `information`.

    Raises:
      UserError: the information is negative.
    """
    prior = _Prior(alpha, num_timesteps)
    information = _check_information(information)
    if information == 0:
        return prior.committed_rate
    point = prior.find(lambda p: (p.information - information, p.slope))
    return max(point.dual + point.price * information, information)


def information_frontier(
    alpha: float | Sequence[float],
    num_timesteps: int,
    prices: Sequence[float] | None = None,
) -> Frontier:
    """The frontier as a curve: one point for each price.

    Args:
      alpha: float for one channel, or `[d]`; each in [0, 1).
      num_timesteps: int, n >= 2.
      prices: `[p]`, each in [0, 1); below a prior's lowest price the point is
        (committed rate, 0). By default 100, from the lowest price to .999.

    Returns:
      Frontier, its points in the order of `prices`.
    """
    prior = _Prior(alpha, num_timesteps)
    if prices is None:
        # Even steps of the log odds: both ends, where the curve bends, get their share.
        odds = [math.log(p / (1 - p)) for p in (min(prior.lowest_price, 0.99), 0.999)]
        prices = 1 / (1 + np.exp(-np.linspace(*odds, 100)))
    else:
        prices = np.atleast_1d(np.array(prices, np.float64))
        if prices.ndim != 1 or not np.all((0 <= prices) & (prices < 1)):
            raise errors.UserError(
                "`prices` must be one list of numbers in [0, 1). "
                f"Received: {prices.tolist()}"
            )
    points = [prior.at(price) for price in prices]
    return Frontier(
        prices,
        np.array([point.rate for point in points]),
        np.array([point.information for point in points]),
    )


def solve_alpha_for_information(
    information: float,
    price: float,
    num_timesteps: int,
    num_channels: int,
    alpha_min: float | None = None,
) -> np.ndarray:
    """The coefficients whose prior carries `information` where its price is `price`.

    The alphas have the form that `ar1.solve_alpha` gives them: all the same, or evenly
    spaced from `alpha_min` on. Where the encoder then works is the frontier's point
    with that price: one nat more of information would cost it `price` nats of rate, and
    `rate_for_information(information, alpha, num_timesteps)` is the rate there. A low
    price asks for slow channels (alpha next to 1), which carry nearly free information
    over a high committed rate; a high price is content with fast ones.

    Information grows with each alpha, as seen on a grid of alphas, prices and n; we
    have no proof.

    Args:
      information: float, I(x; z), nats for all channels; at least 0. For 0 the
        smallest alphas of the form.
      price: float in (0, 1), nats of rate for one more nat of information.
      num_timesteps: int, n >= 2.
      num_channels: int, d.
      alpha_min: `None` for one alpha in all channels; or a float in [0, 1), for
        `linspace(alpha_min, alpha_max, d)` inclusive with alpha_max solved for.

    Returns:
      float64 numpy `[d]`, not decreasing.

    Raises:
      UserError: no alpha below 1 gives this information; the message names the interval.
    """
    information = _check_information(information)
    price = _number("price", price)
    if not 0 < price < 1:
        raise errors.UserError(
            "`price` must be above 0, where nothing can be carried, and below 1, where "
            f"any rate is all information. Received: {price}"
        )
    _check_num_timesteps(num_timesteps)
    if not isinstance(num_channels, numbers.Integral) or num_channels < 1:
        raise errors.UserError(
            f"`num_channels` must be a positive integer. Received: {num_channels}"
        )
    if alpha_min is not None:
        _check_alpha(alpha_min)
        if num_channels < 2:
            raise errors.UserError(
                "With `alpha_min`, `num_channels` must be at least 2: one channel has "
                f"alpha_min and nothing to solve for. Received: {num_channels}"
            )
    starts = {}  # Each channel begins where it ended for the alphas before.

    def alpha(t):
        # alpha_max = 1 - exp(-t): t tells apart values next to 1 that alpha does not.
        alpha_max = -math.expm1(-t)
        return np.linspace(
            alpha_max if alpha_min is None else alpha_min, alpha_max, num_channels
        )

    def carried(t):
        prior = _Prior(alpha(t), num_timesteps, starts)
        return prior.at(price).information

    low = 0.0 if alpha_min is None else -math.log1p(-alpha_min)
    high = -math.log(np.finfo(np.float64).epsneg)  # The last alpha below 1.
    bounds = carried(low), carried(high)
    if not bounds[0] <= information <= bounds[1]:
        raise errors.UserError(
            f"`information` must be in [{bounds[0]:.6g}, {bounds[1]:.6g}] nats at the "
            f"price {price} for {num_timesteps} steps, {num_channels} channels and "
            f"alpha_min={alpha_min}. Received: {information}"
        )
    return alpha(optimize.brentq(lambda t: carried(t) - information, low, high))


class _Point(NamedTuple):
    """The optimum at one price; nats."""

    price: float
    dual: float  # D(price): the least rate - price * information.
    information: float
    slope: float  # d information / d price.

    @property
    def rate(self):
        return self.dual + self.price * self.information


class _Prior:
    """Channels apart, at one price for all."""

    def __init__(self, alpha, num_timesteps, starts=None):
        alpha, counts = np.unique(_check_alpha(alpha), return_counts=True)
        n = _check_num_timesteps(num_timesteps)
        starts = {} if starts is None else starts
        self._channels = [
            _Channel(a, n, starts.setdefault(k, np.zeros((n + 1) // 2)))
            for k, a in enumerate(alpha)
        ]
        self._counts = counts
        self.committed_rate = self._sum(c.committed_rate for c in self._channels)
        self.lowest_price = min(c.lowest_price for c in self._channels)

    def _sum(self, values):
        return math.fsum(
            count * x for count, x in zip(self._counts, values, strict=True)
        )

    def at(self, price):
        """The point with this price."""
        points = [channel.at(price) for channel in self._channels]
        return _Point(price, *map(self._sum, list(zip(*points, strict=True))[1:]))

    def find(self, gap):
        """The point where a gap is 0; the last one before price 1 if none is.

        Newton's method in the log odds of the price, kept between bounds.

        Args:
          gap: function of a _Point: a number that increases with the price, and its
            derivative.

        Returns:
          _Point, so near that F, least over all prices, is right to 1e-9.
        """
        low, high = (_log_odds(p) for p in (self.lowest_price, _HIGHEST_PRICE))
        end = max(low, high)
        now = min(0.5 * low, end)  # Between the lowest price and 1/2.
        while True:
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
                return point
            now = then


class _Channel:
    """One channel's convex problem: the l of the module's docstring, by Newton."""

    def __init__(self, alpha, n, start):
        """`start`, float `[(n + 1) // 2]`, is written to: l at the last price."""
        self.committed_rate = ar1.committed_rate([alpha], n)
        self._n, self._l, self._last = n, start, None
        variance = np.full(n, 1 / (1 + alpha**2))  # Eq. 1's, over 1 - alpha^2.
        variance[[0, -1]] = 1
        off = -alpha * np.sqrt(variance[1:] * variance[:-1])
        # A at l = 0 has ones on its diagonal and `off` beside it. Its halves: vectors
        # that are even, and odd, about the middle; each a diagonal and what is beside.
        half, rest = n // 2, n % 2
        even, odd = np.ones(half + rest), np.ones(half)
        even_off, odd_off = off[: half + rest - 1].copy(), off[: half - 1]
        if rest:
            even_off[-1] *= math.sqrt(2)
        else:
            even[-1] += off[half - 1]
            odd[-1] -= off[half - 1]
        self._halves = (even, even_off), (odd, odd_off)
        self._times = np.full(half + rest, 2.0)  # How many steps have each l.
        self._times[half:] = 1
        self.lowest_price = self._spectrum(np.zeros(half + rest))[0][0][0]

    def at(self, price):
        """The _Point with this price."""
        if price <= self.lowest_price:
            return _Point(price, self.committed_rate, 0.0, 0.0)
        l = self._l
        value, gradient, spectrum = self._value(l, price)
        if self._last is not None:  # Go on along the frontier, if that is better.
            ahead = l + self._last[1] * (price - self._last[0])
            found = self._value(ahead, price)
            if found[0] < value:
                l, (value, gradient, spectrum) = ahead, found
        for _ in range(100):
            hessian = self._hessian(spectrum, price)
            factor = linalg.cho_factor(hessian)
            step = -linalg.cho_solve(factor, gradient)
            decrease = -gradient @ step
            size = 1.0
            while True:
                new = self._value(l + size * step, price)
                if new[0] <= value - 1e-4 * size * decrease + 1e-14 * self._n:
                    break
                size /= 2
            l = l + size * step
            value, gradient, spectrum = new
            if decrease <= 1e-10 * price:
                break
        self._l[:] = l
        below = [v < price for v, _ in spectrum]
        information = sum(
            0.5 * np.sum(np.log(price / v[b]))
            for (v, _), b in zip(spectrum, below, strict=True)
        )
        # d gradient / d price.
        moved = np.zeros_like(l)
        for (_, u), b in zip(spectrum, below, strict=True):
            moved[: len(u)] += np.sum(u[:, b] ** 2, axis=1)
        slope = sum(np.sum(b) for b in below) / price
        tangent = -linalg.cho_solve(factor, moved)  # d l / d price.
        self._last = price, tangent
        slope = 0.5 * (slope - moved @ tangent)
        return _Point(price, self.committed_rate + 0.5 * value, information, slope)

    def _spectrum(self, l):
        """Eigenvalues, ascending, and eigenvectors of both halves of A."""
        found = []
        for diagonal, off in self._halves:
            scale = np.exp(0.5 * l[: len(diagonal)])
            found.append(
                linalg.eigh_tridiagonal(
                    diagonal * scale**2, off * scale[1:] * scale[:-1]
                )
            )
        # For alpha next to 1 the smallest eigenvalue (an even one) is lost in rounding;
        # the determinant is known, as delta is -1/2 ln det A at l = 0.
        (even, _), (odd, _) = found
        others = np.sum(np.log(even[1:])) + np.sum(np.log(odd))
        even[0] = np.exp(self._times @ l - 2 * self.committed_rate - others)
        return found

    def _value(self, l, price):
        """2 (rate - price * information - delta), its gradient in l, the spectrum."""
        spectrum = self._spectrum(l)
        value, gradient = -self._times @ l - self._n, -self._times
        for v, u in spectrum:
            floored = np.maximum(v, price)
            value += np.sum(floored + price * np.log(np.minimum(v / price, 1)))
            gradient = gradient + np.pad(u**2 @ floored, (0, len(l) - len(v)))
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


def _number(name, value):
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise errors.UserError(f"`{name}` must be a finite number. Received: {value!r}")
    return found


def _check_information(information):
    found = _number("information", information)
    if found < 0:
        raise errors.UserError(
            f"`information` must be at least 0 nats. Received: {information}"
        )
    return found


def _check_alpha(alpha):
    """float64 `[d]` of a number or a sequence."""
    try:
        found = np.atleast_1d(np.array(alpha, np.float64))
    except (TypeError, ValueError):
        found = np.array([])
    if found.ndim != 1 or not found.size or not np.all((0 <= found) & (found < 1)):
        raise errors.UserError(
            "`alpha` must be a number in [0, 1), or one list of them, a channel each. "
            f"Received: {alpha!r}"
        )
    return found


def _check_num_timesteps(num_timesteps):
    if not isinstance(num_timesteps, numbers.Integral) or num_timesteps < 2:
        raise errors.UserError(
            "`num_timesteps` must be an integer of at least 2: with 1 the committed "
            f"rate is 0. Received: {num_timesteps!r}"
        )
    return int(num_timesteps)
