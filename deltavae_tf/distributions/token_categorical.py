"""A categorical distribution of tokens, cheap where the vocabulary is large."""

import numpy as np
from keras import ops

from deltavae_tf import backend
from deltavae_tf.distributions import checks


class TokenCategorical(backend.tfd.Categorical):
    """`tfd.Categorical` with log p(x) = logits[x] - logsumexp(logits).

    The logits `[..., V]` are the largest tensors of a text model. TensorFlow's own
    cross entropy, when operations are to be deterministic, takes a log-softmax of all
    of them and gathers from it, and the gradient of that scatters into a tensor of
    zeros of the same size, on one thread; here it is a mask.

    A token outside of [0, V - 1] has log-probability -inf, and with `validate_args` it
    is an error, as in TFP.
    """

    def _log_prob(self, value):
        logits = self.logits_parameter()
        place = ops.arange(logits.shape[-1], dtype="int32")
        chosen = ops.equal(place, ops.cast(value, "int32")[..., None])
        picked = ops.sum(ops.where(chosen, logits, ops.zeros_like(logits)), axis=-1)
        nats = picked - ops.logsumexp(logits, axis=-1)
        good = checks.is_integer_in(value, 0, logits.shape[-1] - 1)
        if self.validate_args:  # TFP's own check lets V itself pass.
            message = f"Tokens must be integers in [0, {logits.shape[-1] - 1}]."
            checks.require(good, value, message)
        return ops.where(good, nats, -np.inf)
