"""A sweep as a table: a setting a row, a metric a column."""

import numpy as np

from deltavae_tf.evaluation import metric, tables
from deltavae_tf.evaluation import record as records
from experiments.figures import points, results

_FIXED = ("committed_rate_nats", "committed_rate_per_token")  # By the setting.


def table(found: results.Results) -> str:
    """Means +- one deviation over seeds, on the held-out examples, in Markdown; what
    they were measured on and what was left out below.
    """
    chosen, left_out = points.of(found)
    first = found.runs[0]
    columns = tables.columns([point.values for point in chosen], first.kind)
    rows = [
        [f"{p.label} (`{p.setting}`)", *(_cell(p, m) for m in columns)] for p in chosen
    ]
    lines = [tables.markdown(["setting", *(m.title for m in columns)], rows)]
    lines += [_about(found, chosen), *(f"Left out: {line}" for line in left_out)]
    return "\n\n".join(lines)


def curves(found: results.Results) -> str | None:
    """The learning curves of the runs whose earlier steps were measured, in Markdown: a
    step a row; None if there are none.
    """
    rows = [
        (run, row["step"], records.numbers({**run.row, **row}))
        for run in found.runs
        for row in run.row.get("learning_curve", [])
    ]
    if not rows:
        return None
    columns = [
        m
        for m in tables.columns([numbers for *_, numbers in rows], found.runs[0].kind)
        if m.name not in _FIXED
    ]
    shown = [
        [
            f"`{run.setting}`",
            f"{step:,}",
            f"{step * run.hparams['batch_size'] / run.training['num_examples']:.1f}",
            *(m.text(numbers[m.name]) if m.name in numbers else "" for m in columns),
        ]
        for run, step, numbers in rows
    ]
    header = ["setting", "step", "epochs", *(m.title for m in columns)]
    return tables.markdown(header, shown)


def _cell(point, shown):
    if shown.name not in point.values:
        return ""
    text = shown.text(point.mean(shown.name))
    if point.num_seeds > 1 and shown.name not in _FIXED:
        text += f" +- {shown.text(point.deviation(shown.name))}"
    return text


def _about(found, chosen):
    first = found.runs[0]
    what = {"images": "images", "text": "sentences"}[first.kind]
    seeds = sorted({run.seed for run in found.runs})
    parts = [first.measured_on()]
    if first.training:
        parts.append(f"{first.training['num_examples']:,} training {what}")
    lengths = [run.steps for run in found.runs]
    least, most = f"{min(lengths):,}", f"{max(lengths):,}"
    steps = most if least == most else f"{least} to {most}"
    parts.append(f"{steps} steps of {first.hparams['batch_size']}")
    if first.parameters:
        parts.append(f"{first.parameters:,} parameters (`{first.setting}`)")
    parts += [f"seeds {', '.join(map(str, seeds))}", found.hardware]
    parts += [f"{first.weights} weights", "+- is one deviation over seeds"]
    about = f"{'; '.join(filter(None, parts))}."
    limit = metric.find("mutual_information_limit_nats")
    limits = [p.mean(limit.name) for p in chosen if limit.name in p.values]
    if limits:
        about += f" I(x; z) cannot exceed {limit.text(np.max(limits))} bits, log N."
    return about
