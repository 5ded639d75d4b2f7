"""Tests that a pickle of CIFAR-10 is read, and that one of anything else is not."""

import os
import pickle

import numpy as np
import pytest

import data
from data.reading import pickles
from tests.data import fakes


def test_reads_what_the_standard_library_reads():
    content = fakes.python2_pickle(fakes.records("test_batch"))
    expected = pickle.loads(content, encoding="bytes")
    actual = pickles.loads(content, "here")
    np.testing.assert_array_equal(actual.pop(b"data"), expected.pop(b"data"))
    assert actual == expected
    assert len(actual[b"labels"]) == fakes.PER_BATCH


class Hostile:
    """Runs a command when unpickled by the standard library."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_hostile_pickle_runs_nothing(protocol, tmp_path):
    created = tmp_path / "created"
    hostile = pickle.dumps({"data": Hostile(f"touch {created}")}, protocol)
    with pytest.raises(data.DataError, match=r"global '(posix|nt)\.system'"):
        pickles.loads(hostile, "here")
    assert not created.exists()
    pickle.loads(hostile)  # The pickle is as hostile as it claims.
    assert created.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"(S'touch x'\nios\nsystem\n.", r"global 'os\.system'"),
        (b"P1\n.", "instruction b'P'"),
        (b"(U\x01xios\nsystem\n.", r"global 'os\.system'"),
        (b"cnumpy\nfromfile\nU\x01x\x85R.", r"global 'numpy\.fromfile'"),
        (b"cbuiltins\ngetattr\n.", r"global 'builtins\.getattr'"),
        (b"cnumpy.core.multiarray\nscalar\n.", r"multiarray\.scalar'"),
        (b"\x80\x02}.trailing is ignored", None),
        (b"\x80\x02].", "a list where a dict should be"),
        (b"\x80\x02}", "EOFError"),
        (b"", "EOFError"),
        (b"\x80\x02u.", "IndexError"),
        # Would have the C reader allocate 32 GiB for its memo.
        (b"\x80\x02}r\xff\xff\xff\x7f.", None),
        # 1 TiB of bytes, promised by a header.
        (b"\x80\x04\x96\x00\x00\x00\x00\x00\x01\x00\x00.", r"instruction b'\\x96'"),
        # Sets an attribute of what stands for a global, for those that come later.
        (b"cnumpy\ndtype\n}X\x01\0\0\0xK\x01sb.", "AttributeError"),
        (b"cnumpy\ndtype\n(N}X\x08\0\0\0__call__Nstb.", "AttributeError"),
    ],
)
def test_odd_pickles(content, message):
    if message is None:
        assert pickles.loads(content, "here") == {}
        return
    with pytest.raises(data.DataError, match=message) as caught:
        pickles.loads(content, "here")
    assert str(caught.value).startswith("here is ") and "\n" not in str(caught.value)


def test_array_of_objects_is_refused():
    content = fakes.python2_pickle(fakes.records("test_batch"), dtype=b"O8")
    with pytest.raises(data.DataError, match="an array of b'O8'"):
        pickles.loads(content, "here")


def test_damaged_pickles_are_refused_or_read():
    good = fakes.python2_pickle(fakes.records("test_batch")[:, :9], width=8)
    rng = np.random.RandomState(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(good)
        damaged[rng.randint(len(good))] = rng.randint(256)
        try:
            pickles.loads(
                bytes(damaged[: rng.randint(len(good) // 2, 2 * len(good))]), ""
            )
        except data.DataError:
            refused += 1
    assert 100 < refused < 500
