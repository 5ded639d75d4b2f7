"""The whole page: read, put together, written as one file that needs no other."""

import os

from deltavae_tf.errors import UserError
from deltavae_tf.training import checkpoints, run_folder
from experiments.page import charts, folder, looks, sections
from experiments.page.markup import Markup, join, tag

FILE = "report.html"
_MOST_BYTES = 5_000_000
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_SECTIONS = {
    "Settings": sections.settings,
    "Curves": sections.curves,
    "Rates by row and channel": looks.rates,
    "Samples": looks.samples,
    "Reconstructions": looks.reconstructions,
    "Nearest neighbors by latents": looks.neighbors,
    "Evaluation": sections.numbers,
    "Cost": sections.cost,
}
_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: #fff;
  color: #1a1a1a; font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; padding-top: .75rem;
  border-top: 1px solid #ddd; }
h3 { font-size: 1rem; margin: 0 0 .5rem; }
.verdict { font-size: 1.1rem; padding: .5rem .75rem; margin: .5rem 0;
  border-left: 4px solid #0072b2; background: #f2f7fb; }
.quiet, small { color: #555; font-size: .875rem; }
small { display: block; font-weight: normal; }
.panels, .cards { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
.cards { grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.card { min-width: 0; border: 1px solid #ddd; border-radius: 6px; padding: .75rem; }
.chip { display: inline-block; min-width: 1.5em; margin-right: .5em; color: #fff;
  text-align: center; border-radius: 4px; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .875rem; font-weight: 600; }
.panels img { width: 100%; max-width: 30rem; height: auto; }
img { max-width: 100%; height: auto; }
img.pixels { width: 40rem; image-rendering: pixelated; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #e5e5e5;
  text-align: left; vertical-align: top; min-width: 5.5rem; }
th[scope=row] { font-weight: 500; min-width: 11rem; max-width: 22rem; }
.differs { background: #fff3d6; }
summary { cursor: pointer; }
code { font-size: .875rem; background: #f4f4f4; padding: 0 .2em; }
"""


def write(paths: list[str], html_path: str | None = None) -> str:
    """Writes the page of some run folders; returns where it is.

    Args:
      paths: run folders, or folders of them, such as a sweep's: all side by side.
      html_path: str, or None for `report.html` in the first of `paths`.

    Raises:
      FileNotFoundError: a path is no run folder.
      UserError: none, or too many runs; or a damaged hparams.json.
    """
    found = [run for path in paths for run in run_folder.runs_in(path) or [path]]
    if not 1 <= len(found) <= charts.MOST_RUNS:
        raise UserError(
            f"A page shows 1 to {charts.MOST_RUNS} runs: name some, separated by "
            f"commas. Received: {len(found)} {', '.join(map(os.path.basename, found))}"
        )
    content = page([folder.read(path) for path in found]).encode()
    if len(content) > _MOST_BYTES:
        raise UserError(
            f"The page would be larger than {_MOST_BYTES:,} bytes: name fewer runs. "
            f"Received: {len(content):,} bytes of {len(found)} runs"
        )
    if html_path is None:
        html_path = os.path.join(os.path.expanduser(paths[0]), FILE)
    os.makedirs(os.path.dirname(os.path.abspath(html_path)), exist_ok=True)
    with checkpoints.atomic_file(html_path) as file:
        file.write(content)
    return html_path


def page(runs: list[folder.Shown]) -> Markup:
    """The page of some runs."""
    title = sections.title(runs)
    verdicts = sections.verdicts(runs)
    body = [join([tag("h2", name), show(runs)]) for name, show in _SECTIONS.items()]
    missing = sections.missing(runs)  # Last: the others find out.
    head = Markup(
        '<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"{tag('title', title)}\n<style>{_STYLE}</style>\n"
    )
    body = join([tag("h1", title), verdicts, missing, *body], "\n")
    return Markup(
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )
