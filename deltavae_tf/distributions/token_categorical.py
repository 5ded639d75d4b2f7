"""A categorical distribution of tokens, cheap where the vocabulary is large."""

from keras import ops

from deltavae_tf import backend


class TokenCategorical(backend.tfd.Categorical):
    """`tfd.Categorical` with log p(x) = logits[x] - logsumexp(logits).

    The logits `[..., V]` are the largest tensors of a text model. TensorFlow's own
    cross entropy, when operations are to be deterministic, takes a log-softmax of all
    of them and gathers from it, and the gradient of that scatters into a tensor of
    zeros of the same size, on one thread; here it is a mask.
    """

    def _log_prob(self, value):
        logits = self.logits_parameter()
        place = ops.arange(logits.shape[-1], dtype="int32")
        chosen = ops.equal(place, ops.cast(value, "int32")[..., None])
        picked = ops.sum(ops.where(chosen, logits, ops.zeros_like(logits)), axis=-1)
        return picked - ops.logsumexp(logits, axis=-1)
