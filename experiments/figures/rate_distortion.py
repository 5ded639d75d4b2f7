r"""Figures 4a and 6: rate and distortion of a sweep's models, in bits per image.

  python -m experiments.figures.rate_distortion \
      --results=experiments/results/sweep_fashion_14_more.json --split=test --log_rate \
      --figure=docs/figures/rate_distortion.png

--results is what experiments.sweep wrote, or the folder of its runs; or several of the
same data and length, separated by commas.
--split=train gives Figure 6. The rate is that under the auxiliary prior, as in the
paper; --rate=training shows what the model was trained with.
"""

import numpy as np

from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import metric
from experiments import flags
from experiments.figures import points, results, scatter, style

SPLIT = flags.flags.DEFINE_enum("split", "test", list(results.SPLITS), "Of which data.")


def main(_):
    """Draws one panel."""
    found, split = scatter.read(), results.SPLITS[SPLIT.value]
    chosen, left_out = points.of(found, split)
    rate, distortion = scatter.rate(), metric.find("distortion_nats")
    baseline = [p for p in chosen if p.is_baseline]
    shown = [p for p in chosen if not p.is_baseline]
    if not shown:
        raise UserError(
            "--results must have a run with latents: there is no rate to show. "
            f"Received: {', '.join(p.setting for p in chosen) or 'no run'}"
        )
    fig, axes = style.figure()
    scatter.draw(axes, shown, rate, distortion)
    if baseline:
        _draw_baseline(axes, distortion.shown(baseline[0].mean(distortion.name)))
    scatter.label_axes(axes, found, rate, distortion, split)
    points.report(left_out)
    style.save(fig, scatter.FIGURE.value)


def _draw_baseline(axes, cost):
    rates = np.linspace(0, axes.get_xlim()[1], 1000)
    low, high = axes.get_ylim()
    axes.axhline(cost, color="black", linewidth=1, label="decoder alone")
    axes.plot(
        rates, cost - rates, ":", color="black", linewidth=1,
        label="same bits in all as the decoder alone",
    )  # fmt: skip
    margin = 0.1 * (high - low)
    axes.set_ylim(min(low, cost - margin), max(high, cost + margin))


if __name__ == "__main__":
    flags.run(main)
