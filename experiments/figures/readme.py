"""The README's tables and its other numbers, from results alone.

  python -m experiments.figures.readme --markdown=README.md

Puts into the file, between marks as those of `blocks`:

  two-commands  `make demo` and `make test`, with what they cost; the latter from
                benchmarks/results/suite.json, which is written by hand
  demo          the demo's three models, from demo.json: a copy of what the demo writes,
                demo/record.json
  commands      commands by what one owns, with minutes and numbers
  results       a row for each data set: the delta-VAE, and what it is compared with

A test says when the README is stale.
"""

import dataclasses
import glob
import math
import os
import pathlib

from deltavae_tf.evaluation import metric, tables
from deltavae_tf.evaluation import record as records
from experiments import flags
from experiments.figures import blocks, points
from experiments.figures.results import read

_ROOT = pathlib.Path(__file__).parents[2]
_SUITE = str(_ROOT / "benchmarks" / "results" / "suite.json")
_RATES = ("committed_rate_nats", "rate_nats", "rate_aux_nats")
_DEMO = (*_RATES, "nelbo_aux_bpd", "probe_accuracy", "reconstruction_agreement")
# What a row of results compares, by the names of settings; the rest of a sweep is in
# docs/results.md.
_SWEEPS = (
    "sweep_fashion*.json",
    "sweep_cifar10_slow.json",
    "sweep_cifar10_slow_long.json",
)
_DELTA, _PLAIN, _ALONE = ("delta_vae", "delta_vae_20"), ("vae",), ("autoregressive",)
_TEXTS = ("lm1b_small", "documents")
_SLOW = "sweep_lm1b_slow"
_TITLES = {
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "digits": "digits, 8x8",
    "documents": "Python's language reference",
    "lm1b": "LM1B, two held-out shards",
}


def main(_):
    """Prints the blocks, or writes them into the file."""
    blocks.show(made(blocks.RESULTS_DIR.value))


def made(folder: str) -> dict[str, str]:
    """Every block, from the results in a folder."""
    return {
        "two-commands": two_commands(folder),
        "demo": demo(folder),
        "commands": commands(folder),
        "results": all_results(folder),
    }


def two_commands(folder: str) -> str:
    """What a clone can do at once, and how long that takes."""
    shown = records.read_json(os.path.join(folder, "demo.json"))
    suite = records.read_json(_SUITE)
    minutes = math.ceil(shown["seconds"] / 60)
    rows = [
        [
            "`make demo`",
            "trains three small models on embedded images of Fashion-MNIST, prints the "
            "table below, draws a picture as above",
            f"{minutes} minutes after the install",
        ],
        [
            "`make test`",
            f"linter, types and {suite['tests']:,} tests",
            f"up to {suite['minutes']} minutes",
        ],
    ]
    return tables.markdown(["command", "what", "on 2 cores"], rows)


def demo(folder: str) -> str:
    """The demo's models, a row each."""
    found = read(os.path.join(folder, "demo.json"))
    shown, _ = points.of(found)
    columns = [metric.find(name) for name in _DEMO]
    # The demo prints one decimal of each rate: more would say too much of one seed.
    columns = [
        dataclasses.replace(m, form="{:.1f}") if m.name in _RATES else m
        for m in columns
    ]
    rows = [[p.setting, *(_number(p, m) or "-" for m in columns)] for p in shown]
    return tables.markdown(["model", *(m.title for m in columns)], rows)


@dataclasses.dataclass(frozen=True)
class _Command:
    """A command for somebody who has certain data, and the run that shows its cost."""

    have: str
    line: str
    file: str
    setting: str
    number: str


_COMMANDS = (
    _Command(
        "Fashion-MNIST",
        "experiments.fashion_mnist --data_dir=~/data --output_dir=/tmp/run "
        "--eval_use_test_set",
        "sweep_fashion_14.json",
        "delta_vae",
        "nelbo_aux_bpd",
    ),
    _Command(
        "CIFAR-10",
        "experiments.cifar10 --data_dir=~/data --output_dir=/tmp/run "
        "--eval_use_test_set",
        "cifar10_small.json",
        "cifar10_small",
        "nelbo_aux_bpd",
    ),
    _Command(
        "nothing: text",
        "experiments.documents --train_steps=250 --output_dir=/tmp/run "
        "--eval_use_test_set",
        "documents.json",
        "documents",
        "nelbo_aux_per_token",
    ),
)


def commands(folder: str) -> str:
    """Training by what one owns, on two cores; then what a trained run is good for."""
    rows = []
    for command in _COMMANDS:
        found = read(os.path.join(folder, command.file))
        runs = [run for run in found.runs if run.setting == command.setting]
        shown, _ = points.of(dataclasses.replace(found, runs=runs, failed={}))
        number = metric.find(command.number)
        minutes = math.ceil(60 * max(run.row["training_hours"] for run in runs))
        expect = f"{minutes} minutes; {_number(shown[0], number)} {number.unit}"
        rows.append([command.have, f"`python -m {command.line}`", expect])
    rows += [
        [
            "a trained run",
            "`python -m experiments.evaluate --output_dir=/tmp/run`",
            "every number, a plain verdict on the latents, and a page, `report.html`",
        ],
        [
            "a trained run",
            "`python -m experiments.sample --output_dir=/tmp/run "
            "--kind=reconstruction`",
            "a labeled picture; of text, sentences",
        ],
        [
            "a trained run",
            "`python -m experiments.export --output_dir=/tmp/run`",
            "a SavedModel that needs TensorFlow alone",
        ],
    ]
    return tables.markdown(["you have", "command", "what comes"], rows)


def all_results(folder: str) -> str:
    """Every data set: the delta-VAE beside the plain VAE and the decoder alone."""
    paths = [p for name in _SWEEPS for p in sorted(glob.glob(f"{folder}/{name}"))]
    rows = [
        _row(read(path), (_DELTA, _PLAIN, _ALONE), "_nats", "_bpd", "")
        for path in paths
        if not path.endswith("_more.json")
    ]
    for name in _TEXTS:
        names = (name, f"{name}_standard_normal", f"{name}_no_latents")
        files = [read(f"{folder}/{name}.json") for name in names]
        runs = [run for file in files for run in file.runs]
        found = dataclasses.replace(files[0], runs=runs, failed={})
        settings = [(name,) for name in names]
        rows.append(_row(found, settings, *["_per_token"] * 2, ", nats/token"))
    slow = read(f"{folder}/{_SLOW}.json")
    note = ", slow alphas, nats/token"
    rows.append(_row(slow, (_DELTA, _PLAIN, _ALONE), *["_per_token"] * 2, note))
    header = ["test data", "plain VAE: rate", "delta-VAE: rate (committed)", "aux rate"]
    header += ["cost: delta-VAE", "plain VAE", "decoder alone", "probe %"]
    header += ["agreement %"]
    return tables.markdown([*header, "steps, seeds"], filter(None, rows))


def _row(found, settings, rate_unit, cost_unit, note):
    """A data set; "" for what was not measured. None without a delta-VAE."""
    shown, _ = points.of(found)
    delta, plain, alone = (
        next((p for p in shown if p.setting in names), None) for names in settings
    )
    if delta is None:
        return None
    first = found.runs[0]
    title = _TITLES[first.hparams["problem"]]
    if "image_size" in first.hparams:
        title += ", {0}x{0}".format(first.hparams["image_size"])

    def cell(point, name):
        return _number(point, metric.find(name)) if point else ""

    rate, aux, committed = (
        f"{name}{rate_unit}" for name in ("rate", "rate_aux", "committed_rate")
    )
    return [
        title + note,
        cell(plain, rate),
        f"{cell(delta, rate)} ({cell(delta, committed)})",
        cell(delta, aux),
        *(cell(point, f"nelbo_aux{cost_unit}") for point in (delta, plain, alone)),
        cell(delta, "probe_accuracy"),
        cell(delta, "reconstruction_agreement"),
        f"{first.steps:,}, {delta.num_seeds}",
    ]


def _number(point, shown):
    """ "3.587", or "3.587 +- 0.004" over seeds; "" where it was not measured."""
    if shown.name not in point.values:
        return ""
    text = shown.text(point.mean(shown.name))
    if point.num_seeds > 1 and not shown.name.startswith("committed"):
        text += f" +- {shown.text(point.deviation(shown.name))}"
    return text


if __name__ == "__main__":
    flags.run(main)
