"""The sections that show what a model's latents hold, and what it draws."""

from experiments.page import charts, folder, parts
from experiments.page.markup import Markup, image, join, table, tag

_MOST_TEXTS = 16
_PICTURES = 2_200_000  # Bytes, of all pictures that run folders hold.


def rates(runs: list[folder.Shown]) -> Markup:
    """The rate of each row and channel."""
    return parts.cards(runs, _rates)


def _rates(run):
    if not run.has_latents:
        return tag("p", "A decoder alone: there is no rate.", class_="quiet")
    if not run.latents:
        return parts.absent(run, "latents.json")
    if not run.latents.get("rate_nats"):
        text = "The rates of rows and channels are known of AR(1) priors only."
        return tag("p", text, class_="quiet")
    note = f"Means over {_measured(run)}. A row's rate is its KL given the row before."
    if run.kind == "text":
        note = note.replace("A row's", "A token's").replace("the row", "the token")
    panels = charts.rates(run.latents)
    return join([parts.panels(panels), tag("p", note, class_="quiet")])


def samples(runs: list[folder.Shown]) -> Markup:
    """The last samples that were drawn."""
    return parts.cards(runs, lambda run: _samples(run, len(runs)))


def _samples(run, count):
    if run.kind == "text":
        lines = run.texts("step-*.txt")
        if lines is not None:
            return tag("ol", *(tag("li", line) for line in lines[:_MOST_TEXTS]))
        return parts.absent(run, "samples")
    return _picture(run, "step", "Samples from the model", count)


def reconstructions(runs: list[folder.Shown]) -> Markup:
    """Held-out examples and what is decoded from their latents."""
    return parts.cards(runs, lambda run: _reconstructions(run, len(runs)))


def _reconstructions(run, count):
    if not run.has_latents:
        return tag("p", "A decoder alone reconstructs nothing.", class_="quiet")
    if run.kind == "text":
        pairs = run.texts("reconstructions-*.json")
        if pairs is None:
            return parts.absent(run, "reconstructions")
        rows = [list(pair) for pair in pairs[:_MOST_TEXTS]]
        return table(["held-out sentence", "reconstruction"], rows)
    what = "Upper row: held-out images; below each a reconstruction"
    return _picture(run, "reconstructions", what, count)


def neighbors(runs: list[folder.Shown]) -> Markup:
    """Held-out examples and those whose latents are nearest."""
    return parts.cards(runs, lambda run: _neighbors(run, len(runs)))


def _neighbors(run, count):
    if not run.has_latents:
        return tag("p", "A decoder alone has no latents to compare.", class_="quiet")
    if not run.latents:
        return parts.absent(run, "latents.json")
    measured = _measured(run)
    if run.kind == "text":
        rows = run.latents.get("neighbors")
        if not isinstance(rows, list):
            return parts.absent(run, "neighbors")
        shown = []
        for first, *near in (row for row in rows[:_MOST_TEXTS] if row):
            near = tag("ol", *(tag("li", line) for line in near[:_MOST_TEXTS]))
            shown.append(join([tag("p", first), near]))
        note = f"A sentence, and those nearest to it of {measured}, by the mean of its "
        return join([tag("p", f"{note}latents.", class_="quiet"), *shown])
    what = f"Upper row: held-out images; below each the nearest of {measured}"
    found = run.latents.get("same_class")
    note = ""
    if isinstance(found, dict):
        names = [name for name in ("latents", "pixels", "chance") if name in found]
        shares = [f"{_percent(found[name])} by {name}" for name in names]
        note = f"The nearest other image is of the same class: {', '.join(shares)}."
    return join([_picture(run, "neighbors", what, count, False), tag("p", note)])


def _picture(run, name, what, count, of_step=True):
    found = run.picture(name, _PICTURES // (3 * count))
    if found is None:
        return parts.absent(run, f"samples/{name}-*.png")
    step = found[0].rpartition("-")[2].removesuffix(".png").lstrip("0")
    caption = tag("figcaption", f"{what}; step {step}." if of_step else f"{what}.")
    return tag("figure", image(found[1], what, "pixels"), caption)


def _measured(run):
    found = run.latents
    weights = {"average": "averaged"}.get(found.get("weights"), "raw")
    names = ("num_examples", "data", "step")
    count, data, step = (parts.plain(found.get(name)) for name in names)
    return f"{count} examples of {data} (step {step}, {weights} weights)"


def _percent(value):
    return f"{value:.0%}" if isinstance(value, int | float) else parts.plain(value)
