"""The curves and bars of a page, each a PNG; runs are called A, B, ... in them."""

import io

import numpy as np

from deltavae_tf import units
from experiments.figures import style
from experiments.figures.style import plt

_SIZE = (4.8, 3.3)  # Inches: still legible at the width of a phone.
_MOST_POINTS = 400
_EARLY = 0.1  # The share of a run whose high costs do not set an axis.
_LEAST_RATIO = 3  # Of the highest to the lowest number on a logarithmic axis.
_LINES = {
    "solid": {"linestyle": "-"},
    "dashed": {"linestyle": "--"},
    "dotted": {"linestyle": ":"},
    "dashdot": {"linestyle": "-."},
    "band": {"linestyle": "-", "linewidth": 5, "alpha": 0.3},  # Beneath another line.
}
_BITS = 1 / units.NATS_PER_BIT
_RUNS = ("blue", "red", "green", "orange", "purple", "sky")
MOST_RUNS = len(_RUNS)


def color(number: int) -> str:
    """Of a run, by its number: "#0072B2"."""
    return style.COLORS[_RUNS[number]]


def curves(runs: list) -> dict[str, bytes]:
    """{what a panel shows: PNG} from metrics.jsonl; panels without a number are left
    out.

    Args:
      runs: list of `folder.Shown`, all of one kind.
    """
    text = runs[0].kind == "text"
    unit = "per_token" if text else "bpd"
    cost = "nats/token" if text else "bits/dim"
    rate = "nats/token" if text else "bits per image"
    factor, suffix = (1.0, "per_token") if text else (_BITS, "nats")
    # (column, label, line, color where there is one run, factor); {e} stands for the
    # prefix of evaluations, {p} for the same or, without any, for that of training.
    bounds = [
        (f"nelbo_{unit}", "training", "dotted", "gray", 1.0),
        (f"{{e}}nelbo_{unit}", "held-out", "solid", "blue", 1.0),
        (f"{{e}}nelbo_aux_{unit}", "held-out, aux. prior", "dashed", "orange", 1.0),
    ]
    rates = [
        (f"{{p}}rate_{suffix}", "rate", "solid", "blue", factor),
        (f"{{p}}rate_aux_{suffix}", "auxiliary rate", "dashed", "orange", factor),
        (f"{{p}}committed_rate_{suffix}", "delta", "band", "black", factor),
    ]
    if not text:
        frontier = "{p}information_frontier_nats"
        rates.append((frontier, "information frontier", "dashdot", "green", factor))
    above = [("{p}rate_above_delta_nats", "rate above delta", "solid", "blue", _BITS)]
    distortion = [
        (f"distortion_{suffix}", "training", "dotted", "gray", factor),
        (f"{{e}}distortion_{suffix}", "held-out", "solid", "blue", factor),
    ]
    norm = [("grad_norm", "gradient norm", "solid", "blue", 1.0)]
    step = [("lr", "learning rate", "solid", "blue", 1.0)]
    example = "sentence" if text else "image"
    shown = "rates and delta" if text else "rates, delta and the information frontier"
    made = {
        "negative ELBO": _panel(runs, bounds, cost),
        shown: _panel(runs, rates, rate, right=not text),
        "rate above delta": _panel(runs, above, f"bits per {example}", log=True),
        "distortion": _panel(runs, distortion, cost if text else rate),
        "gradient norm": _panel(runs, norm, "gradient norm", log=True),
        "learning rate": _panel(runs, step, "learning rate"),
    }
    return {name: png for name, png in made.items() if png}


def _panel(runs, chosen, ylabel, log=False, right=False):
    fig, axes = style.figure(1, *_SIZE)
    late, drawn = [], {}
    for number, run in enumerate(runs):
        for column, label, line, role, factor in chosen:
            if "{e}" in column and not run.prefix():
                continue
            column = column.format(p=run.prefix(), e=run.prefix())
            steps, values = run.series(column)
            values = factor * np.array(values, float)
            steps = np.array(steps)
            if log:
                steps, values = steps[values > 0], values[values > 0]
            if not len(values):
                continue
            late += list(values[steps >= _EARLY * max(steps)])
            stride = -(-len(values) // _MOST_POINTS)
            shown = slice((len(values) - 1) % stride, None, stride)  # With the last.
            axes.plot(
                steps[shown],
                values[shown],
                **_line(line),
                marker="." if len(values) < 20 and line != "band" else "",
                markersize=5,
                color=style.COLORS[role] if len(runs) == 1 else color(number),
            )
            drawn[label] = line, role
    if not drawn:
        plt.close(fig)
        return None
    _legend(axes, runs, drawn)
    axes.set(xlabel="step", ylabel=ylabel)
    low, high = min(late), max(late)
    if log and high > _LEAST_RATIO * low:
        axes.set_yscale("log")
    else:
        margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        if right:
            _bits_per_dim(axes, runs)
    return _png(fig)


def _line(name):
    return {"linewidth": 1.5, **_LINES[name]}


def _legend(axes, runs, drawn):
    entries = [
        plt.Line2D(
            [],
            [],
            **_line(line),
            label=label,
            color=style.COLORS[role] if len(runs) == 1 else style.COLORS["gray"],
        )
        for label, (line, role) in drawn.items()
    ]
    if len(runs) > 1:
        entries += [
            plt.Line2D([], [], linewidth=4, color=color(number), label=letter(number))
            for number in range(len(runs))
        ]
    axes.legend(
        handles=entries,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2,
        fontsize=9,
    )


def _bits_per_dim(axes, runs):
    """A second axis in bits/dim, where a row tells how many dimensions there are."""
    for run in runs:
        (nats, bpd) = (run.series(name)[1] for name in ("rate_nats", "rate_bpd"))
        if nats and bpd and nats[-1] > 0 and bpd[-1] > 0:
            dims = nats[-1] * _BITS / bpd[-1]
            functions = (lambda y, dims=dims: y / dims, lambda y, dims=dims: y * dims)
            axes.secondary_yaxis("right", functions=functions).set_ylabel("bits/dim")
            return


def letter(number: int) -> str:
    """What a run is called in charts: "A", "B", ..."""
    return chr(ord("A") + number)


def rates(latents: dict) -> dict[str, bytes]:
    """{what a panel shows: PNG} of the rates by row and channel of a latents.json."""
    rate = _BITS * np.array(latents["rate_nats"], float)
    committed = _BITS * np.array(latents["committed_rate_nats"], float)
    row = "token" if latents["kind"] == "text" else "row"
    return {
        f"rate of each {row}": _bars(rate.sum(1), committed.sum(1), row),
        "rate of each channel": _bars(rate.sum(0), committed.sum(0), "channel"),
        f"rate above delta, by {row} and channel": _map(rate - committed, row),
    }


def _bars(total, committed, what):
    fig, axes = style.figure(1, *_SIZE)
    place = np.arange(1, len(total) + 1)
    axes.bar(place, total, color=style.COLORS["sky"], label="rate")
    edges = np.append(place - 0.5, place[-1] + 0.5)
    axes.stairs(
        committed, edges, color="black", linewidth=1.5, label="delta", baseline=None
    )
    axes.set(xlabel=what, ylabel="bits", xlim=(edges[0], edges[-1]))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=9)
    axes.grid(axis="x", visible=False)
    return _png(fig)


def _map(above, row):
    fig, axes = style.figure(1, *_SIZE)
    shown = axes.pcolormesh(
        np.arange(above.shape[0] + 1) + 0.5,
        np.arange(above.shape[1] + 1) + 0.5,
        np.maximum(above.T, 0.0),
        cmap="viridis",
        vmin=0,
    )
    fig.colorbar(shown, label="bits")
    axes.set(xlabel=row, ylabel="channel")
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    axes.grid(visible=False)
    return _png(fig)


def _png(fig):
    file = io.BytesIO()
    fig.savefig(file, format="png")
    plt.close(fig)
    return file.getvalue()
