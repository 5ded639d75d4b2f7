"""What the README and the programs' docstrings tell people to type exists."""

import ast
import pathlib
import re
import shlex

import pytest
from absl import app, flags, logging  # noqa: F401 (app and logging define flags.)

from experiments import flags as our_flags  # noqa: F401
from experiments import sets
from experiments.figures import blocks, readme

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAMS = sorted((ROOT / "experiments").rglob("*.py"))
DOCUMENTS = [
    path
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *PROGRAMS,
    )
    if path.exists()
]


def text_of(path):
    """A document's text, a module's docstring."""
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".md" else ast.get_docstring(ast.parse(text)) or ""


def code_of(text):
    """Fenced blocks and code spans of Markdown."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    spans = re.findall(
        r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    )
    return "\n".join(blocks + spans)


def make_targets(text):
    return re.findall(r"^\s*\$?\s*make ([a-z][\w-]*)", code_of(text), re.M)


def commands(text):
    """[(module, [argument, ...])] of the lines `python -m experiments...`."""
    text = re.sub(r"\\\n\s*", " ", text)
    lines = re.findall(r"python[\d.]* -m (experiments\.[\w.]*\w)([^\n`]*)", text)
    return [(module, shlex.split(rest, comments=True)) for module, rest in lines]


def links(text):
    found = re.findall(r"\]\(([^)\s]+)", text)
    found += re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    return [x.split("#")[0] for x in found if not re.match(r"[a-z]+:|#", x)]


def shared_flags():
    """The flags that every program has; other tests may have defined more."""
    modules = flags.FLAGS.flags_by_module_dict()
    shared = ("experiments.flags", "absl.app", "absl.logging")
    return {flag.name: flag for module in shared for flag in modules[module]}


def module_path(module):
    return ROOT / f"{module.replace('.', '/')}.py"


def own_flags(path, seen=()):
    """Names of the flags that a program and the programs it imports define, by ast."""
    if path in seen or not path.exists():
        return set()
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            defines = node.func.attr.startswith(("DEFINE_", "define_path"))
            if defines and node.args and isinstance(node.args[0], ast.Constant):
                names.add(node.args[0].value)
        module = getattr(node, "module", None) or ""
        if isinstance(node, ast.ImportFrom) and module.split(".")[0] == "experiments":
            for alias in node.names:
                other = module_path(f"{module}.{alias.name}")
                names |= own_flags(other, (*seen, path))
    return names


def problems_of(module, arguments):
    """What is wrong with a command line, a list of sentences."""
    path = module_path(module)
    if not path.exists():
        return [f"there is no {path.relative_to(ROOT)}"]
    known, shared = own_flags(path), shared_flags()
    given, problems = {}, []
    for argument in arguments:
        match = re.fullmatch(r"--(\w+)(?:=(.*))?", argument)
        if match is None:
            problems.append(f"{argument!r} is not --name=value")
            continue
        name, value = match.groups()
        if name.startswith("no") and name not in {*known, *shared}:
            name = name[2:]
        if name not in known and name not in shared:
            problems.append(f"{module} has no flag --{name}")
        elif name in shared and value is not None:
            try:
                shared[name].parser.parse(value)
            except ValueError as error:
                problems.append(f"--{name}: {error}")
        given[name] = value
    hparams_set = given.get("hparams_set") or default_set(path)
    try:
        if hparams_set:
            sets.hparams(hparams_set, given.get("hparams", ""))
    except ValueError as error:
        problems.append(str(error))
    return problems


def default_set(path):
    """The hparams set that `train.alias` gives a program, or None."""
    found = re.search(r'train\.alias\("(\w+)"', path.read_text(encoding="utf-8"))
    return found and found[1]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_people_are_told_to_type(path):
    text = text_of(path)
    problems = [
        f"{module} {' '.join(arguments)}: {problem}"
        for module, arguments in commands(text)
        for problem in problems_of(module, arguments)
    ]
    if path.suffix == ".md":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = re.findall(r"^([a-z][\w-]*):", makefile, re.M)
        problems += [
            f"make {t}: no such target" for t in make_targets(text) if t not in targets
        ]
        problems += [
            f"{x}: no such file" for x in links(text) if not (path.parent / x).exists()
        ]
    assert not problems, "\n".join(problems)


def test_every_program_says_how_to_start_it():
    main = re.compile(r"^if __name__", re.M)
    programs = [p for p in PROGRAMS if main.search(p.read_text(encoding="utf-8"))]
    assert programs
    for path in programs:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        told = [name for name, _ in commands(text_of(path))]
        assert module in told or "make " in text_of(path), module


def test_the_readmes_numbers_are_those_of_the_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    made = readme.made(str(ROOT / "experiments" / "results"))
    assert len(re.findall("<!-- generated", text)) == len(made)
    again = "python -m experiments.figures.readme --markdown=README.md"
    assert blocks.filled(text, made, "README.md") == text, f"stale: {again}"
    written = re.sub(r"<!-- generated.*?<!-- end -->|```.*?```", "", text, flags=re.S)
    written = re.sub(r"]\(.*?\)", "]", written)
    numbers = set(re.findall(r"\b\d+(?:[.,]\d+)*", written))
    # TensorFlow 2, Keras 3, a rate of 0, a year, Pythons, Apache 2.0: no results.
    assert numbers <= {"2", "3", "0", "2019", "3.11", "3.12", "3.13", "2.0"}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


GOOD = r"""
Run `make demo`, or make tea. See [the license](LICENSE#top) and [us](https://x.org/a).
```bash
make test   # All of it.
python -m experiments.sample --output_dir=/tmp/x --count=4 \
    --temperature=0.5 --noraw_weights
.venv/bin/python -m experiments.digits --hparams_set=digits --hparams=dropout=0.1
```
"""


def test_the_test_reads_what_it_should():
    assert make_targets(GOOD) == ["test", "demo"]
    assert links(GOOD) == ["LICENSE"]
    (sample, sample_arguments), (digits, digits_arguments) = commands(GOOD)
    assert (sample, digits) == ("experiments.sample", "experiments.digits")
    assert len(sample_arguments) == 4
    assert not problems_of(sample, sample_arguments)
    assert not problems_of(digits, digits_arguments)


@pytest.mark.parametrize(
    "line",
    [
        "experiments.digit --output_dir=/tmp/x",
        "experiments.digits --ouput_dir=/tmp/x",
        "experiments.digits --count=4",
        "experiments.digits --hparams_set=digit",
        "experiments.digits --hparams=batchsize=4",
        "experiments.digits --schedule=dance",
        "experiments.digits --train_steps=many",
        "experiments.digits output_dir=/tmp/x",
    ],
)
def test_the_test_finds_mistakes(line):
    ((module, arguments),) = commands(f"  python -m {line}\n")
    assert problems_of(module, arguments)
