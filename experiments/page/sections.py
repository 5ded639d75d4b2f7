"""The sections of the page, each a function of runs that gives HTML."""

import datetime
import shlex

from deltavae_tf.evaluation import record as records
from deltavae_tf.evaluation import tables, verdict
from deltavae_tf.training import run_folder
from experiments.page import charts, folder
from experiments.page.markup import Markup, image, join, table, tag

_MOST_ROWS = 200  # Of a table; more are nobody's.
_MOST_TEXTS = 16
_PICTURES = 2_200_000  # Bytes, of all pictures that run folders hold.
_SOFTWARE = ("python", "tensorflow", "jax", "keras", "deltavae-tf", "keras_backend")


def title(runs: list[folder.Shown]) -> str:
    """Of the page, a text."""
    names = [run.name for run in runs]
    return names[0] if len(runs) == 1 else f"{len(runs)} runs: {', '.join(names)}"


def verdicts(runs: list[folder.Shown]) -> Markup:
    """What each run is, and what its latents carry."""
    return _cards(runs, _verdict)


def _verdict(run):
    wanted = run.hparams.get("train_steps")
    return join([
        tag("p", f"{run.experiment}, step {run.step:,} of {_plain(wanted)}",
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
    """Every hyper-parameter; of several runs those that differ come first, marked."""
    names = sorted({name for run in runs for name in run.hparams})

    def value(run, name):
        return _plain(run.hparams[name]) if name in run.hparams else "(not read)"

    differ = [n for n in names if len({value(run, n) for run in runs}) > 1]
    order = [*differ, *(name for name in names if name not in differ)][:_MOST_ROWS]
    rows = [
        [f"\N{NOT EQUAL TO} {n}" if n in differ else n, *(value(r, n) for r in runs)]
        for n in order
    ]
    classes = ["differs" if name in differ else None for name in order]
    return table(["hyper-parameter", *_headings(runs, "value")], rows, classes)


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
            " The information frontier is the most that a posterior of this rate can "
            "carry of x; no bound on the rate itself."
        )
    return join([_panels(panels), tag("p", note, class_="quiet")])


def rates(runs: list[folder.Shown]) -> Markup:
    """The rate of each row and channel."""
    return _cards(runs, _rates)


def _rates(run):
    if not run.has_latents:
        return tag("p", "A decoder alone: there is no rate.", class_="quiet")
    if not run.latents:
        return _absent(run, "latents.json")
    if not run.latents.get("rate_nats"):
        text = "The rates of rows and channels are known of AR(1) priors only."
        return tag("p", text, class_="quiet")
    note = f"Means over {_measured(run)}. A row's rate is its KL given the row before."
    if run.kind == "text":
        note = note.replace("A row's", "A token's").replace("the row", "the token")
    panels = charts.rates(run.latents)
    return join([_panels(panels), tag("p", note, class_="quiet")])


def samples(runs: list[folder.Shown]) -> Markup:
    """The last samples that were drawn."""
    return _cards(runs, lambda run: _samples(run, len(runs)))


def _samples(run, count):
    if run.kind == "text":
        lines = run.texts("step-*.txt")
        if lines is not None:
            return tag("ol", *(tag("li", line) for line in lines[:_MOST_TEXTS]))
        return _absent(run, "samples")
    return _picture(run, "step", "Samples from the model", count)


def reconstructions(runs: list[folder.Shown]) -> Markup:
    """Held-out examples and what is decoded from their latents."""
    return _cards(runs, lambda run: _reconstructions(run, len(runs)))


def _reconstructions(run, count):
    if not run.has_latents:
        return tag("p", "A decoder alone reconstructs nothing.", class_="quiet")
    if run.kind == "text":
        pairs = run.texts("reconstructions-*.json")
        if pairs is None:
            return _absent(run, "reconstructions")
        rows = [list(pair) for pair in pairs[:_MOST_TEXTS]]
        return table(["held-out sentence", "reconstruction"], rows)
    what = "Upper row: held-out images; below each a reconstruction"
    return _picture(run, "reconstructions", what, count)


def neighbors(runs: list[folder.Shown]) -> Markup:
    """Held-out examples and those whose latents are nearest."""
    return _cards(runs, lambda run: _neighbors(run, len(runs)))


def _neighbors(run, count):
    if not run.has_latents:
        return tag("p", "A decoder alone has no latents to compare.", class_="quiet")
    if not run.latents:
        return _absent(run, "latents.json")
    measured = _measured(run)
    if run.kind == "text":
        rows = run.latents.get("neighbors")
        if not isinstance(rows, list):
            return _absent(run, "neighbors")
        parts = []
        for first, *near in (row for row in rows[:_MOST_TEXTS] if row):
            near = tag("ol", *(tag("li", line) for line in near[:_MOST_TEXTS]))
            parts.append(join([tag("p", first), near]))
        note = f"A sentence, and those nearest to it of {measured}, by the mean of its "
        return join([tag("p", f"{note}latents.", class_="quiet"), *parts])
    what = f"Upper row: held-out images; below each the nearest of {measured}"
    found = run.latents.get("same_class")
    note = ""
    if isinstance(found, dict):
        names = [name for name in ("latents", "pixels", "chance") if name in found]
        shares = [f"{_percent(found[name])} by {name}" for name in names]
        note = f"The nearest other image is of the same class: {', '.join(shares)}."
    return join([_picture(run, "neighbors", what, count), tag("p", note)])


def numbers(runs: list[folder.Shown]) -> Markup:
    """evaluation.json as a table, all runs side by side."""
    measured = [(i, run) for i, run in enumerate(runs) if run.record]
    if not measured:
        return join([_absent(run, records.FILE) for run in runs])
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
    about = [_about(run) for _, run in measured]
    lines = [tag("p", line, class_="quiet") for line in about]
    return join([*lines, table(["", *columns], rows)])


def _about(run):
    data = run.record["data"]["held_out"]
    note = f" ({data['note']})" if data["note"] else ""
    return (
        f"{run.name}: step {run.record['step']:,}, {data['num_examples']:,} examples "
        f"of {data['name']}{note}. +- is one standard error."
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
        "command": [_command(run) for run in runs],
    }
    found = [[name, *values] for name, values in rows.items()]
    return table(["", *_headings(runs, run_word="")], found)


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
    return _plain(run.versions.get(name) or "not known")


def _software(run):
    found = [f"{k} {run.versions[k]}" for k in _SOFTWARE if run.versions.get(k)]
    return ", ".join(found) or "not known"


def _command(run):
    command = run.versions.get("command")
    if not isinstance(command, list):
        return "not known"
    return tag("code", shlex.join(map(str, command)))


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


def _cards(runs, show):
    """What `show` makes of each run, side by side where there is room."""
    if len(runs) == 1:
        return show(runs[0])
    cards = [
        tag("div", tag("h3", _chip(number), run.name), show(run), class_="card")
        for number, run in enumerate(runs)
    ]
    return tag("div", *cards, class_="cards")


def _chip(number):
    style = f"background:{charts.color(number)}"
    return tag("span", charts.letter(number), class_="chip", style=style)


def _headings(runs, run_word):
    if len(runs) == 1:
        return [run_word]
    return [join([_chip(i), run.name]) for i, run in enumerate(runs)]


def _panels(panels):
    figures = [
        tag("figure", tag("figcaption", name), image(png, f"Chart: {name}"))
        for name, png in panels.items()
    ]
    return tag("div", *figures, class_="panels")


def _picture(run, name, what, count):
    found = run.picture(name, _PICTURES // (3 * count))
    if found is None:
        return _absent(run, f"samples/{name}-*.png")
    step = found[0].rpartition("-")[2].removesuffix(".png").lstrip("0")
    caption = tag("figcaption", f"{what}; step {step}.")
    return tag("figure", image(found[1], what, "pixels"), caption)


def _absent(run, name):
    return tag("p", f"{name} is not there. This makes it: ", tag("code", run.evaluate))


def _measured(run):
    found = run.latents
    weights = {"average": "averaged"}.get(found.get("weights"), "raw")
    return (
        f"{_plain(found.get('num_examples'))} examples of {_plain(found.get('data'))} "
        f"(step {_plain(found.get('step'))}, {weights} weights)"
    )


def _percent(value):
    return f"{value:.0%}" if isinstance(value, int | float) else _plain(value)


def _plain(value):
    """A JSON value as a short text."""
    text = "none" if value is None else str(value)
    if isinstance(value, bool):
        text = text.lower()
    elif isinstance(value, int):
        text = f"{value:,}"
    return text if len(text) <= 200 else f"{text[:200]} ..."
