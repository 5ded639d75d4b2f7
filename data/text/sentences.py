"""Encoded sentences: a corpus and a vocabulary become ids, once, kept on disk."""

import collections
import dataclasses
import hashlib
import json
import os
import shutil

import numpy as np
import tensorflow as tf
import tqdm

from data.images import splits
from data.reading import errors, files
from data.text import corpora
from data.text import lines as text_lines
from data.text import vocabulary as vocabularies

_FORMAT = 2
_LINES_AT_ONCE = 4096
_WORDS_MAY_DIFFER = 10
_MAX_COUNTS = 1 << 16
_TREATMENTS = {
    "empty lines": "left out",
    "lines with invalid UTF-8": "repaired by U+FFFD",
    text_lines.TRIMMED: "trimmed",
}
_ARRAYS = ("values", "lengths", "words", "characters")


@dataclasses.dataclass(frozen=True, eq=False)
class Sentences(splits.Parts):
    """One split of encoded text, in memory or mapped from disk.

    Attributes:
      values: integer `[T]`, the ids of all sentences on end, each ended by EOS.
      starts: int64 `[N]`, where each sentence starts in `values`.
      lengths: int32 `[N]`, how many ids it has, EOS included.
      words: int32 `[N]`, words separated by white space, and one for the end.
      characters: int32 `[N]`, Unicode characters, and one for the end.
      index: int32 `[N]`, unique: noise drawn per sentence depends on it alone.
      name: str, such as "lm1b/test".
      note: str, what a number measured on this split has to say beside it.
    """

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    words: np.ndarray
    characters: np.ndarray
    index: np.ndarray
    name: str
    note: str = ""

    examples = "sentences"

    def __len__(self):
        return len(self.lengths)

    @property
    def num_tokens(self):
        """Ids of all sentences, EOS included; an int."""
        return int(np.sum(self.lengths, dtype=np.int64))

    @property
    def num_words(self):
        """Words of all sentences, an end counted for each; an int."""
        return int(np.sum(self.words, dtype=np.int64))

    def sentence(self, i):
        """int32 `[n]`, the ids of sentence i."""
        start = self.starts[i]
        return self.values[start : start + self.lengths[i]].astype(np.int32)

    def _rows(self, where):
        columns = ("starts", "lengths", "words", "characters", "index")
        return {name: getattr(self, name)[where] for name in columns}


def prepare(corpus, vocabulary, cache_dir=None, progress=True):
    """Encodes a corpus, or finds what an earlier call left in `cache_dir`.

    Args:
      corpus: `corpora.Corpus`.
      vocabulary: `vocabulary.Vocabulary`.
      cache_dir: optional str, the folder whose subfolder receives the ids of a corpus
        that has sources. A killed call leaves nothing that a later one would take.
      progress: bool, show a bar.

    Returns:
      `Sentences`, mapped from the cache where there is one.
    """
    if not cache_dir or not corpus.sources:
        arrays, counts = _encode(corpus, vocabulary, progress)
        return _sentences(corpus, arrays, counts, vocabulary.size)
    identity = [_FORMAT, corpus.name, corpus.sources, vocabulary.fingerprint]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    folder = os.path.join(cache_dir, f"{corpus.name.replace('/', '-')}-{digest}")
    if not os.path.isdir(folder):
        arrays, counts = _encode(corpus, vocabulary, progress)
        _write(folder, arrays, counts)
    arrays, counts = _read(folder)
    return _sentences(corpus, arrays, counts, vocabulary.size)


def _encode(corpus, vocabulary, progress):
    """(dict of arrays, dict of counts) of a whole corpus."""
    counts = collections.Counter()
    words, characters = [], []

    def pieces():
        """Lines in parts of one size: graphs and threads like them so."""
        rest = []
        for lines in corpus.cleaned(counts):
            words.append(np.array([corpora.num_words(x) for x in lines], np.int32))
            found = [corpora.num_characters(x) for x in lines]
            characters.append(np.array(found, np.int32))
            rest += [x.encode() for x in lines]
            while len(rest) >= _LINES_AT_ONCE:
                yield rest[:_LINES_AT_ONCE]
                rest = rest[_LINES_AT_ONCE:]
        if rest:
            yield rest

    def encode(lines):
        ragged = vocabulary.encode(lines)
        return ragged.flat_values, tf.cast(ragged.row_lengths(), tf.int32)

    data = tf.data.Dataset.from_generator(
        pieces, output_signature=tf.TensorSpec([None], tf.string)
    )
    data = data.map(encode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dtype = np.uint16 if vocabulary.size <= 1 << 16 else np.int32
    values, lengths = [], []
    bar = tqdm.tqdm(
        desc=f"encoding {corpus.name}",
        unit=" lines",
        disable=None if progress else True,
    )
    with bar:
        for flat, length in data.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            values.append(flat.astype(dtype))
            lengths.append(length)
            bar.update(len(length))
    if not lengths:
        raise errors.DataError(
            f"{corpus.name} has no lines that are not empty. Received: "
            f"{counts['lines']} lines"
        )
    text_lines.log_trimmed(counts[text_lines.TRIMMED], corpus.name)
    arrays = [np.concatenate(part) for part in (values, lengths, words, characters)]
    total = int(arrays[2].sum(dtype=np.int64))
    # Tools differ by a word or two over what is unprintable.
    off = abs(total - (corpus.known_words or total))
    if off > _WORDS_MAY_DIFFER and not counts["empty lines"]:
        raise errors.DataError(
            f"{corpus.name} must have {corpus.known_words:,} words; the file is "
            f"damaged or not the official one. Received: {total:,} words"
        )
    return dict(zip(_ARRAYS, arrays, strict=True)), dict(counts)


def _sentences(corpus, arrays, counts, vocabulary_size):
    values, lengths = arrays["values"], arrays["lengths"]
    largest = int(values.max())
    if largest >= vocabulary_size or len(values) != lengths.sum(dtype=np.int64):
        raise errors.DataError(
            f"The ids of {corpus.name} do not fit the vocabulary of {vocabulary_size:,}"
            f"; remove the cache. Received: an id of {largest:,}, {len(values):,} ids"
        )
    notes = [corpus.note] if corpus.note else []
    for what, treatment in _TREATMENTS.items():
        if counts.get(what):
            notes.append(f"{counts[what]:,} {what} {treatment}")
    ends = np.cumsum(lengths, dtype=np.int64)
    return Sentences(
        values=values,
        starts=ends - lengths,
        lengths=lengths,
        words=arrays["words"],
        characters=arrays["characters"],
        index=np.arange(len(lengths), dtype=np.int32),
        name=corpus.name,
        note="; ".join(notes),
    )


def _write(folder, arrays, counts):
    """All files or none: they are written beside, then renamed."""
    temporary = f"{folder}.{os.getpid()}.tmp"
    os.makedirs(temporary, exist_ok=True)
    try:
        for name in _ARRAYS:
            np.save(os.path.join(temporary, f"{name}.npy"), arrays[name])
        with open(os.path.join(temporary, "counts.json"), "w") as file:
            json.dump(counts, file)
        os.replace(temporary, folder)
    except OSError:
        if not os.path.isdir(folder):  # Another process may have been quicker.
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read(folder):
    try:
        arrays = {
            name: files.map_array(os.path.join(folder, f"{name}.npy"))
            for name in _ARRAYS
        }
        with open(os.path.join(folder, "counts.json")) as file:
            counts = json.loads(file.read(_MAX_COUNTS))
        _check_arrays(arrays, counts)
        return arrays, counts
    except (OSError, ValueError, RecursionError) as error:
        raise errors.DataError(
            f"{folder} is damaged; remove it and it will be made again. "
            f"Received: {errors.one_line(error)}"
        ) from error


def _check_arrays(arrays, counts):
    """Raises a ValueError unless they are such as `_encode` makes."""
    if not isinstance(counts, dict) or {*map(type, counts.values())} - {int}:
        raise ValueError("counts.json must be an object of integers")
    for name, array in arrays.items():
        good = array.dtype == np.int32 or (name == "values" and array.dtype.kind == "u")
        good = good and array.ndim == 1 and len(array)
        good = good and (name == "values" or len(array) == len(arrays["lengths"]))
        if not good or (array.dtype.kind == "i" and array.min() < 0):
            raise ValueError(f"{name} is {array.dtype} {array.shape}, or below 0")


def encode_lines(lines, vocabulary, max_length):
    """Encodes a few lines that must fit: int32 `[N, max_length]`, padded.

    Args:
      lines: list of str.
      vocabulary: `vocabulary.Vocabulary`.
      max_length: int, the most ids a line may have, EOS included.
    """
    ragged = vocabulary.encode(lines)
    for number, length in enumerate(ragged.row_lengths().numpy(), start=1):
        if length > max_length:
            raise errors.DataError(
                f"Line {number} is too long: at most {max_length} subwords, its end "
                f"included. Received: {length} subwords"
            )
    return ragged.to_tensor(vocabularies.PAD, shape=[None, max_length]).numpy()
