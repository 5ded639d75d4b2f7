"""How figures look: legible at the width of a README, in any printing or eye."""

import os

import cycler
import matplotlib

from deltavae_tf.errors import UserError

matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402

# Okabe and Ito's colors, told apart by color-blind readers; markers repeat the message.
COLORS = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "blue": "#0072B2",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "gray": "#888888",
}
# "C0", "C1", ... in the styles that the parts of a model declare.
_CYCLE = ("blue", "red", "orange", "black", "green", "orange", "purple", "sky", "gray")
_SETTINGS = {
    "axes.prop_cycle": cycler.cycler(color=[COLORS[name] for name in _CYCLE]),
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "font.size": 11,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.markersize": 8,
}
plt.rcParams.update(_SETTINGS)


def figure(columns=1, width=9.0, height=4.2):
    """A figure and its axes: 1350 pixels wide when saved."""
    return plt.subplots(1, columns, figsize=(width, height), layout="constrained")


def save(fig, path):
    """Writes a PNG, making its folder."""
    if not path or not path.endswith(".png"):
        raise UserError(f"--figure must name a .png file. Received: {path!r}")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    fig.savefig(path)
    plt.close(fig)
    print(f"Wrote {path}")
