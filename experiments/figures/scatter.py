"""Points of runs on axes that are metrics, and the flags of figures made of them."""

from deltavae_tf.evaluation import metric
from experiments import flags
from experiments.figures import points, results

FIGURE = flags.define_path("figure", None, "The .png file to write.")
RESULTS = flags.flags.DEFINE_list("results", [], "Sweeps' results or folders.")
RATE = flags.flags.DEFINE_enum(
    "rate", "auxiliary", ["auxiliary", "training"], "Under which prior."
)
LOG_RATE = flags.flags.DEFINE_bool(
    "log_rate", False, "A logarithmic axis of the rate, where rates differ much."
)
EXAMPLE = {"images": "image", "text": "sentence"}


def read(any_length: bool = False) -> results.Results:
    """The results of --results, as one; see `results.read_together`."""
    return results.read_together(RESULTS.value, any_length)


def rate() -> metric.Metric:
    """The rate that --rate asks for."""
    name = {"auxiliary": "rate_aux_nats", "training": "rate_nats"}[RATE.value]
    return metric.find(name)


def draw(axes, shown, x: metric.Metric, y: metric.Metric) -> None:
    """Points with error bars of one deviation over seeds, joined within a method."""
    labels = dict.fromkeys(point.label for point in shown)
    for label in labels:
        members = [p for p in shown if p.label == label]
        members.sort(key=lambda point: point.mean(x.name))
        line = "-" if len(members) > 1 else "none"
        shape = {**points.style(members[0].hparams), "linestyle": line}
        axes.plot([], [], linewidth=1, label=label, **shape)  # Without the bars.
        seeds = any(p.num_seeds > 1 for p in members)
        axes.errorbar(
            *([m.shown(p.mean(m.name)) for p in members] for m in (x, y)),
            **{
                f"{direction}err": [m.shown(p.deviation(m.name)) for p in members]
                for direction, m in (("x", x), ("y", y))
                if seeds
            },
            linewidth=1,
            elinewidth=0.8,
            capsize=2,
            **shape,
        )


def label_axes(axes, found, x: metric.Metric, y: metric.Metric, split: str) -> None:
    """Names and units of both axes, the title, and the legend beside."""
    example = EXAMPLE[found.runs[0].kind]
    axes.set(
        xlabel=x.axis(example), ylabel=y.axis(example), title=points.title(found, split)
    )
    if LOG_RATE.value:
        axes.set_xscale("log")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=10)
