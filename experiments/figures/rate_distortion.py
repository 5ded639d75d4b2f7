r"""Figures 4a and 6: rate and distortion of a sweep's models, in bits per image.

  python -m experiments.figures.rate_distortion \
      --results=experiments/results/sweep_cifar10_small.json --split=test \
      --figure=docs/figures/rate_distortion_cifar10.png

--results is what experiments.rate_distortion wrote, or the folder of its runs; or
several of the same data and length, separated by commas.
--split=train gives Figure 6. The rate is that under the auxiliary prior, as in the
paper; --rate=ar1 shows what the model was trained with.
"""

import numpy as np

from experiments import flags
from experiments.figures import points, style

FIGURE = flags.flags.DEFINE_string("figure", None, "The .png file to write.")
RESULTS = flags.flags.DEFINE_list("results", [], "Sweeps' results or folders.")
SPLIT = flags.flags.DEFINE_enum("split", "test", ["test", "train"], "Of which images.")
RATE = flags.flags.DEFINE_enum("rate", "aux", ["aux", "ar1"], "Under which prior.")

# Method and encoder -> color, marker.
_STYLES = {
    "delta-VAE": ("blue", "o"),
    "delta-VAE, non-causal": ("sky", "s"),
    "independent delta-VAE": ("green", "D"),
    "VAE": ("black", "x"),
    "VAE, non-causal": ("black", "+"),
    "beta-VAE": ("red", "^"),
    "free bits": ("orange", "v"),
    "free bits per channel": ("orange", "P"),
    "KL annealing": ("purple", "<"),
    "GECO": ("gray", "*"),
}


def main(_):
    """Draws one panel."""
    found = read()
    chosen, left_out = points.of_sweep(found, SPLIT.value)
    rate = {"aux": "rate_aux_bits", "ar1": "rate_bits"}[RATE.value]
    baseline = [p for p in chosen if p.method == "autoregressive"]
    shown = [p for p in chosen if p.method != "autoregressive"]
    if not shown:
        raise ValueError("No run with latents: there is no rate to show")
    fig, axes = style.figure()
    scatter(axes, shown, rate, "distortion_bits")
    if baseline:
        cost = baseline[0].mean("distortion_bits")
        rates = np.linspace(0, axes.get_xlim()[1], 2)
        low, high = axes.get_ylim()
        axes.axhline(cost, color="black", linewidth=1, label="decoder alone")
        axes.plot(
            rates, cost - rates, ":", color="black", linewidth=1,
            label="same bits in all as the decoder alone",
        )  # fmt: skip
        margin = 0.1 * (high - low)
        axes.set_ylim(min(low, cost - margin), max(high, cost + margin))
    prior = {"aux": "auxiliary prior", "ar1": "training prior"}[RATE.value]
    axes.set(
        xlabel=f"rate under the {prior} (bits per image)",
        ylabel="distortion (bits per image)",
        title=title(found, SPLIT.value),
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=10)
    points.report(left_out)
    style.save(fig, FIGURE.value)


def read():
    """The sweeps of --results, as one."""
    return points.read_together(RESULTS.value)


def scatter(axes, shown, x, y):
    """Points with error bars of one deviation over seeds, joined within a method."""
    labels = dict.fromkeys(point.label for point in shown)
    for label in labels:
        members = [p for p in shown if p.label == label]
        members.sort(key=lambda point: point.mean(x))
        color, marker = _STYLES.get(label, ("gray", "."))
        line = "-" if len(members) > 1 else "none"
        shape = {"color": style.COLORS[color], "marker": marker, "linestyle": line}
        axes.plot([], [], linewidth=1, label=label, **shape)  # Without the bars.
        seeds = any(p.num_seeds > 1 for p in members)
        axes.errorbar(
            [p.mean(x) for p in members],
            [p.mean(y) for p in members],
            xerr=[p.deviation(x) for p in members] if seeds else None,
            yerr=[p.deviation(y) for p in members] if seeds else None,
            linewidth=1,
            elinewidth=0.8,
            capsize=2,
            **shape,
        )


def title(found, split):
    """What the points are of."""
    first = found["runs"][0]
    settings = [run["setting"] for run in found["runs"]]
    seeds = sorted({settings.count(setting) for setting in settings})
    plural = "s" if seeds[-1] > 1 else ""
    return (
        f"{first[split]['data']}, {first[split]['num_examples']:,} images; "
        f"{first['steps']:,} steps, {' or '.join(map(str, seeds))} seed{plural}"
    )


if __name__ == "__main__":
    flags.run(main)
