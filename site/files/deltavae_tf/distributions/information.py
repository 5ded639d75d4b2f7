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

the rate is exact; h(z) is at most a normal's of the same covariance, which is at most
Q; and a geometric mean is at most an arithmetic one. Channels add up: the rate reads
only the diagonal blocks of Q, and ln det Q is at most their sum (Fischer).
For any price 0 < mu < 1,

    D(mu) = min over Q >= S of  rate - mu I

is a convex problem in (Q, S), although "the most I at a rate" is not one: I is convex
in S. So I <= (rate - D(mu)) / mu for every mu. The minimum is unique, so it moves
continuously with mu, and each rate above delta is met at some mu (up to the limit that
mu = 1 has): there is no duality gap, and F(rate) = min over mu of (rate - D(mu)) / mu,
concave and increasing. The price mu is dF's inverse: nats of rate for one more nat of
information. From the limit at mu = 1 on, Q = P and F(rate) = rate.

Where a run cannot come up to F, though F is tight (a linear encoder of normal data of
n d dimensions meets it): the aggregate posterior is a mixture, not a normal; its mean
is not 0; the scales depend on x; channels correlate. With N equally likely examples I
is also at most ln N. What F does not bound: the auxiliary rate, which is at least I and
may lie above F; posteriors that are not independent over time given x; and, for
sentences, what their lengths say (given the length, it holds length by length).
"""

import math
import numbers
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from deltavae_tf import errors
from deltavae_tf.distributions import ar1, frontier

# A rate may be measured in float32: so much below delta, relative, is delta.
_ROUNDING = 1e-4


class Frontier(NamedTuple):
    """Points of the information frontier, each float64 `[p]`; nats for all channels."""

    prices: np.ndarray  # Nats of rate for one more nat of information, in [0, 1).
    rates: np.ndarray  # E_x KL(q(z|x) || p); delta first, where the price is low.
    informations: np.ndarray  # The largest I(x; z) at that rate.


def information_at_rate(rate: float, alpha: ArrayLike, num_timesteps: int) -> float:
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
    prior = _prior(alpha, num_timesteps)
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
    information: float, alpha: ArrayLike, num_timesteps: int
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
    prior = _prior(alpha, num_timesteps)
    information = _check_information(information)
    if information == 0:
        return prior.committed_rate
    point = prior.find(lambda p: (p.information - information, p.slope))
    return max(point.dual + point.price * information, information)


def information_frontier(
    alpha: ArrayLike,
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
    prior = _prior(alpha, num_timesteps)
    if prices is None:
        # Even steps of the log odds: both ends, where the curve bends, get their share.
        ends = (min(prior.lowest_price, 0.99), 0.999)
        low, high = (math.log(p / (1 - p)) for p in ends)
        chosen = 1 / (1 + np.exp(-np.linspace(low, high, 100)))
    else:
        chosen = np.atleast_1d(np.array(prices, np.float64))
        if chosen.ndim != 1 or not np.all((0 <= chosen) & (chosen < 1)):
            raise errors.UserError(
                "`prices` must be one list of numbers in [0, 1). "
                f"Received: {chosen.tolist()}"
            )
    points = [prior.at(price) for price in chosen]
    return Frontier(
        chosen,
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
    have no proof. Next to 1 it grows as the logarithm of 1 / (1 - alpha), and alpha's
    own digits limit it: within 1e-10 of 1, to 1e-6 nats or worse.

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
      UserError: no alpha below 1 gives this; the message names the interval.
    """
    information = _check_information(information)
    price = _number("price", price)
    if not 0 < price < 1:
        raise errors.UserError(
            "`price` must be above 0, where nothing can be carried, and below 1, where "
            f"any rate is all information. Received: {price}"
        )
    ar1.check_num_timesteps(num_timesteps)
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
        prior = _prior(alpha(t), num_timesteps, starts)
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


def _prior(alpha, num_timesteps, starts=None):
    return frontier.Prior(
        _check_alpha(alpha), ar1.check_num_timesteps(num_timesteps), starts
    )


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
