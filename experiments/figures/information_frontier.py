r"""The information frontier: how much of a rate above delta can be information.

python -m experiments.figures.information_frontier \
    --figure=docs/figures/information_frontier.png
"""

import numpy as np

from deltavae_tf import units
from deltavae_tf.distributions import ar1, information
from experiments import flags
from experiments.figures import style

FIGURE = flags.flags.DEFINE_string("figure", None, "The .png file to write.")
_STEPS = 32
_ALPHAS = {0.5: "sky", 0.8: "green", 0.95: "orange", 0.99: "red"}
_RATE = 40.0  # Bits: where the axes end.
_PRICES = {0.1: "o", 0.5: "s", 0.9: "^"}  # And the markers of their points.


def main(_):
    """Draws both panels."""
    fig, (left, right) = style.figure(2, width=10.0, height=4.6)
    for alpha, color in _ALPHAS.items():
        _channel(left, right, alpha, style.COLORS[color])
    left.fill_between([0, _RATE], [0, _RATE], _RATE, color="#eeeeee", zorder=0)
    left.plot([0, _RATE], [0, _RATE], color="black", linewidth=1)
    left.text(
        25, 26, "all of the rate is information", rotation=41.5,
        rotation_mode="anchor", ha="center", va="bottom", fontsize=10,
    )  # fmt: skip
    left.annotate(
        "delta, the committed\nrate: paid, but no\ninformation yet",
        (units.bits(ar1.committed_rate([0.99], _STEPS)) + 0.7, 0),
        (24.5, 2),
        fontsize=10,
        arrowprops={"arrowstyle": "->", "connectionstyle": "arc3,rad=-0.2"},
    )
    left.set(
        xlabel="rate KL(q(z|x) || AR(1)), bits",
        ylabel="largest information I(x; z), bits",
        xlim=(0, _RATE),
        ylim=(-0.8, _RATE),
        title=f"Information frontier, 1 channel, {_STEPS} time steps",
    )
    left.legend(loc="upper left")
    for price, marker in _PRICES.items():
        right.plot([], [], marker, color="black", label=f"{price}")
    right.set(
        xlabel="rate above delta, bits",
        ylabel="largest information I(x; z), bits",
        xscale="log",
        xlim=(0.01, 20),
        ylim=(0, 30),
        xticks=[0.01, 0.1, 1, 10],
        xticklabels=["0.01", "0.1", "1", "10"],
        title="What the first bits above delta buy",
    )
    right.legend(loc="upper left", title="price of one more bit, in bits of rate")
    style.save(fig, FIGURE.value)


def _channel(left, right, alpha, color):
    """A prior's curve in both panels: its delta in one, its prices in the other."""
    delta = units.bits(ar1.committed_rate([alpha], _STEPS))
    curve = information.information_frontier(alpha, _STEPS)
    # From where the price reaches 1 on, the frontier is the diagonal.
    beyond = np.linspace(units.bits(curve.rates[-1]), 2 * _RATE, 100)
    rates = np.append(units.bits(curve.rates), beyond)
    carried = np.append(units.bits(curve.informations), beyond)
    left.plot(rates, carried, color=color, label=f"alpha = {alpha}", linewidth=2)
    left.plot(delta, 0, "o", color=color, clip_on=False, zorder=3)
    right.plot(rates - delta, carried, color=color, linewidth=2)
    marked = information.information_frontier(alpha, _STEPS, list(_PRICES))
    for rate, bits, marker in zip(
        units.bits(marked.rates) - delta,
        units.bits(marked.informations),
        _PRICES.values(),
        strict=True,
    ):
        right.plot(rate, bits, marker, color=color)


if __name__ == "__main__":
    flags.run(main)
