"""Tests that files are read within bounds, and that damaged ones are refused."""

import gzip
import hashlib
import io
import lzma
import tarfile
import tracemalloc

import numpy as np
import pytest

import data
from data.reading import archives
from tests.data import fakes

LIMIT = 1000


def read_archive(path, names=("a",), limit=LIMIT, total_limit=10**6):
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    return archives.read_members(str(path), list(names), limit, total_limit, md5)


@pytest.mark.parametrize("pack", [bytes, lzma.compress])
def test_file_of_exactly_the_limit(pack, tmp_path):
    path = tmp_path / ("a.xz" if pack is lzma.compress else "a")
    path.write_bytes(pack(b"x" * LIMIT))
    assert archives.read(str(path), LIMIT) == b"x" * LIMIT
    path.write_bytes(pack(b"x" * (LIMIT + 1)))
    with pytest.raises(data.DataError, match="larger than it may be, 1,000 bytes"):
        archives.read(str(path), LIMIT)


def test_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.xz"
    path.write_bytes(lzma.compress(bytes(64 << 20), preset=0))
    tracemalloc.start()
    with pytest.raises(data.DataError, match="larger"):
        archives.read(str(path), LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_greedy_xz_header_is_refused(tmp_path):
    path = tmp_path / "greedy.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
    packer = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=filters)
    path.write_bytes(packer.compress(b"x") + packer.flush())
    with pytest.raises(data.DataError, match="[Mm]emory"):
        archives.read(str(path), LIMIT)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda packed: packed[:-9], "truncated"),
        (lambda packed: b"", "truncated"),
        (lambda packed: b"not xz" + packed, "damaged"),
        (lambda packed: packed[:60] + b"????" + packed[64:], "damaged"),
        (lambda packed: packed + b"more", "bytes after its xz stream"),
        (lambda packed: lzma.compress(b""), "is empty"),
    ],
)
def test_damaged_xz(damage, message, tmp_path):
    path = tmp_path / "a.xz"
    path.write_bytes(damage(lzma.compress(np.random.RandomState(0).bytes(200))))
    with pytest.raises(data.DataError, match=message) as caught:
        archives.read(str(path), LIMIT)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_empty_file_and_folder(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(data.DataError, match="is empty"):
        archives.read(str(tmp_path / "a"), LIMIT)
    with pytest.raises(data.DataError, match="cannot be read"):
        archives.read(str(tmp_path), LIMIT)


def test_members_come_in_the_order_asked_for(tmp_path):
    path = tmp_path / "x.tar.gz"
    fakes.write_archive(path, fakes.tar({"a": b"1", "other": b"2", "b": b"3"}))
    assert read_archive(path, ["b", "a"]) == [b"3", b"1"]


def test_nothing_is_extracted(tmp_path, monkeypatch):
    for name in ("extract", "extractall"):
        monkeypatch.setattr(tarfile.TarFile, name, None)
    path = tmp_path / "inside" / "x.tar.gz"
    path.parent.mkdir()
    outside = str(tmp_path / "absolute")
    members = {"../outside": b"x", outside: b"x", "a": b"1"}
    fakes.write_archive(path, fakes.tar(members))
    assert read_archive(path) == [b"1"]
    assert [p.name for p in tmp_path.rglob("*")] == ["inside", "x.tar.gz"]


def test_oversized_member_and_archive(tmp_path):
    path = tmp_path / "x.tar.gz"
    fakes.write_archive(path, fakes.tar({"a": bytes(LIMIT + 1)}))
    with pytest.raises(
        data.DataError, match="member a, is larger than it may be, 1,000"
    ):
        read_archive(path)
    fakes.write_archive(path, fakes.tar({"unwanted": bytes(10**6), "a": b"1"}))
    with pytest.raises(data.DataError, match="larger than it may be, 1,000,000"):
        read_archive(path)


def test_missing_member_and_link(tmp_path):
    path = tmp_path / "x.tar.gz"
    fakes.write_archive(path, fakes.tar({"a": b"1"}))
    with pytest.raises(data.DataError, match="Missing: b, c"):
        read_archive(path, ["b", "a", "c"])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    fakes.write_archive(path, buffer.getvalue())
    with pytest.raises(data.DataError, match="must be a plain file"):
        read_archive(path)


def test_wrong_md5(tmp_path):
    path = tmp_path / "x.tar.gz"
    md5 = fakes.write_archive(path, fakes.tar({"a": b"1"}))
    with pytest.raises(data.DataError, match=f"Received: md5 {md5}"):
        archives.read_members(str(path), ["a"], LIMIT, LIMIT, "0" * 32)


def test_damage_far_into_a_member(tmp_path):
    size = 3 << 20  # Beyond the first read, which tarfile guards itself.
    body = np.random.RandomState(0).choice(list(b"abcd"), size).astype(np.uint8)
    path = tmp_path / "x.tar.gz"
    fakes.write_archive(path, fakes.tar({"a": body.tobytes()}))
    packed = bytearray(path.read_bytes())
    middle = len(packed) // 2
    packed[middle : middle + 4096] = np.random.RandomState(1).bytes(4096)
    path.write_bytes(packed)
    with pytest.raises(data.DataError, match="is damaged.*decompressing"):
        read_archive(path, limit=size, total_limit=2 * size)


def test_damaged_archives_are_refused_or_read(tmp_path):
    rng = np.random.RandomState(0)
    # Compressible, so that damage may make zlib itself fail.
    body = rng.choice(list(b"abcd"), LIMIT).astype(np.uint8).tobytes()
    good = fakes.tar({"a": body, "long" * 40: b"2", "b": b"3"})
    path = tmp_path / "x.tar.gz"
    refused = 0
    for i in range(200):
        damaged = bytearray(good if i % 2 else gzip.compress(good))
        for _ in range(3):
            damaged[rng.randint(len(damaged))] = rng.randint(256)
        damaged = damaged[: rng.randint(len(damaged) // 2, 2 * len(damaged))]
        path.write_bytes(gzip.compress(damaged) if i % 2 else damaged)
        try:
            read_archive(path, ["a", "b"])
        except data.DataError as error:
            assert "\n" not in str(error)
            refused += 1
    assert 50 < refused < 200
