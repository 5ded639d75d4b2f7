r"""What measured runs carry, under the most that their priors let them carry.

  python -m experiments.figures.information_runs \
      --results=experiments/results/sweep_digits.json \
      --figure=docs/figures/information_runs.png

Bits of rate above the committed one against bits of information: the auxiliary rate
(filled), which I(x; z) cannot exceed, and the estimate of I(x; z) (hollow, an upper
limit of log N beside it); and, for each prior, the information frontier. --results is
as for `experiments.figures.rate_distortion`.
"""

import types

import numpy as np

from deltavae_tf import units
from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import metric
from experiments import flags
from experiments.figures import points, scatter, style

_NUM_RATES = 60
_SHOWN = {"rate_aux_nats": "auxiliary rate", "mutual_information_nats": "I(x; z)"}


def main(_):
    """Draws one panel, both axes logarithmic."""
    found = scatter.read()
    chosen, left_out = points.of(found)
    shown = [p for p in chosen if not p.is_baseline]
    left_out += [f"{p.setting}: no latents" for p in chosen if p.is_baseline]
    if not shown:
        raise UserError(
            "--results must have a run with latents: there is no information to show. "
            f"Received: {', '.join(p.setting for p in chosen) or 'no run'}"
        )
    fig, axes = style.figure(height=5.2)
    above = metric.find("rate_above_delta_nats")
    for label in dict.fromkeys(p.label for p in shown):
        members = [p for p in shown if p.label == label]
        _draw_points(axes, members, above)
    rates = [above.shown(p.mean(above.name)) for p in shown]
    drawn = {}
    for point in shown:
        left_out += _draw_frontier(axes, point, rates, drawn)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=above.axis(scatter.EXAMPLE[found.runs[0].kind]),
        ylabel="information (bits per image): filled auxiliary rate, hollow I(x; z)",
        title=points.title(found),
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    points.report(left_out)
    style.save(fig, scatter.FIGURE.value)


def _draw_points(axes, members, above):
    shape = points.style(members[0].hparams)
    shape.pop("markerfacecolor", None)  # Here hollow means another measure.
    for name in _SHOWN:
        those = [p for p in members if name in p.values]
        axes.plot(
            [above.shown(p.mean(above.name)) for p in those],
            [metric.find(name).shown(max(p.mean(name), 0.0)) for p in those],
            linestyle="none",
            markerfacecolor="none" if name != "rate_aux_nats" else None,
            label=members[0].label if name == "rate_aux_nats" else None,
            **shape,
        )


def _draw_frontier(axes, point, rates, drawn):
    """One prior's frontier, once; returns why there is none, as list of str."""
    prior = prior_of(point)
    if prior is None:
        return [f"{point.setting}: the frontier of its prior is not known"]
    delta = point.mean("committed_rate_nats")
    key = (*np.round(prior.alpha, 6), int(prior.event_shape[0]), round(delta, 3))
    if key in drawn:
        return []
    information = frontier(prior, delta, rates)
    low, high = np.min(prior.alpha), np.max(prior.alpha)
    name = "N(0, I)" if high == 0 else f"alpha {low:.3g} to {high:.3g}"
    if delta:
        name += f", {units.bits(delta):.1f} bits committed"
    (drawn[key],) = axes.plot(
        *information,
        color=f"C{len(drawn)}" if high else "black",
        linewidth=1,
        label=f"frontier, {name}",
    )
    return []


def frontier(prior, delta: float, rates: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The frontier over the range of some rates above delta: both in bits.

    Args:
      prior: `AR1`.
      delta: float, nats, the rate that is committed to.
      rates: list of float, bits above delta.
    """
    from deltavae_tf.distributions import information

    positive = [rate for rate in rates if rate > 0] or [1.0]
    above = np.geomspace(0.5 * min(positive), 2 * max(positive), _NUM_RATES)
    alpha = np.asarray(prior.alpha, np.float64)
    count = int(prior.event_shape[0])
    carried = [
        units.bits(
            float(information.information_at_rate(delta + units.nats(a), alpha, count))
        )
        for a in above
    ]
    return above, np.array(carried)


def prior_of(point: points.Point):
    """The prior of an image run, or None if its frontier is not known."""
    from experiments import sets  # noqa: F401: the parts need it imported before.
    from experiments.build import components

    channels = point.hparams["latent_channels"]
    if "units" not in point.values or not channels:
        return None
    sizes = components.Sizes(
        kind="images", num_timesteps=round(point.mean("units")) // channels
    )
    hparams = types.SimpleNamespace(kind="images", **point.hparams)
    prior = components.find("prior", point.hparams["prior"]).make(hparams, sizes)
    return prior if hasattr(prior, "alpha") else None


if __name__ == "__main__":
    flags.run(main)
