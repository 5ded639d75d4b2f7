"""A trained model of text for users without this code: a SavedModel of strings.

Its graph holds the vocabulary, by operations of TensorFlow Text: whoever loads it does
`import tensorflow_text` first, and needs nothing else of this code.
"""

import os
from typing import Any

import tensorflow as tf

from deltavae_tf import errors, noise
from deltavae_tf.export import saved_model
from deltavae_tf.models import text_decoder, text_vae

_MEANINGS = {
    "text": "UTF-8, a sentence each; what is no UTF-8 becomes U+FFFD",
    "seed": "of all noise; the same seed gives the same sentences",
    "count": "how many sentences, at least 1",
    "temperature": "above 0; 1 samples the model, below 1 is sharper",
    "prior": "where z is from, one of `priors`",
    "tokens": "ids of subwords; EOS 1 ends a sentence, PAD 0 follows",
    "num_tokens": "subwords of the sentence, its end counted",
    "loc": "mean of q(z | x), of each token; padding's means nothing",
    "scale": "standard deviation of q(z | x), likewise",
    "distortion_nats": "-log p(x | z), one z ~ q(z | x); nats per sentence",
    "rate_nats": "KL(q(z | x) || p(z)), the AR(1) prior; nats per sentence",
    "committed_rate_nats": "what a sentence of this length commits to, nats",
    "rate_aux_nats": "KL to the auxiliary prior given one prefix z; nats per sentence",
    "nelbo_nats": "distortion + rate, a bound on -log p(x); nats per sentence",
    "nelbo_aux_nats": "distortion + rate_aux; nats per sentence",
}


class TextSignatures(saved_model.Signatures):
    """The functions that a SavedModel of a `TextVAE` offers.

    A sentence of more subwords than `model.max_length` is an error too. `sample` is
    `model.sample(count, prior, temperature, seed)`, and `log_likelihood` is
    `model(tokens)` of a model with this seed.

    Args:
      model: built `TextVAE`, with an encoder or without.
      vocabulary: has `size`, `encode` (string `[N]` -> ragged ids), `decode` (ids
        `[N, L]` -> string `[N]`) and `tokenizer`, what TensorFlow has to keep.
    """

    meanings = _MEANINGS

    def __init__(self, model: Any, vocabulary: Any) -> None:
        if not isinstance(model, text_vae.TextVAE):
            raise errors.UserError(
                f"Strings are for a TextVAE. Received: {type(model).__name__}"
            )
        if vocabulary.size != model.decoder.vocabulary_size:
            raise errors.UserError(
                "This is the vocabulary of another model: the model has "
                f"{model.decoder.vocabulary_size} ids. Received: {vocabulary.size}"
            )
        super().__init__(model, {"text": tf.TensorSpec([None], tf.string)})
        self.vocabulary = vocabulary
        self.resources = (vocabulary.tokenizer,)

    def functions(self) -> dict[str, Any]:
        """dict from a signature's name to its `tf.function`."""
        if not self.priors:
            return {
                "sample": self._function(self._sample, "seed count temperature"),
                "complete": self._function(self._complete, "text seed temperature"),
                "log_likelihood": self._function(self._log_likelihood, "text"),
            }
        return {
            "sample": self._function(self._sample, "seed count temperature prior"),
            "complete": self._function(self._complete, "text seed temperature prior"),
            "encode": self._function(self._encode, "text"),
            "log_likelihood": self._function(self._bound, "text seed"),
        }

    def details(self) -> dict[str, Any]:
        """What the description says of the model."""
        return {
            "max_length": self.model.max_length,
            "vocabulary_size": self.vocabulary.size,
            "needs": "import tensorflow_text",
        }

    # The signatures.

    def _sample(self, seed, count, temperature, prior=None):
        count = saved_model.positive("count", count)
        return self._draw(saved_model.key_of(seed), count, temperature, prior)

    def _complete(self, text, seed, temperature, prior=None):
        given, length = self._tokens(text)
        kept = tf.cast(length - 1, tf.int32)  # Without EOS, the sentence goes on.
        count = tf.shape(text)[0]
        return self._draw(
            saved_model.key_of(seed), count, temperature, prior, given, kept
        )

    def _encode(self, text):
        tokens, length = self._tokens(text)
        normal = self.model.encode(tokens).distribution
        found = {"loc": normal.loc, "scale": normal.scale}
        return {**found, "tokens": tokens, "num_tokens": length}

    def _log_likelihood(self, text):
        tokens, length = self._tokens(text)
        nats = self.model.terms(tokens, None)["distortion"]
        return {"distortion_nats": nats, "nelbo_nats": nats, "num_tokens": length}

    def _bound(self, text, seed):
        tokens, length = self._tokens(text)
        # The keys of an evaluation: `DeltaVAE.call` outside of training, at step 0.
        numbers = tf.range(tf.shape(tokens)[0])
        terms = self.model.terms(
            tokens, noise.fold(noise.fold(saved_model.key_of(seed), 0)[None], numbers)
        )
        found = saved_model.nats(terms, self.model.auxiliary_prior is not None)
        return {**found, "num_tokens": length}

    # What they share.

    def _tokens(self, text):
        """int32 `[N, max_length]` and how many of each row are no padding."""
        ragged = self.vocabulary.encode(text)
        length = tf.cast(ragged.row_lengths(), tf.int32)
        longest = self.model.max_length
        check = tf.debugging.Assert(
            tf.reduce_all(length <= longest),
            [f"`text` must have at most {longest} subwords a sentence. Received:"]
            + [tf.reduce_max(length)],
        )
        with tf.control_dependencies([check]):
            return ragged.to_tensor(0, shape=[None, longest]), tf.identity(length)

    def _draw(self, key, count, temperature, prior, given=None, kept=0):
        temperature = saved_model.positive("temperature", temperature)
        model, length = self.model, self.model.max_length
        z = None
        if self.priors:
            z = self._latents(key, count, 1.0, prior)
        keys = noise.sample_keys(key, 0, count, noise.Purpose.DATA)
        tokens = model.decoder.sample_from_uniforms(
            z, text_decoder.uniforms_of(keys, length), temperature, given, kept
        )
        return {"text": self.vocabulary.decode(tokens), "tokens": tokens}


def write_saved_model(
    model: Any, vocabulary: Any, path: str | os.PathLike, details: dict | None = None
) -> dict[str, Any]:
    """Writes a SavedModel, whole or not at all, in place of what was at `path`.

    Args:
      model: as `TextSignatures`; with the weights that are to leave.
      vocabulary: as `TextSignatures`.
      path: str, a folder.
      details: JSON-able dict for the description, such as the step.

    Returns:
      dict, the description, as `saved_model.write`.
    """
    return saved_model.write(TextSignatures(model, vocabulary), path, details)
