"""Exact evaluation of text: nats per token, per word, and bits per character."""

import numpy as np

from deltavae_tf import units
from deltavae_tf.evaluation import likelihood

_TERMS = ("distortion", "rate", "rate_aux", "committed_rate")
_SUMS = {
    "distortion": ("distortion",),
    "rate": ("rate",),
    "rate_aux": ("rate_aux",),
    "committed_rate": ("committed_rate",),
    "nelbo": ("distortion", "rate"),
    "nelbo_aux": ("distortion", "rate_aux"),
}


class TextEvaluator:
    """Evaluates a model of sentences, again and again.

    Args:
      model: `TextVAE`.
    """

    def __init__(self, model):
        self._model = model
        self._evaluator = likelihood.Evaluator(model)

    def per_sentence(self, batches):
        """The one-sample terms of every sentence.

        Args:
          batches: iterable of batches, a sentence a row; rows with mask 0 are left
            out.

        Returns:
          dict of float64 `[N]`, nats: `distortion`, `rate`, `rate_aux`,
          `committed_rate`; and `index`, int `[N]`.
        """
        return self._evaluator.per_example(batches)

    def __call__(self, batches, sizes):
        """Means over a split, standard errors, and the check of the committed rates.

        Each sentence's rate is compared with the rate its own length commits to.

        Args:
          batches: iterable of batches, a sentence a row.
          sizes: dict of int arrays `[M]`, `tokens`, `words` and `characters` of each
            sentence (its end counted in each), and `index`, its number in the batches.

        Returns:
          dict of floats. Per sentence: `distortion_nats`, `rate_nats`,
          `rate_aux_nats`, `committed_rate_nats`. Per token, ratios of sums:
          `nelbo_per_token`, `nelbo_aux_per_token` with their `..._stderr`, and those
          four; `..._per_word` of the two bounds, and `..._bits_per_character`.
          `rate_excess_min_nats`: the least that any sentence's rate is above its
          committed one. `tokens_per_word`; and ints `num_examples`, `num_tokens`,
          `num_words`, `num_characters`.

        Raises:
          FloatingPointError: the rate of a sentence is below its committed rate, or a
            term is not finite.
          ValueError: `sizes` lacks a sentence.
        """
        terms = self.per_sentence(batches)
        for name in _TERMS:
            bad = np.sum(~np.isfinite(terms[name]))
            if bad:
                raise FloatingPointError(
                    f"The {name} of {bad} sentences is not finite."
                )
        self._model.check_rate(terms["rate"], terms["committed_rate"])
        sizes = _in_order(sizes, terms["index"])
        found = {f"{name}_nats": float(np.mean(terms[name])) for name in _TERMS}
        excess = np.min(terms["rate"] - terms["committed_rate"])
        found["rate_excess_min_nats"] = float(excess)
        for name, parts in _SUMS.items():
            nats = np.sum([terms[part] for part in parts], axis=0)
            ratio, stderr = _ratio(nats, sizes["tokens"])
            found[f"{name}_per_token"] = ratio
            if name.startswith("nelbo"):
                found[f"{name}_per_token_stderr"] = stderr
                found[f"{name}_per_word"] = _ratio(nats, sizes["words"])[0]
                per_character = _ratio(nats, sizes["characters"])[0]
                found[f"{name}_bits_per_character"] = units.bits(per_character)
        totals = {f"num_{name}": int(np.sum(sizes[name])) for name in sizes}
        found["tokens_per_word"] = totals["num_tokens"] / totals["num_words"]
        return {**found, **totals, "num_examples": len(terms["rate"])}


def _ratio(nats, sizes):
    """Sum of nats over sum of sizes, and its standard error over sentences."""
    total = np.sum(sizes)
    ratio = np.sum(nats) / total
    return float(ratio), float(np.sqrt(np.sum((nats - ratio * sizes) ** 2)) / total)


def _in_order(sizes, index):
    """The sizes of the sentences with these numbers, as float64."""
    order = np.argsort(sizes["index"])
    place = np.searchsorted(sizes["index"], index, sorter=order)
    place = order[np.minimum(place, len(order) - 1)]
    if np.any(sizes["index"][place] != index):
        raise ValueError("`sizes` must hold every sentence of the batches.")
    names = ("tokens", "words", "characters")
    return {name: np.asarray(sizes[name], np.float64)[place] for name in names}
