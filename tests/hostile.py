"""What the tests of hostile input share: seeded damage, and what counts as harm."""

import json
import os
import pathlib
import tracemalloc

import pytest

CASES = 60
VALUES = [
    None, True, -1, 0, 1e308, float("nan"), 10**18, "", "x" * 5000, "../../etc/passwd",
    "\0", "é\n", [], {}, [[]], {"__class__": "os.system"}, ["a"] * 1000,
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_harm(tmp_path, monkeypatch):
    """No mark of an attack, no new file anywhere near, and memory within bounds."""
    here = tmp_path / "cwd"
    here.mkdir()
    monkeypatch.chdir(here)
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20, "more than the largest thing read here needs"
    assert not list(here.iterdir())
    assert not list(tmp_path.glob("**/mark*"))


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in pathlib.Path(folder).rglob("*"))


def refused(errors, function, *arguments):
    """Whether it raised one of `errors`, in one line; anything else is a failure."""
    try:
        function(*arguments)
    except errors as error:
        assert str(error).strip() and "\n" not in str(error), repr(error)
        return True
    return False


def damaged(content, rng):
    """Bytes with some of them changed, cut off, doubled or put elsewhere."""
    content = bytearray(content)
    for _ in range(rng.randrange(1, 5)):
        kind, place = rng.randrange(4), rng.randrange(len(content) + 1)
        if kind == 0 and place < len(content):
            content[place] = rng.randrange(256)
        elif kind == 1:
            content[place : place + rng.randrange(64)] = b""
        elif kind == 2:
            content[place:place] = rng.randbytes(rng.randrange(64))
        elif rng.random() < 0.3:
            del content[place:]
    return bytes(content) or b"\0"


def mutated(tree, rng):
    """A JSON tree with one node replaced, dropped or renamed."""
    tree = json.loads(json.dumps(tree))
    places = []

    def walk(node):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            places.append((node, key))
            if isinstance(value, dict | list):
                walk(value)

    walk(tree)
    node, key = rng.choice(places)
    kind = rng.randrange(4)
    if kind == 0 and isinstance(node, dict):
        node[f"{key}_"] = node.pop(key)
    elif kind == 1:
        del node[key]
    else:
        node[key] = rng.choice(VALUES)
    return tree


class Gadget:
    """Leaves a mark when an unrestricted unpickler reads it."""

    def __reduce__(self):
        return os.system, ("touch mark",)
