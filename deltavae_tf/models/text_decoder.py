"""p(x | z) for text: a causal Transformer over tokens and latents."""

from typing import Any

import keras
import numpy as np
from keras import ops

from deltavae_tf import backend, noise
from deltavae_tf import segments as places
from deltavae_tf.backend import Tensor
from deltavae_tf.distributions import token_categorical
from deltavae_tf.layers import sequence_stack, token_embedding
from deltavae_tf.models import token_sampling


@keras.saving.register_keras_serializable(package="deltavae_tf")
class TextDecoder(keras.layers.Layer):
    """Autoregressive over tokens: token t sees x_<t and z_<=t of its own sentence.

    z_t is mapped to the model's width and added to the embedding of x_{t-1}; causal
    self-attention carries both onward. Without z this is a Transformer language
    model, Tensor2Tensor's `transformer_l4` with Table 5's numbers.

    Args:
      vocabulary_size: int.
      num_layers: int (Table 5's l).
      width: int (h).
      filter_size: int (r).
      num_heads: int.
      use_latents: bool, `False` for the autoregressive baseline.
      dropout_rate: float, in training.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      z: float `[B, L, d]`, one latent a token; None for the baseline.
      x: int `[B, L]`, tokens; sentences end with EOS 1, the rest is PAD 0.
      keys: uint32 `[B, 2]` for dropout, or None.

    Returns:
      `tfd.Independent` over tokens `[L]`, batch shape `[B]`; padding has
      log-probability 0. Its `.distribution` has those by token, `[B, L]`.

    Reference: delta-VAE, section 4.4, appendix E.2 and Table 5.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int,
        width: int,
        filter_size: int,
        num_heads: int = 8,
        use_latents: bool = True,
        dropout_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.width = width
        self.filter_size = filter_size
        self.num_heads = num_heads
        self.use_latents = use_latents
        self.dropout_rate = dropout_rate
        self.embedding = token_embedding.TokenEmbedding(
            vocabulary_size, width, name="embedding", dtype=self.dtype_policy
        )
        self.stack = sequence_stack.SequenceStack(
            num_layers,
            width,
            filter_size,
            num_heads,
            dropout_rate=dropout_rate,
            name="stack",
            dtype=self.dtype_policy,
        )
        if use_latents:
            self.latents = keras.layers.Dense(
                width, name="latents", dtype=self.dtype_policy
            )

    def build(self, z_shape: Any = None, x_shape: Any = None) -> None:
        self.embedding.build()
        self.stack.build((None, None, self.width))
        if self.use_latents:
            self.latents.build((None, None, z_shape[-1]))

    def call(self, z: Tensor | None, x: Tensor, keys: Tensor | None = None) -> Any:
        segments = places.segment_ids(x)
        logits = self.logits(z, x, segments, keys)
        tokens = token_categorical.TokenCategorical(logits=logits)
        real = backend.tfd.Masked(
            tokens,
            validity_mask=ops.not_equal(x, places.PAD),
            safe_sample_fn=lambda d: ops.zeros(ops.shape(logits)[:-1], d.dtype),
        )
        return backend.tfd.Independent(real, 1)

    def logits(
        self,
        z: Tensor | None,
        x: Tensor,
        segments: Tensor,
        keys: Tensor | None = None,
    ) -> Tensor:
        """float32 `[B, L, V]`, of every token given those before it."""
        before = ops.pad(self.embedding(x)[:, :-1], ((0, 0), (1, 0), (0, 0)))
        first = places.is_first(segments)[..., None]
        before = ops.where(first, ops.zeros_like(before), before)
        features = self.stack(self._with_latents(before, z), segments, keys=keys)
        return self.embedding.logits(features)

    def _with_latents(self, embedded, z):
        return embedded + self.latents(z) if self.use_latents else embedded

    def init_cache(self, batch_size: int, length: int) -> Any:
        """The empty cache of the one-position form, for a sentence of `length`."""
        return self.stack.init_cache(batch_size, length)

    def step(
        self, z: Tensor | None, before: Tensor, position: Tensor, cache: Any
    ) -> tuple[Tensor, Any]:
        """One token.

        Args:
          z: float `[B, d]`, its latent; None for the baseline.
          before: int32 `[B]`, the token before; of no influence at position 0.
          position: int32 scalar.
          cache: from `init_cache` or the step before.

        Returns:
          Logits float32 `[B, V]`, cache.
        """
        embedded = self.embedding(before)
        embedded = ops.where(position > 0, embedded, ops.zeros_like(embedded))
        h, cache = self.stack.step(self._with_latents(embedded, z), position, cache)
        return self.embedding.logits(h), cache

    def sample(
        self,
        z: Any,
        keys: Tensor,
        temperature: float | Tensor = 1.0,
        length: int | None = None,
        **settings: Any,
    ) -> Tensor:
        """Samples sentences from a key each: uint32 `[B, 2]`; see below for the rest.

        Token t of a key is the same whatever `length`.
        """
        length = z.shape[1] if length is None else length
        return self.sample_from_uniforms(
            z, uniforms_of(keys, length), temperature, **settings
        )

    def sample_from_uniforms(
        self,
        z: Tensor | None,
        uniforms: Tensor,
        temperature: float | Tensor = 1.0,
        given: Tensor | None = None,
        num_given: int | Tensor = 0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> Tensor:
        """Samples sentences, one token at a time, from cached keys and values.

        One loop of static shapes, which ends when all sentences have: compile it
        (`backend.compile`).

        Args:
          z: float `[B, L, d]`, or None for the baseline.
          uniforms: float32 `[B, L]` in (0, 1), a number for each token.
          temperature: float > 0 or scalar tensor; 1 samples the model itself.
          given: int `[B, L]`, sentences to complete, or None.
          num_given: int, or int32 tensor `[]` or `[B]`: how many tokens of `given` are
            kept.
          top_k: static int, see `token_sampling.draw`.
          top_p: static float, likewise.

        Returns:
          int32 `[B, L]`; PAD after EOS. A sentence without EOS was cut at L.
        """
        batch_size, length = ops.shape(uniforms)[0], uniforms.shape[1]
        num_given = ops.reshape(ops.cast(num_given, "int32"), (-1,))

        def going_on(position, tokens, before, ended, cache):
            del tokens, before, cache
            return ops.logical_and(position < length, ops.logical_not(ops.all(ended)))

        def next_token(position, tokens, before, ended, cache):
            latent = None if z is None else ops.take(z, position, axis=1)
            logits, cache = self.step(latent, before, position, cache)
            uniform = ops.take(uniforms, position, axis=1)
            token = token_sampling.draw(logits, uniform, temperature, top_k, top_p)
            if given is not None:
                known = ops.cast(ops.take(given, position, axis=1), "int32")
                token = ops.where(position < num_given, known, token)
            token = ops.where(ended, ops.zeros_like(token) + places.PAD, token)
            ended = ops.logical_or(ended, ops.equal(token, places.EOS))
            tokens = ops.slice_update(tokens, (0, position), token[:, None])
            return position + 1, tokens, token, ended, cache

        nothing = ops.zeros((batch_size,), dtype="int32")
        state = (
            ops.convert_to_tensor(0, dtype="int32"),
            ops.zeros((batch_size, length), dtype="int32"),
            nothing,
            ops.cast(nothing, "bool"),
            self.init_cache(batch_size, length),
        )
        return ops.while_loop(going_on, next_token, state)[1]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "num_layers": self.num_layers,
            "width": self.width,
            "filter_size": self.filter_size,
            "num_heads": self.num_heads,
            "use_latents": self.use_latents,
            "dropout_rate": self.dropout_rate,
        }


def uniforms_of(keys: Tensor, length: int) -> Tensor:
    """float32 `[B, length]` in (0, 1), a number for each token, of keys `[B, 2]`."""
    steps = noise.fold(keys[:, None], np.arange(length, dtype="int32")[None])
    return ops.reshape(noise.uniform(ops.reshape(steps, (-1, 2)), (1,)), (-1, length))
