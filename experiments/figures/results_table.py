r"""Tables 1, 3 and 6 as Markdown, the paper's numbers beside ours; and our sweeps.

  python -m experiments.figures.results_table --markdown=docs/results.md

Prints the blocks, or with --markdown puts them where that file has the marks
`<!-- generated: table1 -->` and `<!-- end -->`. A number of ours stands beside one of
the paper only if it was trained with that row's hyper-parameters and measured on that
data set; what it was measured on is said below the table.
"""

import os

from deltavae_tf.evaluation import metric, tables
from experiments import flags
from experiments.figures import blocks, power_law, results, sweep_table

_SWEEP = "sweep_"  # How names of sweeps' results begin.
_SCALING = "_scaling.json"  # How those end that a power law is fitted to.
_NOT_YET = "not reproduced yet"
_OTHERS = [
    ("ConvDRAW", "3.85", "-"),
    ("DenseNet VLAE", "2.95", "-"),
    ("Gated PixelCNN", "3.03", "3.83"),
    ("PixelCNN++", "2.92", "-"),
    ("PixelRNN", "3.00", "-"),
    ("Image Transformer", "2.90", "3.77"),
    ("PixelSNAIL", "2.85", "3.80"),
]
# Row of Table 1: name, which prior, the paper's CIFAR-10 and ImageNet, our sets.
_TABLE_1 = [
    ("delta-VAE, AR(1) prior", "training", "2.85 (0.02)", "3.78 (0.08)", ""),
    ("delta-VAE, auxiliary prior", "auxiliary", "2.83 (0.01)", "3.77 (0.07)", ""),
    ("decoder alone", "training", "2.83", "3.77", "_autoregressive"),
]
_TABLE_3 = [
    ("independent delta-VAE", "table3_independent", "3.08 (0.08)", "66 %"),
    ("temporal delta-VAE", "table3_temporal", "3.02 (0.09)", "65 %"),
]
# Table 6: the set, and the paper's AR(1) and auxiliary numbers for both encoders.
_TABLE_6 = [
    ("table6_l6", ("3.07 (0.02)", "3.06 (0.01)"), ("3.04 (0.02)", "3.03 (0.01)")),
    ("table6_l8_low", ("3.01 (0.03)", "2.98 (0.006)"), ("3.01 (0.03)", "2.98 (0.004)")),
    ("table6_l8_high", ("3.22 (0.22)", "3.03 (0.03)"), ("3.32 (0.22)", "3.11 (0.02)")),
    ("table6_large", ("2.87 (0.05)", "2.84 (0.02)"), ("2.88 (0.05)", "2.85 (0.01)")),
]
_PAPER_DATA = {"cifar10": "cifar10/test", "imagenet32": "imagenet32/valid"}


# The bound and the rate under each prior, in bits per dimension.
_BPD = {
    "training": ("nelbo_bpd", "rate_bpd"),
    "auxiliary": ("nelbo_aux_bpd", "rate_aux_bpd"),
}


def main(_):
    """Prints the blocks, or writes them into the file."""
    files, left_out = results.read_all(blocks.RESULTS_DIR.value)
    found = [run for file in files for run in file.runs if run.kind == "images"]
    made = {
        "table1": table1(found),
        "table3": table3(found),
        "table6": table6(found),
        "other-sizes": other_sizes(found),
    }
    for file in files:
        if file.source.startswith(_SWEEP):
            name = os.path.splitext(file.source)[0]
            made[name] = sweep_table.table(file)
            if curves := sweep_table.curves(file):
                made[f"{name}-curves"] = curves
        if file.source.endswith(_SCALING):
            made["scaling"] = power_law.table(file)
    for line in left_out:
        print(f"Left out: {line}")
    blocks.show(made)


class _Cells:
    """Cells of measured numbers, and the footnotes that they need."""

    def __init__(self, found):
        self._found = found
        self.notes = []

    def best(self, name, problem):
        """The best `results.Run` of a set on the paper's data, whole; or None."""
        matches = [
            run
            for run in self._found
            if run.is_set(name)
            and run.held_out["name"] == _PAPER_DATA[problem]
            and not run.held_out["note"]
            and "nelbo_aux_bpd" in run.numbers()
        ]
        return min(matches, key=lambda r: r.numbers()["nelbo_aux_bpd"], default=None)

    def bpd(self, name, problem, prior):
        """ "2.85 (0.02) [1]", or that there is none."""
        best = self.best(name, problem)
        if best is None:
            return _NOT_YET
        bound, rate = (best.numbers()[key] for key in _BPD[prior])
        return f"{bound:.3f} ({rate:.3f}) {self.note(best)}"

    def note(self, best):
        """ "[1]", the mark of where a number is from."""
        line = f"{best.source}: {best.circumstances()}"
        if line not in self.notes:
            self.notes.append(line)
        return f"[{self.notes.index(line) + 1}]"

    def below(self, table):
        """The table with the footnotes that its cells need."""
        notes = [f"[{i}] {line}" for i, line in enumerate(self.notes, start=1)]
        return "\n\n".join([table, *notes])


def table1(found):
    """Table 1: bits/dim, and the rate in brackets."""
    cells = _Cells(found)
    rows = []
    for name, prior, cifar, imagenet, suffix in _TABLE_1:
        rows.append([
            name,
            cifar,
            cells.bpd(f"cifar10_best{suffix}", "cifar10", prior),
            imagenet,
            cells.bpd(f"imagenet32_best{suffix}", "imagenet32", prior),
        ])  # fmt: skip
    rows += [[name, cifar, "", imagenet, ""] for name, cifar, imagenet in _OTHERS]
    header = ["bits/dim (rate)", "CIFAR-10 test, paper", "this code"]
    header += ["ImageNet 32x32 valid, paper", "this code"]
    return cells.below(tables.markdown(header, rows))


def table3(found):
    """Table 3: independent against temporal, and the linear probe."""
    cells = _Cells(found)
    rows = []
    for name, hparams_set, bpd, probe in _TABLE_3:
        best = cells.best(hparams_set, "cifar10")
        ours = _probe(best) if best is not None else ""
        shown = cells.bpd(hparams_set, "cifar10", "training")
        rows.append([name, bpd, shown, probe, ours or _NOT_YET])
    header = ["CIFAR-10 test, bits/dim (rate)", "paper", "this code"]
    return cells.below(
        tables.markdown([*header, "probe, paper", "probe, this code"], rows)
    )


def table6(found):
    """Table 6: the two encoders at four sizes."""
    cells = _Cells(found)
    rows = []
    for hparams_set, anti_causal, non_causal in _TABLE_6:
        for encoder, paper, suffix in (
            ("anti-causal", anti_causal, ""),
            ("non-causal", non_causal, "_non_causal"),
        ):
            row = [f"`{hparams_set}{suffix}`", encoder]
            for prior, number in zip(_BPD, paper, strict=True):
                name = f"{hparams_set}{suffix}"
                row += [number, cells.bpd(name, "cifar10", prior)]
            rows.append(row)
    header = ["CIFAR-10 test, bits/dim (rate)", "encoder"]
    header += ["AR(1), paper", "this code", "auxiliary, paper", "this code"]
    return cells.below(tables.markdown(header, rows))


def other_sizes(found):
    """CIFAR-10 and ImageNet runs that are no row of the paper's, nor of a sweep, which
    has a table of its own."""
    rows = [
        [
            f"`{run.name}`",
            _bound(run, "training"),
            _bound(run, "auxiliary"),
            _probe(run),
            run.circumstances(),
        ]
        for run in found
        if run.hparams["problem"] in _PAPER_DATA
        and not run.source.startswith(_SWEEP)
        and not any(run.is_set(name) for name in _all_rows())
    ]
    if not rows:
        return "None."
    header = ["run", "training prior: bits/dim (rate)", "auxiliary: bits/dim (rate)"]
    return tables.markdown([*header, "probe", "measured on"], rows)


def _bound(run, prior):
    """ "4.062 +- 0.006 (0.0259)"."""
    numbers = run.numbers()
    bound, rate = (metric.find(name) for name in _BPD[prior])
    text = tables.cell(bound, numbers)
    return f"{text} ({rate.text(numbers[rate.name])})"


def _probe(run):
    probe, numbers = metric.find("probe_accuracy"), run.numbers()
    return f"{probe.text(numbers[probe.name])}%" if probe.name in numbers else ""


def _all_rows():
    for _, _, _, _, suffix in _TABLE_1:
        yield from (f"{name}_best{suffix}" for name in ("cifar10", "imagenet32"))
    yield from (name for _, name, _, _ in _TABLE_3)
    for name, _, _ in _TABLE_6:
        yield from (name, f"{name}_non_causal")


if __name__ == "__main__":
    flags.run(main)
