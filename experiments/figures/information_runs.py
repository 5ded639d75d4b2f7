r"""What measured runs carry, under the most that their priors let them carry.

  python -m experiments.figures.information_runs \
      --results=experiments/results/sweep_fashion_14.json \
      --figure=docs/figures/information_runs.png

Bits of rate above the committed one against bits of information: the auxiliary rate
(filled), which I(x; z) cannot exceed, and the estimate of I(x; z) (hollow); and, for
each prior, the information frontier. --results is as for
`experiments.figures.rate_distortion`.
"""

import types

import numpy as np

from deltavae_tf import units
from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import metric
from experiments import flags
from experiments.figures import points, scatter, style

_NUM_RATES = 60
_ABOVE, _INFORMATION = "rate_above_delta_nats", "mutual_information_nats"
_SHOWN = {"filled: auxiliary rate": "gray", "hollow: I(x; z), at most log N": "none"}
_LINES = ("-", "--", "-.", ":")


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
    above = metric.find(_ABOVE)
    left_out += [
        f"{p.setting}: no rate above delta, which a logarithmic axis cannot show"
        for p in shown
        if p.mean(_ABOVE) <= 0
    ]
    shown = [p for p in shown if p.mean(_ABOVE) > 0]
    for label in dict.fromkeys(p.label for p in shown):
        _draw_points(axes, [p for p in shown if p.label == label], above)
    for name, fill in _SHOWN.items():
        axes.plot([], [], "o", color="gray", markerfacecolor=fill, label=name)
    drawn = {}
    for point in shown:
        rates = [above.shown(p.mean(_ABOVE)) for p in shown]
        left_out += _draw_frontier(axes, point, rates, drawn)
    example = scatter.EXAMPLE[found.runs[0].kind]
    axes.set(
        xscale="log",
        yscale="log",
        xlabel=above.axis(example),
        ylabel=f"information (bits per {example})",
        title=points.title(found),
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    points.report(left_out)
    style.save(fig, scatter.FIGURE.value)


def _draw_points(axes, members, above):
    shape = points.style(members[0].hparams)
    # Here hollow means another measure: the rarer encoder is smaller instead.
    small = shape.pop("markerfacecolor", None) is not None
    axes.plot([], [], label=members[0].label, linestyle="none", **shape, **_size(small))
    for name, fill in (("rate_aux_nats", shape["color"]), (_INFORMATION, "none")):
        # What is 0 or, by the noise of its estimate, below has no place on the axis.
        those = [p for p in members if p.values.get(name, np.zeros(1)).mean() > 0]
        axes.plot(
            [above.shown(p.mean(_ABOVE)) for p in those],
            [metric.find(name).shown(p.mean(name)) for p in those],
            linestyle="none",
            markerfacecolor=fill,
            **shape,
            **_size(small),
        )


def _size(small):
    return {"markersize": 5 if small else 9}


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
    line = _LINES[len(drawn) % len(_LINES)]
    (drawn[key],) = axes.plot(
        *information,
        color=points.style(point.hparams)["color"] if high else "black",
        linestyle=line,
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
    part = points.component("prior", point.hparams)
    from experiments.build import components

    channels = point.hparams["latent_channels"]
    if "units" not in point.values or not channels:
        return None
    sizes = components.Sizes(
        kind="images", num_timesteps=round(point.mean("units")) // channels
    )
    hparams = types.SimpleNamespace(kind="images", **point.hparams)
    prior = part.make(hparams, sizes)
    return prior if hasattr(prior, "alpha") else None


if __name__ == "__main__":
    flags.run(main)
