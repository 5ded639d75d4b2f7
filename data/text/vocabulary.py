"""Subword vocabularies: built from text, kept in a file, used within TensorFlow graphs.

A vocabulary is a SentencePiece unigram model with byte fallback and without any
normalization, so that every Unicode line comes back as it went in. SentencePiece itself
keeps a character for spaces, U+2581, and drops spaces that lead: those are escaped.
"""

import hashlib
import io
import itertools
import os
import re

import sentencepiece
import tensorflow as tf
import tqdm

from data.reading import errors
from data.text import vocabulary_model

PAD, EOS, UNKNOWN = 0, 1, 2
FIRST_BYTE = 3  # Then come the 256 bytes, then the subwords.
SMALLEST = FIRST_BYTE + 256 + 1
_SPACE = "\u2581"  # What SentencePiece writes for a space.
_ESCAPE = "\ue000"  # A character for private use.
# In this order, and for decoding in the other one. None makes another's pattern.
_ESCAPES = (
    (_ESCAPE, _ESCAPE, f"{_ESCAPE}0"),
    (_SPACE, _SPACE, f"{_ESCAPE}1"),
    ("^ ", " ", f"{_ESCAPE}2 "),  # Pattern, what it stands for, its escape.
)
_ERRORS = 2  # The least that SentencePiece logs.
_LINES_TO_TRAIN = 1_000_000  # All of LM1B would not fit the trainer's memory.


class Vocabulary:
    """Text to ids and back, by graph operations that a SavedModel can hold.

    Ids: PAD 0, EOS 1, unknown 2 (never used: what no subword covers becomes bytes),
    then 256 bytes, then subwords.

    Args:
      model: bytes, a SentencePiece model as `build` makes it.
      name: str, where it is from, for messages.
    """

    def __init__(self, model, name="vocabulary"):
        vocabulary_model.check(model, name, FIRST_BYTE)
        sentencepiece.set_min_log_level(_ERRORS)
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise errors.DataError(
                f"{name} is damaged or no vocabulary. Received: "
                f"{errors.one_line(error)}"
            ) from error
        ids = (processor.pad_id(), processor.eos_id(), processor.unk_id())
        if ids != (PAD, EOS, UNKNOWN):
            raise errors.DataError(
                f"{name} is another kind of vocabulary: PAD, EOS and unknown must be "
                f"{(PAD, EOS, UNKNOWN)}. Received: {ids}"
            )
        self.model = model
        self.size = processor.vocab_size()
        self.tokenizer = _tokenizer(model, self.fingerprint)

    @property
    def fingerprint(self):
        """Hexadecimal, the same for the same vocabulary alone."""
        return hashlib.sha256(self.model).hexdigest()[:16]

    def encode(self, lines):
        """Ids of lines, each ended by EOS.

        Args:
          lines: string `[N]`. What is no UTF-8 becomes U+FFFD.

        Returns:
          int32 `tf.RaggedTensor` `[N, None]`.
        """
        lines = tf.strings.unicode_transcode(lines, "UTF-8", "UTF-8")
        for pattern, _, escape in _ESCAPES:
            lines = tf.strings.regex_replace(lines, pattern, escape)
        return self.tokenizer.tokenize(lines)

    def decode(self, tokens):
        """Lines of ids: what stands before the first EOS, without PAD.

        Args:
          tokens: int32 `[N, L]`, dense or ragged, each within the vocabulary. Bytes
            that form no character become U+FFFD.

        Returns:
          string `[N]`.
        """
        if isinstance(tokens, tf.RaggedTensor):
            tokens = tokens.to_tensor(PAD)
        tokens = tf.cast(tokens, tf.int32)
        ended = tf.cumsum(tf.cast(tokens == EOS, tf.int32), axis=1) > 0
        kept = tf.ragged.boolean_mask(tokens, ~ended & (tokens != PAD))
        lines = self.tokenizer.detokenize(kept)
        for _, original, escape in reversed(_ESCAPES):
            lines = tf.strings.regex_replace(lines, escape, original)
        return lines

    def decode_to_strings(self, tokens):
        """As `decode`, a list of str."""
        return [line.decode() for line in self.decode(tokens).numpy()]

    def save(self, path):
        """Writes the vocabulary's file, in one step."""
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        temporary = f"{path}.{os.getpid()}.tmp"
        with open(temporary, "wb") as file:
            file.write(self.model)
        os.replace(temporary, path)


def load(path):
    """The `Vocabulary` in a file."""
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return Vocabulary(file.read(vocabulary_model.LARGEST + 1), path)
    except tf.errors.OpError as error:
        raise errors.DataNotFoundError(
            f"The vocabulary {path} cannot be read. Received: {errors.one_line(error)}"
        ) from error


def build(lines, size, progress=True):
    """Trains a vocabulary.

    Args:
      lines: iterable of str; a random million of them is used.
      size: int, ids in all.
      progress: bool, show a bar.

    Returns:
      `Vocabulary` of exactly `size` ids.
    """
    if size < SMALLEST:
        raise errors.DataError(
            f"A vocabulary has at least {SMALLEST} ids: PAD, EOS, unknown, 256 bytes "
            f"and a subword. Received: {size}"
        )
    lines = iter(lines)
    first = next(lines, None)
    if first is None:
        raise errors.DataError("A vocabulary needs text. Received: no lines")
    bar = tqdm.tqdm(
        itertools.chain([first], lines),
        desc=f"building a vocabulary of {size:,}",
        unit=" lines",
        disable=None if progress else True,
    )
    model = io.BytesIO()
    sentencepiece.set_min_log_level(_ERRORS)
    sentencepiece.set_random_generator_seed(0)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(_escape(line) for line in bar),
            model_writer=model,
            vocab_size=size,
            model_type="unigram",
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            character_coverage=0.9995,
            pad_id=PAD,
            eos_id=EOS,
            unk_id=UNKNOWN,
            bos_id=-1,
            input_sentence_size=_LINES_TO_TRAIN,
            shuffle_input_sentence=True,
            max_sentence_length=1 << 20,  # Bytes; longer lines would be skipped.
            num_threads=os.cpu_count(),
            minloglevel=_ERRORS,
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split()).split("] ")[-1]
        raise errors.DataError(
            f"No vocabulary of {size:,} can be built from this text. Received: {reason}"
        ) from error
    return Vocabulary(model.getvalue())


def _escape(line):
    """A str as `encode` hands it to SentencePiece."""
    for pattern, _, escape in _ESCAPES:
        line = re.sub(pattern, escape, line)
    return line


def _tokenizer(model, name):
    """A `SentencepieceTokenizer` that outlives TensorFlow's cache of kernels.

    Its own resource belongs to a kernel, and goes when the cache is cleared, as
    `keras.utils.set_random_seed` does. A resource with a name stays.
    """
    # Slow to import, and images never need it.
    import tensorflow_text
    from tensorflow_text.python.ops import sentencepiece_tokenizer as inside

    class Named(inside._SentencepieceModelResource):
        def _create_resource(self):
            create = inside.gen_sentencepiece_tokenizer.sentencepiece_op
            return create(model=self._model, shared_name=f"vocabulary-{name}")

    tokenizer = tensorflow_text.SentencepieceTokenizer(
        model=model, out_type=tf.int32, add_eos=True
    )
    tokenizer._model_resource = Named(model, None)
    return tokenizer
