"""The data of a run on sentences. The run folder keeps the vocabulary."""

import functools
import os

import numpy as np
from absl import logging

from data.reading import errors
from deltavae_tf.evaluation import context as evaluation
from deltavae_tf.evaluation import likelihood
from deltavae_tf.training import checkpoints, run_folder
from experiments.runs import data

_VOCABULARY = "vocabulary.model"
_NUM_SAMPLES = 8
_SENTENCES = ("The cat sat on the mat .", "", "Naïve \u2581 日本語")


class Data(data.Data):
    """See `data.Data`.

    Attributes:
      vocabulary: `data.text.vocabulary.Vocabulary`, the run's own if it has one.
    """

    examples = "sentences"

    @property
    def _kept(self):
        return os.path.join(os.path.expanduser(self.options.output_dir), _VOCABULARY)

    @functools.cached_property
    def vocabulary(self):
        """The run's vocabulary; before there is one, that of the training text."""
        if os.path.exists(self._kept):
            return load_vocabulary(self.options.output_dir)
        return find_vocabulary(
            self._split("train"), self.hparams.vocabulary_size, self._cache_dir()
        )

    def _cache_dir(self):
        return cache_dir(
            self.hparams.problem, self.options.data_dir, self.options.tmp_dir
        )

    def _load(self):
        training = self._prepared("train")
        if self.options.use_test_set:
            return training, self._prepared("test")
        return self._held_out(training)

    def test_split(self):
        """As `data.Data`."""
        return self._prepared("test")

    def _prepared(self, split):
        from data.text import sentences

        return sentences.prepare(
            self._split(split),
            self.vocabulary,
            self._cache_dir(),
            self.options.progress,
        )

    def identity(self):
        """As `data.Data`."""
        return {**super().identity(), "vocabulary": self.vocabulary.fingerprint}

    def get_ready(self, folder):
        """Keeps the vocabulary, and says what is cut."""
        from data.text import batches

        if folder.writes and not os.path.exists(self._kept):
            self.vocabulary.save(self._kept)
        pieces = batches.cut(self.training, self.hparams.max_length)
        if pieces.num_cut:
            logging.info(
                "%d of %d training sentences have more than %d tokens and are trained "
                "on in pieces; evaluation takes every sentence whole.",
                pieces.num_cut,
                len(self.training),
                self.hparams.max_length,
            )

    def training_batches(self, step):
        """As `data.Data`."""
        from data.text import batches

        h = self.hparams
        return batches.training_batches(
            self.training, h.batch_size, h.max_length, h.packed, self.options.seed, step
        )

    def evaluated(self, split, limit=None):
        """As `data.Data`."""
        from data.text import batches

        if limit is not None:
            split = split.first(limit)
        tokens = self.hparams.eval_batch_size * self.hparams.max_length
        sizes = {
            "tokens": split.lengths,
            "words": split.words,
            "characters": split.characters,
            "index": split.index,
        }

        def some(count=None):
            part = split if count is None else split.first(count)
            return batches.evaluation_batches(part, tokens)

        return evaluation.Examples(
            batches=some,
            name=split.name,
            num_examples=len(split),
            unit=likelihood.PerToken(sizes),
            note=split.note,
        )

    def num_evaluated(self, num_batches):
        """As `data.Data`; sentences of the held-out split's mean length."""
        if not num_batches:
            return None
        tokens = self.hparams.eval_batch_size * self.hparams.max_length
        mean_length = self.held_out.num_tokens / len(self.held_out)
        return max(1, int(num_batches * tokens / mean_length))

    def write_samples(self, model, folder, step, engine):
        """Sentences, in files and among TensorBoard's events."""
        decode = self.vocabulary.decode_to_strings
        lines = decode(model.sample(_NUM_SAMPLES))
        path = os.path.join(folder.samples, f"step-{step:08d}.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        engine.text("samples", "\n\n".join(lines), step)
        if model.encoder is not None:
            tokens = self._rows(range(min(_NUM_SAMPLES, len(self.held_out))))
            pairs = [
                {"original": original, "reconstruction": reconstruction}
                for original, reconstruction in zip(
                    decode(tokens), decode(model.reconstruct(tokens)), strict=True
                )
            ]
            path = os.path.join(folder.samples, f"reconstructions-{step:08d}.json")
            checkpoints.write_json(path, pairs)
            text = "\n\n".join(
                f"{pair['original']}\n\n> {pair['reconstruction']}" for pair in pairs
            )
            engine.text("reconstructions", text, step)

    def _rows(self, places):
        """Held-out sentences, cut to the model's length: int32 `[N, max_length]`."""
        length = self.hparams.max_length
        rows = np.zeros((len(places), length), np.int32)
        for row, place in zip(rows, places, strict=True):
            sentence = self.held_out.sentence(place)[:length]
            row[: len(sentence)] = sentence
        return rows

    def encoded(self, model, count):
        """As `data.Data`; of a sentence's first `max_length` tokens."""
        from deltavae_tf import backend

        def encode(tokens):
            q = model.encode(tokens).distribution
            return q.loc, q.scale, model.segments(tokens)

        encode = backend.graph(encode, model)
        count, size = min(count, len(self.held_out)), self.hparams.eval_batch_size
        parts = []
        for first in range(0, count, size):
            some = self._rows(range(first, min(first + size, count)))
            padding = np.zeros((size - len(some), some.shape[1]), np.int32)
            parts.append([np.array(x)[: len(some)] for x in encode(
                np.concatenate([some, padding])
            )])  # fmt: skip
        arrays = map(np.concatenate, zip(*parts, strict=True))
        return dict(zip(("loc", "scale", "segments"), arrays, strict=True))

    def write_neighbors(self, folder, step, places):
        """Lists of sentences: one, and those nearest to it."""
        del folder, step
        decode = self.vocabulary.decode_to_strings
        return [decode(self._rows(row)) for row in places]

    def batch_spec(self, batch_size):
        """As `data.Data`."""
        shape = (batch_size, self.hparams.max_length)
        return {
            "tokens": (shape, "int32"),
            "index": ((batch_size,), "int32"),
            "mask": ((batch_size,), "float32"),
        }

    def export(self, model, path, details, jit_compile):
        """As `data.Data`."""
        del jit_compile  # Text goes through operations that XLA has not.
        import tensorflow as tf

        from deltavae_tf.export import text as export

        found = export.write_saved_model(model, self.vocabulary, path, details)
        tokens = self.vocabulary.encode(_SENTENCES)
        tokens = tokens.to_tensor(shape=[None, model.max_length]).numpy()
        data.check_export(model, path, tokens, {"text": tf.constant(_SENTENCES)})
        return found


def load_vocabulary(path):
    """The vocabulary of a run folder; an error if it is not the run's own."""
    from data.text import vocabulary

    found = vocabulary.load(os.path.join(os.path.expanduser(path), _VOCABULARY))
    _, held = run_folder.read_identity(path)
    if found.fingerprint != held.get("vocabulary"):
        raise errors.DataError(
            f"{path} has a {_VOCABULARY} of another run: its ids would mean other "
            f"words. Expected the fingerprint {held.get('vocabulary')}. "
            f"Received: {found.fingerprint}"
        )
    return found


def cache_dir(problem, data_dir, tmp_dir):
    """Where vocabularies and encoded text go: beside the data if one may write there.

    Args:
      problem: str, its name.
      data_dir: str, or None.
      tmp_dir: str, where they go otherwise.
    """
    if data_dir:
        data_dir = os.path.expanduser(data_dir)
        if os.path.isdir(data_dir) and os.access(data_dir, os.W_OK):
            return os.path.join(data_dir, f"{problem}-encoded")
    return os.path.join(os.path.expanduser(tmp_dir or "/tmp"), f"{problem}-encoded")


def find_vocabulary(corpus, size, folder):
    """The vocabulary of a training corpus, from `folder`, or built and put there."""
    from data.text import vocabulary

    name = f"{corpus.name.replace('/', '-')}-{corpus.fingerprint()}-{size}.model"
    path = os.path.join(folder, name)
    if os.path.exists(path):
        found = vocabulary.load(path)
        if found.size != size:
            raise errors.DataError(
                f"{path} must have {size:,} ids; remove it and it will be built again. "
                f"Received: {found.size:,} ids"
            )
        return found
    found = vocabulary.build(corpus.lines(), size)
    found.save(path)
    return found
