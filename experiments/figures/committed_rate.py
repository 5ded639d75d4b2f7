r"""Figure 1: the committed rate against alpha and n, and the best posterior in 2-d.

python -m experiments.figures.committed_rate --figure=docs/figures/committed_rate.png
"""

import numpy as np

from deltavae_tf import units
from deltavae_tf.distributions import ar1
from experiments import flags
from experiments.figures import style

FIGURE = flags.define_path("figure", None, "The .png file to write.")
_STEPS = (2, 4, 8, 16, 32)
_ALPHAS = (0.5, 0.9)


def main(_):
    """Draws both panels."""
    fig, (left, right) = style.figure(2)
    alphas = np.linspace(0, 0.995, 200)
    colors = ("sky", "green", "orange", "red", "purple")
    for steps, color in zip(_STEPS, colors, strict=True):
        rates = [units.bits(ar1.committed_rate([a], steps)) for a in alphas]
        left.plot(alphas, rates, color=style.COLORS[color], label=f"n = {steps}")
    left.set(
        xlabel="AR coefficient alpha",
        ylabel="committed rate delta (bits per channel)",
        xlim=(0, 1),
        ylim=(0, None),
        title="Committed rate (Eq. 1)",
    )
    left.legend(title="time steps")
    _contours(right)
    style.save(fig, FIGURE.value)


def _contours(axes):
    """One standard deviation of the prior over (z_1, z_2) and of the best posterior."""
    circle = np.linspace(0, 2 * np.pi, 200)
    unit = np.stack([np.cos(circle), np.sin(circle)])
    for alpha, color in zip(_ALPHAS, ("blue", "red"), strict=True):
        prior = np.linalg.cholesky([[1, alpha], [alpha, 1]]) @ unit
        scale = ar1.AR1([alpha], 2).optimal_scale()  # [2, 1]
        delta = units.bits(ar1.committed_rate([alpha], 2))
        name = f"alpha = {alpha}"
        axes.plot(*prior, color=style.COLORS[color], label=f"prior, {name}")
        axes.plot(
            *(scale * unit),
            color=style.COLORS[color],
            linestyle="--",
            label=f"posterior, {name}: {delta:.2f} bits",
        )
    axes.set(
        xlabel="z at time 1",
        ylabel="z at time 2",
        aspect="equal",
        xlim=(-1.3, 1.3),
        ylim=(-1.3, 2.3),
        title="One standard deviation, n = 2",
    )
    axes.legend(loc="upper center", fontsize=9)


if __name__ == "__main__":
    flags.run(main)
