r"""Figure 4b: the linear probe's accuracy against the rate.

  python -m experiments.figures.probe \
      --results=experiments/results/sweep_fashion_14_more.json \
      --figure=docs/figures/probe.png

--results is what experiments.sweep wrote, or the folder of its runs; or several of the
same data and length, separated by commas. --metric shows another number that is
measured of latents, such as reconstruction_agreement.
"""

from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import metric
from experiments import flags
from experiments.figures import points, scatter, style

_METRIC = flags.flags.DEFINE_string("metric", "probe_accuracy", "What is shown.")


def main(_):
    """Draws one panel."""
    found, chosen_metric = scatter.read(), metric.find(_METRIC.value)
    chosen, left_out = points.of(found)
    shown = [p for p in chosen if chosen_metric.name in p.values]
    left_out += [
        f"{p.setting}: {'no latents' if p.is_baseline else 'not measured'}"
        for p in chosen
        if p not in shown
    ]
    if not shown:
        raise UserError(
            f"--results must have runs that measured {chosen_metric.name}: there is "
            f"nothing to show. Received: {len(found.runs)} without"
        )
    fig, axes = style.figure()
    scatter.draw(axes, shown, scatter.rate(), chosen_metric)
    scatter.label_axes(axes, found, scatter.rate(), chosen_metric, "held_out")
    points.report(left_out)
    style.save(fig, scatter.FIGURE.value)


if __name__ == "__main__":
    flags.run(main)
