"""Embeddings of tokens, tied to the softmax."""

from typing import Any

import keras
from keras import ops

from deltavae_tf import backend, errors
from deltavae_tf.backend import Tensor


@keras.saving.register_keras_serializable(package="deltavae_tf")
class TokenEmbedding(keras.layers.Layer):
    """A table of embeddings that also serves as the softmax's weights.

    Embeddings are scaled by sqrt(width), the table starts with deviation
    1 / sqrt(width). The gradient is dense: Keras's optimizers treat the duplicates in
    a sparse one each by itself, and Adam then trains another model.

    Args:
      vocabulary_size: int.
      width: int, channels.
      **kwargs: `name`, `dtype`, ... for `keras.layers.Layer`.

    Call arguments:
      tokens: int `[B, L]`, each in [0, vocabulary_size).

    Returns:
      float `[B, L, width]`.

    Raises:
      ValueError: tokens outside the vocabulary, where values can be seen: not inside a
        compiled function.

    Reference: Vaswani et al. (2017), section 3.4; Press and Wolf (2017).
    """

    def __init__(self, vocabulary_size: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.width = width

    def build(self, tokens_shape: Any = None) -> None:
        self.table = self.add_weight(
            name="table",
            shape=(self.vocabulary_size, self.width),
            initializer=keras.initializers.RandomNormal(stddev=self.width**-0.5),
        )

    def call(self, tokens: Tensor) -> Tensor:
        check_tokens(tokens, self.vocabulary_size)
        # A product is not the variable: its gradient, and so the table's, is dense.
        table = ops.convert_to_tensor(self.table) * self.width**0.5
        return ops.cast(ops.take(table, tokens, axis=0), self.compute_dtype)

    def compute_output_shape(self, tokens_shape: Any) -> Any:
        return (*tokens_shape, self.width)

    def logits(self, features: Tensor) -> Tensor:
        """float32 `[..., vocabulary_size]` of float `[..., width]`."""
        table = ops.cast(ops.convert_to_tensor(self.table), self.compute_dtype)
        features = ops.cast(features, self.compute_dtype)
        return ops.cast(ops.matmul(features, ops.transpose(table)), "float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "width": self.width,
        }


def check_tokens(tokens: Tensor, vocabulary_size: int) -> None:
    """Raises a UserError if concrete tokens are not in [0, vocabulary_size)."""
    tokens = backend.concrete(tokens)
    if tokens is None:
        return
    outside = tokens[(tokens < 0) | (tokens >= vocabulary_size)]
    if outside.size:
        raise errors.UserError(
            f"Tokens must be in [0, {vocabulary_size}), the vocabulary. "
            f"Received: {outside[:5].tolist()}"
        )
