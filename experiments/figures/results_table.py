r"""Tables 1, 3 and 6 as Markdown, the paper's numbers beside ours; and our sweeps.

  python -m experiments.figures.results_table --markdown=docs/results.md

Prints the blocks, or with --markdown puts them where that file has the marks
`<!-- generated: table1 -->` and `<!-- end -->`. A number of ours stands beside one of
the paper only if it was trained with that row's hyper-parameters and measured on that
data set; what it was measured on is said below the table.
"""

import os
import re

from experiments import flags
from experiments.figures import measured, points

RESULTS_DIR = flags.flags.DEFINE_string(
    "results_dir", "experiments/results", "The folder of JSON files."
)
MARKDOWN = flags.flags.DEFINE_string("markdown", None, "The file to put blocks into.")

_SWEEP = "sweep_"  # How names of sweeps' results begin.
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
    ("delta-VAE, AR(1) prior", "ar1", "2.85 (0.02)", "3.78 (0.08)", ""),
    ("delta-VAE, auxiliary prior", "aux", "2.83 (0.01)", "3.77 (0.07)", ""),
    ("decoder alone", "ar1", "2.83", "3.77", "_autoregressive"),
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


def main(_):
    """Prints the blocks, or writes them into the file."""
    found, left_out = measured.read_all(RESULTS_DIR.value)
    blocks = {
        "table1": table1(found),
        "table3": table3(found),
        "table6": table6(found),
        "other-sizes": other_sizes(found),
    }
    for name in sorted(os.listdir(RESULTS_DIR.value)):
        if name.startswith(_SWEEP) and name.endswith(".json"):
            sweep = points.read(os.path.join(RESULTS_DIR.value, name))
            blocks[os.path.splitext(name)[0]] = sweep_table(sweep)
    for line in left_out:
        print(f"Left out: {line}")
    if MARKDOWN.value:
        replace_blocks(MARKDOWN.value, blocks)
        print(f"Wrote {MARKDOWN.value}")
    else:
        print("\n\n".join(f"## {name}\n\n{text}" for name, text in blocks.items()))


def markdown(header, rows):
    """A table: list of str, list of lists of str."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


class _Cells:
    """Cells of measured numbers, and the footnotes that they need."""

    def __init__(self, found):
        self._found = found
        self.notes = []

    def best(self, name, problem):
        """The best `Measured` of a set on the paper's data, whole; or None."""
        matches = [
            m
            for m in self._found
            if m.is_set(name) and m.data == _PAPER_DATA[problem] and not m.note
        ]
        return min(matches, key=lambda m: m.nelbo_aux, default=None)

    def bpd(self, name, problem, prior):
        """ "2.85 (0.02) [1]", or that there is none."""
        best = self.best(name, problem)
        if best is None:
            return _NOT_YET
        value = (best.nelbo, best.rate) if prior == "ar1" else None
        value = value or (best.nelbo_aux, best.rate_aux)
        return f"{value[0]:.3f} ({value[1]:.3f}) {self.note(best)}"

    def note(self, best):
        line = f"{best.source}: {best.circumstances()}"
        if line not in self.notes:
            self.notes.append(line)
        return f"[{self.notes.index(line) + 1}]"

    def below(self, table):
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
    return cells.below(markdown(header, rows))


def table3(found):
    """Table 3: independent against temporal, and the linear probe."""
    cells = _Cells(found)
    rows = []
    for name, hparams_set, bpd, probe in _TABLE_3:
        best = cells.best(hparams_set, "cifar10")
        ours = "" if best is None or best.probe is None else f"{best.probe:.1%}"
        rows.append([
            name, bpd, cells.bpd(hparams_set, "cifar10", "ar1"), probe, ours or _NOT_YET
        ])  # fmt: skip
    header = ["CIFAR-10 test, bits/dim (rate)", "paper", "this code"]
    return cells.below(markdown([*header, "probe, paper", "probe, this code"], rows))


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
            for prior, number in zip(("ar1", "aux"), paper, strict=True):
                name = f"{hparams_set}{suffix}"
                row += [number, cells.bpd(name, "cifar10", prior)]
            rows.append(row)
    header = ["CIFAR-10 test, bits/dim (rate)", "encoder"]
    header += ["AR(1), paper", "this code", "auxiliary, paper", "this code"]
    return cells.below(markdown(header, rows))


def other_sizes(found):
    """CIFAR-10 and ImageNet runs that are no row of the paper's, nor of a sweep, which
    has a table of its own."""
    rows = [
        [
            f"`{m.name}`",
            f"{m.nelbo:.3f} +- {m.stderr:.3f} ({m.rate:.4f})",
            f"{m.nelbo_aux:.3f} ({m.rate_aux:.5f})",
            "" if m.probe is None else f"{m.probe:.1%}",
            m.circumstances(),
        ]
        for m in found
        if m.hparams["problem"] in _PAPER_DATA
        and not m.source.startswith(_SWEEP)
        and not any(m.is_set(name) for name in _all_rows())
    ]
    if not rows:
        return "None."
    header = ["run", "AR(1) or N(0, I): bits/dim (rate)", "auxiliary: bits/dim (rate)"]
    return markdown([*header, "probe", "measured on"], rows)


def _all_rows():
    for _, _, _, _, suffix in _TABLE_1:
        yield from (f"{name}_best{suffix}" for name in ("cifar10", "imagenet32"))
    yield from (name for _, name, _, _ in _TABLE_3)
    for name, _, _ in _TABLE_6:
        yield from (name, f"{name}_non_causal")


def sweep_table(sweep):
    """A sweep's settings: means +- one deviation over seeds, on the test images."""
    chosen, left_out = points.of_sweep(sweep)
    columns = {
        "committed bits": ("committed_rate_bits", "{:.1f}", 1),
        "rate bits": ("rate_bits", "{:.2f}", 1),
        "aux rate bits": ("rate_aux_bits", "{:.2f}", 1),
        "distortion bits": ("distortion_bits", "{:.1f}", 1),
        "bits/dim": ("nelbo_bpd", "{:.3f}", 1),
        "bits/dim (aux)": ("nelbo_aux_bpd", "{:.3f}", 1),
        "probe %": ("probe_accuracy", "{:.1f}", 100),
        "active units": ("active_units", "{:.0f}", 1),
        "I(x; z) bits": ("mutual_information_bits", "{:.2f}", 1),
    }
    rows = []
    for point in chosen:
        row = [f"{point.label} (`{point.setting}`)"]
        for name, form, factor in columns.values():
            if name not in point.values:
                row.append("")
                continue
            text = form.format(factor * point.mean(name))
            if point.num_seeds > 1 and name != "committed_rate_bits":
                text += f" +- {form.format(factor * point.deviation(name))}"
            row.append(text)
        rows.append(row)
    first = sweep["runs"][0]
    seeds = sorted({run["seed"] for run in sweep["runs"]})
    note = f" ({first['data_note']})" if first["data_note"] else ""
    about = (
        f"{first['test']['data']}, {first['test']['num_examples']:,} images{note}; "
        f"{first['training_images']:,} training images; {first['steps']:,} steps of "
        f"{first['hparams']['batch_size']}; {first['parameters']:,} parameters "
        f"(`{first['setting']}`); seeds {', '.join(map(str, seeds))}; "
        f"{sweep['hardware']}; {first['weights']} weights; +- is one deviation over "
        "seeds."
    )
    most = [p for p in chosen if "log_num_examples_bits" in p.values]
    if most:
        bits = most[0].mean("log_num_examples_bits")
        about += f" I(x; z) cannot exceed {bits:.2f} bits, log N."
    lines = [markdown(["setting", *columns], rows), about]
    lines += [f"Left out: {line}" for line in left_out]
    return "\n\n".join(lines)


def replace_blocks(path, blocks):
    """Puts each block between its marks; a mark without a block is an error."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    marks = re.findall(r"<!-- generated: ([\w-]+) -->", text)
    unknown = [mark for mark in marks if mark not in blocks]
    if unknown or not marks:
        raise ValueError(
            f"{path} must have marks such as '<!-- generated: table1 -->', of "
            f"{', '.join(blocks)}. Received: {', '.join(unknown) or 'none'}"
        )
    for name in marks:
        start, end = f"<!-- generated: {name} -->", "<!-- end -->"
        before, rest = text.split(start, 1)
        if end not in rest:
            raise ValueError(f"{path}: the block {name!r} has no '{end}'")
        text = f"{before}{start}\n\n{blocks[name]}\n\n{end}{rest.split(end, 1)[1]}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    flags.run(main)
