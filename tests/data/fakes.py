"""CIFAR-10 in miniature: the official files' layout, with 4 images in each."""

import gzip
import hashlib
import io
import lzma
import os
import struct
import tarfile

import numpy as np

BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
PER_BATCH = 4


def records(name):
    """[4, 3073] uint8: what the official binary file `name` holds."""
    rng = np.random.RandomState(BATCHES.index(name))
    labels = rng.randint(0, 10, [PER_BATCH, 1])
    return np.hstack([labels, rng.randint(0, 256, [PER_BATCH, 3072])]).astype(np.uint8)


def expected(split):
    """(images, labels) of a split, pixel by pixel as the site describes it."""
    names = BATCHES[:5] if split == "train" else BATCHES[5:]
    rows = np.concatenate([records(name) for name in names])
    images = np.zeros([len(rows), 32, 32, 3], np.uint8)
    for channel in range(3):
        for y in range(32):
            start = 1 + channel * 1024 + y * 32
            images[:, y, :, channel] = rows[:, start : start + 32]
    return images, rows[:, 0]


def python2_string(value):
    """The instruction by which Python 2 pickles a string."""
    return b"T" + struct.pack("<I", len(value)) + value


def python2_pickle(rows, dtype=b"u1", width=3072):
    """A batch as Python 2's cPickle wrote it, with protocol 2."""
    labels = b"".join(b"K" + bytes([label]) for label in rows[:, 0])
    names = b"".join(python2_string(b"image_%d.png" % i) for i in range(len(rows)))
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06"
        b"K\x00\x85U\x01b\x87Rq\x07(K\x01K" + bytes([len(rows)]) + b"M"
        + struct.pack("<H", width) + b"\x86cnumpy\ndtype\nq\x08" + python2_string(dtype)
        + b"K\x00K\x01\x87Rq\x09(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89" + python2_string(rows[:, 1:].tobytes()) + b"tb"
    )  # fmt: skip
    return (
        b"\x80\x02}q\x01("
        b"U\x0bbatch_labelq\x02U\x17training batch 1 of 5..q\x03"
        b"U\x06labelsq\x04](" + labels + b"e"
        b"U\x04data" + array + b"U\x09filenames](" + names + b"eu."
    )


def binary_members():
    members = {
        f"cifar-10-batches-bin/{name}.bin": records(name).tobytes() for name in BATCHES
    }
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    text = names.replace(" ", "\n") + "\n"
    return {"cifar-10-batches-bin/batches.meta.txt": text.encode(), **members}


def python_members():
    return {
        f"cifar-10-batches-py/{name}": python2_pickle(records(name)) for name in BATCHES
    }


def tar(members):
    """The bytes of an uncompressed archive of plain files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_archive(path, content):
    """Writes a gzipped tar, and returns its md5."""
    packed = gzip.compress(content, 1)
    path.write_bytes(packed)
    return hashlib.md5(packed).hexdigest()


def write_source(source, folder):
    """Puts CIFAR-10 into `folder` as one of its sources; returns `archive_md5`."""
    if source == "binary archive":
        name = "cifar-10-binary.tar.gz"
        return {name: write_archive(folder / name, tar(binary_members()))}
    if source == "python archive":
        name = "cifar-10-python.tar.gz"
        return {name: write_archive(folder / name, tar(python_members()))}
    members = python_members() if source == "python folder" else binary_members()
    for name, content in members.items():
        path = folder / (name if "folder" in source else os.path.basename(name))
        path.parent.mkdir(exist_ok=True)
        if source == "loose xz" and path.suffix == ".bin":
            path, content = (
                path.with_suffix(".bin.xz"),
                lzma.compress(content, preset=0),
            )
        path.write_bytes(content)
    return None
