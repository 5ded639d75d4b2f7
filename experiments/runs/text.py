"""A run of a text experiment."""

import os

import tensorflow as tf
from absl import logging

from data.reading import errors
from data.text import batches as text_batches
from data.text import sentences, vocabulary
from deltavae_tf.evaluation import text_likelihood
from deltavae_tf.training import run_folder
from experiments import runs, text_build

_VOCABULARY = "vocabulary.model"
_NUM_SAMPLES = 8
TENSOR2TENSOR_TOKENS_PER_WORD = 1.108  # lm1b32k on heldout-00000, ends included.


class TextRun(runs.Run):
    """A `Run` of sentences. Its folder keeps the vocabulary: `vocabulary.model`."""

    examples = "sentences"

    def _problem(self):
        if self.hparams.problem not in text_build.PROBLEMS:
            raise ValueError(
                f"There is no text data set {self.hparams.problem!r}; there are "
                f"{sorted(text_build.PROBLEMS)}"
            )
        return text_build.PROBLEMS[self.hparams.problem]

    def _load(self):
        where = (self.options.data_dir, self.options.tmp_dir, self.options.download)
        h = self.hparams
        corpora = {
            split: self.problem.load(split, h, *where)
            for split in (
                ("train", "test") if self.options.use_test_set else ("train",)
            )
        }
        cache = text_build.cache_dir(
            h.problem, self.options.data_dir, self.options.tmp_dir
        )
        kept = os.path.join(self.folder.path, _VOCABULARY)
        if os.path.exists(kept):
            self.vocabulary = load_vocabulary(self.folder.path)
        else:
            self.vocabulary = text_build.find_vocabulary(
                corpora["train"], h.vocabulary_size, cache
            )
        found = {
            split: sentences.prepare(
                corpus, self.vocabulary, cache, self.options.progress
            )
            for split, corpus in corpora.items()
        }
        if "test" in found:
            return found["train"], found["test"]
        return found["train"].hold_out(h.num_held_out)

    def _data_identity(self):
        return {
            "training_sentences": len(self.training),
            "vocabulary": self.vocabulary.fingerprint,
        }

    def _get_ready(self):
        kept = os.path.join(self.folder.path, _VOCABULARY)
        if self.folder.writes and not os.path.exists(kept):
            self.vocabulary.save(kept)
        self._evaluator = text_likelihood.TextEvaluator(self.model)
        pieces = text_batches.cut(self.training, self.hparams.max_length)
        if pieces.num_cut:
            logging.info(
                "%d of %d training sentences have more than %d tokens and are trained "
                "on in pieces; evaluation takes every sentence whole.",
                pieces.num_cut,
                len(self.training),
                self.hparams.max_length,
            )

    def _training_batches(self, step):
        h = self.hparams
        return text_batches.training_batches(
            self.training, h.batch_size, h.max_length, h.packed, self.options.seed, step
        )

    def _measure(self, num_batches):
        tokens = self.hparams.eval_batch_size * self.hparams.max_length
        split = self.held_out
        if num_batches:
            mean_length = split.num_tokens / len(split)
            split = split.first(max(1, int(num_batches * tokens / mean_length)))
        sizes = {
            "tokens": split.lengths,
            "words": split.words,
            "characters": split.characters,
            "index": split.index,
        }
        return lambda: self._evaluator(
            text_batches.evaluation_batches(split, tokens), sizes
        )

    def remarks(self, found):
        """How long a token is: nats per token mean little without it."""
        return [
            f"{found['num_tokens']:,} tokens, {found['num_words']:,} words, "
            f"{found['num_characters']:,} characters, each sentence's end counted: "
            f"{found['tokens_per_word']:.3f} tokens per word "
            f"(Tensor2Tensor's lm1b32k: {TENSOR2TENSOR_TOKENS_PER_WORD})."
        ]

    def _draw_samples(self, step):
        tokens = self.model.sample(_NUM_SAMPLES)
        lines = self.vocabulary.decode_to_strings(tokens)
        path = os.path.join(self.folder.samples, f"step-{step:08d}.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        tf.summary.text("samples", "\n\n".join(lines), step=step)


def load_vocabulary(path):
    """The vocabulary of a run folder; an error if it is not the run's own."""
    found = vocabulary.load(os.path.join(os.path.expanduser(path), _VOCABULARY))
    _, held = run_folder.read_identity(path)
    if found.fingerprint != held.get("vocabulary"):
        raise errors.DataError(
            f"{path} has a {_VOCABULARY} of another run: its ids would mean other "
            f"words. Expected the fingerprint {held.get('vocabulary')}. "
            f"Received: {found.fingerprint}"
        )
    return found
