r"""Figure 4b: the linear probe's accuracy against the rate.

  python -m experiments.figures.probe \
      --results=experiments/results/sweep_digits.json \
      --figure=docs/figures/probe.png

--results is what experiments.rate_distortion wrote, or the folder of its runs; or
several of the same data and length, separated by commas.
"""

from experiments import flags
from experiments.figures import points, rate_distortion, style


def main(_):
    """Draws one panel."""
    found = rate_distortion.read()
    chosen, left_out = points.of_sweep(found)
    shown = [p for p in chosen if "probe_accuracy" in p.values]
    left_out += [f"{p.setting}: no latents" for p in chosen if p not in shown]
    if not shown:
        raise ValueError("No run has a probe's accuracy: there is nothing to show")
    for point in shown:
        point.values["probe_percent"] = 100 * point.values["probe_accuracy"]
    rate = {"aux": "rate_aux_bits", "ar1": "rate_bits"}[rate_distortion.RATE.value]
    fig, axes = style.figure()
    rate_distortion.scatter(axes, shown, rate, "probe_percent")
    prior = "auxiliary" if rate == "rate_aux_bits" else "training"
    axes.set(
        xlabel=f"rate under the {prior} prior (bits per image)",
        ylabel="linear probe accuracy (%)",
        title=rate_distortion.title(found, "test"),
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=10)
    points.report(left_out)
    style.save(fig, rate_distortion.FIGURE.value)


if __name__ == "__main__":
    flags.run(main)
