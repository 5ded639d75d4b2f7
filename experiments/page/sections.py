"""The sections that tell of runs in numbers, each a function that gives HTML."""

import datetime

from deltavae_tf.evaluation import record as records
from deltavae_tf.evaluation import tables, verdict
from deltavae_tf.training import run_folder
from experiments.page import charts, folder, parts
from experiments.page.markup import Markup, join, table, tag

_MOST_ROWS = 200  # Of a table; more are nobody's.
_SOFTWARE = ("python", "tensorflow", "jax", "keras", "deltavae-tf", "keras_backend")


def title(runs: list[folder.Shown]) -> str:
    """Of the page, a text."""
    names = [run.name for run in runs]
    return names[0] if len(runs) == 1 else f"{len(runs)} runs: {', '.join(names)}"


def verdicts(runs: list[folder.Shown]) -> Markup:
    """What each run is, and what its latents carry."""
    return parts.cards(runs, _verdict)


def _verdict(run):
    wanted = run.hparams.get("train_steps")
    return join([
        tag("p", f"{run.experiment}, step {run.step:,} of {parts.plain(wanted)}",
            class_="quiet"),
        tag("p", _verdict_line(run), class_="verdict"),
    ])  # fmt: skip


def _verdict_line(run):
    try:
        if run.record:
            return verdict.line(run.record)
        found = _last_evaluation(run)
        if found:
            return f"During training: {verdict.line(found)}"
    except (KeyError, ValueError, ArithmeticError, TypeError):
        pass
    return "No verdict: the run is not evaluated."


def _last_evaluation(run):
    """The last evaluation of metrics.jsonl: what the verdict reads of a record."""
    prefix = run.prefix()
    rows = [row for row in run.rows if f"{prefix}rate_aux_nats" in row]
    if not prefix or not rows:
        return None
    numbers = {
        name.removeprefix(prefix): value
        for name, value in rows[-1].items()
        if name.startswith(prefix)
    }
    return {
        "data": {"kind": run.kind},
        "weights": {"raw": {"held_out": numbers, "training": {}}},
    }


def settings(runs: list[folder.Shown]) -> Markup:
    """Every hyper-parameter; of several runs those that differ are marked and open."""
    names = sorted({name for run in runs for name in run.hparams})[:_MOST_ROWS]

    def row(name):
        values = [
            parts.plain(run.hparams[name]) if name in run.hparams else "(not read)"
            for run in runs
        ]
        differs = len(set(values)) > 1
        return differs, [f"\N{NOT EQUAL TO} {name}" if differs else name, *values]

    rows = [row(name) for name in names]
    header = ["hyper-parameter", *parts.headings(runs, "value")]
    different = [cells for differs, cells in rows if differs]
    same = table(header, [cells for differs, cells in rows if not differs])
    if len(runs) == 1:
        return tag("details", tag("summary", f"{len(rows)} hyper-parameters"), same)
    summary = f"{len(rows) - len(different)} hyper-parameters that are equal"
    first = tag("p", "All runs have the same hyper-parameters.")
    if different:
        first = table(header, different, ["differs"] * len(different))
    return join([first, tag("details", tag("summary", summary), same)])


def curves(runs: list[folder.Shown]) -> Markup:
    """Charts of metrics.jsonl; runs of one kind of data share them."""
    kinds = {run.kind for run in runs}
    if len(kinds) > 1:
        return tag(
            "p",
            "Runs on images and runs on text count in other units: their curves are "
            "on pages of their own.",
        )
    panels = charts.curves(runs)
    if not panels:
        return tag("p", "metrics.jsonl has no numbers yet.")
    weights = {"eval_ema_": "averaged", "eval_": "raw", "": "raw (training)"}
    used = sorted({weights[run.prefix()] for run in runs})
    note = (
        f"Held-out numbers are of {' and '.join(used)} weights. delta is the committed "
        "rate, below which no posterior can go."
    )
    if kinds == {"images"}:
        note += (
            " The information frontier is the most information about x that a "
            "posterior of this rate can carry."
        )
    return join([parts.panels(panels), tag("p", note, class_="quiet")])


def numbers(runs: list[folder.Shown]) -> Markup:
    """evaluation.json as a table, all runs side by side."""
    measured = [(i, run) for i, run in enumerate(runs) if run.record]
    if not measured:
        return join([parts.absent(run, records.FILE) for run in runs])
    columns = {}
    for number, run in measured:
        for name, values in tables.measured_columns(run.record).items():
            mark = f"{charts.letter(number)}: " if len(runs) > 1 else ""
            columns[f"{mark}{name}"] = values
    names = {name for values in columns.values() for name in values}
    example = {"images": "image", "text": "sentence"}[measured[0][1].kind]
    rows = [
        [
            join([m.axis(example), tag("small", m.meaning)]),
            *(tables.cell(m, values) or "-" for values in columns.values()),
        ]
        for m in tables.known(names)[:_MOST_ROWS]
    ]
    about = [*(_about(run) for _, run in measured), "+- is one standard error."]
    lines = [tag("p", line, class_="quiet") for line in about]
    return join([*lines, table(["", *columns], rows)])


def _about(run):
    data = run.record["data"]["held_out"]
    note = f" ({data['note']})" if data["note"] else ""
    return (
        f"{run.name}: step {run.record['step']:,}, {data['num_examples']:,} examples "
        f"of {data['name']}{note}."
    )


def cost(runs: list[folder.Shown]) -> Markup:
    """Steps, time, size, and what it ran on."""
    rows = {
        "steps": [f"{run.step:,}" for run in runs],
        "training time": [_duration(run) for run in runs],
        "parameters": [_parameters(run) for run in runs],
        "hardware": [_version(run, "hardware") for run in runs],
        "software": [_software(run) for run in runs],
        "commit": [_version(run, "git_commit") for run in runs],
        "command": [tag("code", run.command or "not known") for run in runs],
    }
    found = [[name, *values] for name, values in rows.items()]
    return table(["", *parts.headings(runs, "")], found)


def _duration(run):
    try:
        seconds = run_folder.training_seconds(run.rows)
        whole = datetime.timedelta(seconds=round(seconds))
    except (KeyError, TypeError, ArithmeticError, ValueError):
        return "not known"
    return f"{seconds:,.0f} seconds ({whole}), evaluations left out"


def _parameters(run):
    count = run.record and run.record["model"]["parameters"]
    return f"{count:,}" if count else "not known before it is evaluated"


def _version(run, name):
    return parts.plain(run.versions.get(name) or "not known")


def _software(run):
    found = [f"{k} {run.versions[k]}" for k in _SOFTWARE if run.versions.get(k)]
    return ", ".join(found) or "not known"


def missing(runs: list[folder.Shown]) -> Markup:
    """What the page does not show, and what would make it; "" for nothing."""
    lines = [(run, line) for run in runs for line in dict.fromkeys(run.missing)]
    if not lines:
        return Markup()
    prefix = len(runs) > 1
    items = [
        tag("li", f"{run.name}: {line}" if prefix else line) for run, line in lines
    ]
    return join([tag("h2", "Not there"), tag("ul", *items)])
