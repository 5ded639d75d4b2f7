"""The One Billion Word Benchmark (Chelba et al. 2013): news, a sentence a line.

  https://www.statmt.org/lm-benchmark/

Training shards news.en-00001-of-00100 to news.en-00099-of-00100; the benchmark's test
set is news.en.heldout-00000-of-00050, one of 50 held-out shards.
"""

import fnmatch
import os

from data import dataset
from data.reading import archives, errors, files, prepared
from data.text import corpora, lines

TRAIN_FILES = "news.en-000[0-9][0-9]-of-00100"
TEST_FILES = "news.en.heldout-00000-of-00050"
ARCHIVE = "1-billion-word-language-modeling-benchmark-r13output.tar.gz"
# That of tensorflow_datasets, which downloads it.
ARCHIVE_SHA256 = "01ba60381110baf7f189dfd2b8374de371e8c9a340835793f190bdae9e90a34e"
# Words and ends of sentences, as Tensor2Tensor counts them.
KNOWN_WORDS = {TEST_FILES: 159_658}

_TOP = ARCHIVE.removesuffix(".tar.gz")
_FOLDERS = ("training-monolingual", "heldout-monolingual")
_SUFFIX = ".tokenized.shuffled"
_LARGEST_SHARD = 1 << 26  # Official ones have 42 MB.
_LARGEST_ARCHIVE = 1 << 34  # It unpacks to 4.4 GB.
_HOW_TO_GET_IT = (
    f"put shards or {ARCHIVE} from https://www.statmt.org/lm-benchmark/ there, or "
    "download with --generate_data"
)


def load(
    split: str,
    data_dir: str | None = None,
    tmp_dir: str | None = None,
    download: bool = False,
    train_files: str = TRAIN_FILES,
    eval_files: str = TEST_FILES,
    archive_sha256: str = ARCHIVE_SHA256,
) -> corpora.Corpus:
    """Finds a split in the first of these that `data_dir` has.

    1. Shards, in `data_dir` or in the folders that the archive unpacks to. A single
       shard will do; the note says how many there are.
    2. The official archive, whose sha256 is checked.
    3. `lm1b/`, prepared by `tensorflow_datasets`; with `download`, what is not there
       is downloaded and prepared. Its test split has all 50 held-out shards, of which
       the benchmark uses the first: the note says so.

    Args:
      split: "train" or "test".
      data_dir: optional str, that of `tensorflow_datasets` if not given:
        $TFDS_DATA_DIR or ~/tensorflow_datasets.
      tmp_dir: optional str, where a download goes.
      download: bool.
      train_files: str, a pattern of shard names, for the split "train".
      eval_files: str, one for the split "test".
      archive_sha256: str, hexadecimal.

    Returns:
      `corpora.Corpus`.
    """
    patterns = {"train": train_files, "test": eval_files}
    dataset.check_split(split)
    pattern = patterns[split]
    data_dir = prepared.data_dir_of(data_dir, download, _HOW_TO_GET_IT)
    found = _shards(data_dir, pattern)
    if found:
        return _of_shards(split, found)
    archive = os.path.join(data_dir, ARCHIVE)
    if files.exists(archive):
        return _of_archive(split, archive, pattern, archive_sha256)
    if pattern in (TRAIN_FILES, TEST_FILES):
        corpus = _of_prepared(split, data_dir, tmp_dir, download)
        if corpus:
            return corpus
    there = sorted(_shards(data_dir, "news.en*"))
    raise errors.DataNotFoundError(
        f"`data_dir` must have LM1B's {split} shards {pattern}; {_HOW_TO_GET_IT}. "
        f"Received: {data_dir} with "
        + (f"{len(there)} other shards such as {there[0]}" if there else "no shards")
    )


def _shards(data_dir, pattern):
    """{name: path} of the shards whose names fit the pattern."""
    folders = [data_dir]
    for root in (data_dir, os.path.join(data_dir, _TOP)):
        folders += [os.path.join(root, f"{name}{_SUFFIX}") for name in _FOLDERS]
    found = {}
    for folder in folders:
        if files.is_folder(folder):
            for name in files.names(folder):
                if fnmatch.fnmatchcase(name, pattern):
                    found.setdefault(name, os.path.join(folder, name))
    return found


def _of_shards(split, found):
    names = sorted(found)

    def chunks():
        for name in names:
            yield from lines.read_in_pieces(found[name])

    sizes = [files.size(found[name]) for name in names]
    for name, size in zip(names, sizes, strict=True):
        if not size:
            raise errors.DataError(f"{found[name]} is empty. Copy the shard again")
    return corpora.Corpus(
        name=f"lm1b/{split}",
        chunks=chunks,
        note=_note(split, names),
        sources=tuple(zip(names, sizes, strict=True)),
        known_words=_known_words(names),
    )


def _of_archive(split, path, pattern, sha256):
    archives.check_sha256(path, sha256)

    def fits(member):
        return fnmatch.fnmatchcase(os.path.basename(member), pattern)

    def chunks():
        shards = archives.members(path, fits, _LARGEST_SHARD, _LARGEST_ARCHIVE)
        empty = True
        for name, content in shards:
            empty = False
            yield lines.split(content, f"{path}, member {name},")
        if empty:
            raise errors.DataError(f"{path} has no members {pattern}")

    official = pattern in (TRAIN_FILES, TEST_FILES)
    return corpora.Corpus(
        name=f"lm1b/{split}",
        chunks=chunks,
        note="" if official else f"shards {pattern}",
        sources=((ARCHIVE, sha256, pattern),),
        known_words=_known_words([pattern]),
    )


def _of_prepared(split, data_dir, tmp_dir, download):
    builder = prepared.builder("lm1b", data_dir, tmp_dir, download)
    if builder is None:
        return None

    def chunks():
        for part in prepared.stream(builder, split):
            yield list(part["text"])

    note = "all of tensorflow_datasets' training shards"
    if split == "test":
        note = "all 50 held-out shards of tensorflow_datasets, not the benchmark's one"
    return corpora.Corpus(
        name=f"lm1b/{split}",
        chunks=chunks,
        note=note,
        sources=(("tfds", str(builder.version), split),),
    )


def _note(split, names):
    """What a number measured on these shards has to say."""
    if split == "test" and names == [TEST_FILES]:
        return ""
    if split == "train" and all(fnmatch.fnmatch(name, TRAIN_FILES) for name in names):
        return "" if len(names) == 99 else f"{len(names)} of 99 training shards"
    return f"shards {', '.join(name.removeprefix('news.en.') for name in names)}"


def _known_words(names):
    return KNOWN_WORDS.get(names[0]) if len(names) == 1 else None


DATASET = dataset.TextDataset(
    name="lm1b",
    loader=load,
    num_held_out=1000,
    source="https://www.statmt.org/lm-benchmark/, its archive or shards of it",
    paper_split="shards 1 to 99, and held-out shard 0 of 50",
    options=(
        dataset.Option(
            name="train_files",
            type=str,
            default=TRAIN_FILES,
            meaning="lm1b: pattern of the shards to train on",
        ),
        dataset.Option(
            name="eval_files",
            type=str,
            default=TEST_FILES,
            meaning="lm1b: pattern of the test shards",
        ),
    ),
)
