"""A trained model of text for users without this code: a SavedModel of strings.

Its graph holds the vocabulary, by operations of TensorFlow Text: whoever loads it does
`import tensorflow_text` first, and needs nothing else of this code.
"""

import json
import os
import shutil

import numpy as np
import tensorflow as tf

from deltavae_tf import noise
from deltavae_tf.models import text_decoder, text_vae

DESCRIPTION = os.path.join("assets.extra", "deltavae.json")
_LATENTS, _TOKENS = 2, 3  # As `TextVAE` numbers the purposes of noise.

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


class TextSignatures:
    """The functions that a SavedModel of a `TextVAE` offers.

    Each takes any number of sentences, is a pure function of its arguments, and raises
    `tf.errors.InvalidArgumentError`, inside the graph, where a value is out of range or
    a sentence has more subwords than `model.max_length`. `sample` is
    `model.sample(count, prior, temperature, seed)`, and `log_likelihood` is
    `model(tokens)` of a model with this seed.

    Args:
      model: built `TextVAE`, with an encoder or without.
      vocabulary: has `size`, `encode` (string `[N]` -> ragged ids), `decode` (ids
        `[N, L]` -> string `[N]`) and `tokenizer`, what TensorFlow has to keep.
    """

    def __init__(self, model, vocabulary):
        if not isinstance(model, text_vae.TextVAE):
            raise ValueError(
                f"Strings are for a TextVAE. Received: {type(model).__name__}"
            )
        if vocabulary.size != model.decoder.vocabulary_size:
            raise ValueError(
                "This is the vocabulary of another model: the model has "
                f"{model.decoder.vocabulary_size} ids. Received: {vocabulary.size}"
            )
        self.model = model
        self.vocabulary = vocabulary
        self.priors = _priors(model)
        self._specs = {
            "text": tf.TensorSpec([None], tf.string),
            "seed": tf.TensorSpec([], tf.int64),
            "count": tf.TensorSpec([], tf.int32),
            "temperature": tf.TensorSpec([], tf.float32),
            "prior": tf.TensorSpec([], tf.string),
        }

    def functions(self):
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

    def _function(self, function, names):
        signature = [
            tf.TensorSpec(self._specs[name].shape, self._specs[name].dtype, name)
            for name in names.split()
        ]
        return tf.function(function, input_signature=signature, autograph=False)

    # The signatures.

    def _sample(self, seed, count, temperature, prior=None):
        count = _positive("count", count)
        return self._draw(_key(seed), count, temperature, prior)

    def _complete(self, text, seed, temperature, prior=None):
        given, length = self._tokens(text)
        kept = tf.cast(length - 1, tf.int32)  # Without EOS, the sentence goes on.
        count = tf.shape(text)[0]
        return self._draw(_key(seed), count, temperature, prior, given, kept)

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
            tokens, noise.fold(noise.fold(_key(seed), 0)[None], numbers)
        )
        found = {f"{name}_nats": value for name, value in terms.items()}
        found["nelbo_nats"] = terms["distortion"] + terms["rate"]
        if self.model.auxiliary_prior is None:
            del found["rate_aux_nats"]
        else:
            found["nelbo_aux_nats"] = terms["distortion"] + terms["rate_aux"]
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
        temperature = _positive("temperature", temperature)
        model, length = self.model, self.model.max_length
        z = None
        if self.priors:
            z = self._latents(key, count, prior)
        keys = text_vae.sample_keys(key, 0, count, _TOKENS)
        tokens = model.decoder.sample_from_uniforms(
            z, text_decoder.uniforms_of(keys, length), temperature, given, kept
        )
        return {"text": self.vocabulary.decode(tokens), "tokens": tokens}

    def _latents(self, key, count, prior):
        names = list(self.priors)
        found = tf.equal(names, prior)
        check = tf.debugging.Assert(
            tf.reduce_any(found),
            [f"`prior` must be one of {names}. Received:", prior],
        )
        with tf.control_dependencies([check]):
            place = tf.argmax(found, output_type=tf.int32)
        return tf.switch_case(
            place,
            [
                lambda name=name: self.model.sample_latents(count, name, 1.0, key)
                for name in self.priors.values()
            ],
        )


def _positive(name, value):
    """`value`, if it is above 0 (NaN is not)."""
    check = tf.debugging.Assert(
        value > 0, [f"`{name}` must be above 0. Received:", value]
    )
    with tf.control_dependencies([check]):
        return tf.identity(value)


def _key(seed):
    """`noise.make_key` of an int64 tensor."""
    high = tf.bitwise.right_shift(seed, tf.constant(32, tf.int64))
    return tf.cast(tf.stack([seed, high]) & 0xFFFFFFFF, tf.uint32)


def _priors(model):
    """dict from public names of the priors to `TextVAE.sample_latents`'s."""
    if model.encoder is None:
        return {}
    own = "ar1" if np.any(model.prior.alpha) else "standard_normal"
    names = {"aux": "aux", own: "ar1"}
    if model.auxiliary_prior is None:
        del names["aux"]
    return names


def write_saved_model(model, vocabulary, path, details=None):
    """Writes a SavedModel, whole or not at all, in place of what was at `path`.

    Args:
      model: as `TextSignatures`; with the weights that are to leave.
      vocabulary: as `TextSignatures`.
      path: str, a folder.
      details: JSON-able dict for the description, such as the step.

    Returns:
      dict, the description, also in the file `DESCRIPTION` inside.
    """
    signatures = TextSignatures(model, vocabulary)
    functions = signatures.functions()
    module = tf.Module(name="deltavae_text")
    # Not the model: Keras objects would be saved too, and would need Keras to load.
    module.model_weights = [variable.value for variable in model.weights]
    module.tokenizer = vocabulary.tokenizer
    for name, function in functions.items():
        setattr(module, name, function)
    concrete = {name: f.get_concrete_function() for name, f in functions.items()}
    description = {
        "signatures": {name: _described(f) for name, f in concrete.items()},
        "priors": list(signatures.priors),
        "max_length": model.max_length,
        "vocabulary_size": vocabulary.size,
        "needs": "import tensorflow_text",
        "tensorflow": tf.__version__,
        **(details or {}),
    }
    path = os.path.abspath(os.path.expanduser(path))
    fresh, old = f"{path}.{os.getpid()}.tmp", f"{path}.{os.getpid()}.old"
    try:
        tf.saved_model.save(module, fresh, signatures=concrete)
        os.makedirs(os.path.dirname(os.path.join(fresh, DESCRIPTION)), exist_ok=True)
        with open(os.path.join(fresh, DESCRIPTION), "w", encoding="utf-8") as file:
            json.dump(description, file, indent=1)
        if os.path.exists(path):
            os.rename(path, old)
        os.rename(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if os.path.exists(path):
            shutil.rmtree(old, ignore_errors=True)
    return description


def _described(concrete):
    def table(specs):
        return {
            name: {
                "dtype": spec.dtype.name,
                "shape": spec.shape.as_list(),
                "meaning": _MEANINGS[name],
            }
            for name, spec in specs.items()
        }

    arguments, named = concrete.structured_input_signature
    inputs = {**{spec.name: spec for spec in arguments}, **named}
    return {"inputs": table(inputs), "outputs": table(concrete.structured_outputs)}
