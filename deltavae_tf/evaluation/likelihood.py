"""Exact evaluation: every example once, padding masked, one number per split."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from keras import ops

from deltavae_tf import backend, units
from deltavae_tf.errors import NotFiniteError, UserError

_TERMS = ("distortion", "rate", "rate_aux", "committed_rate")
_BOUNDS = {"nelbo": "rate", "nelbo_aux": "rate_aux"}  # Distortion, and this rate.
_SIZES = ("tokens", "words", "characters")


@dataclasses.dataclass(frozen=True)
class BitsPerDim:
    """Code lengths of images: means over images, in bits per dimension.

    Args:
      num_dims: int, dimensions of an example (32 * 32 * 3 for CIFAR-10).
    """

    num_dims: int
    kind = "images"
    example = "image"

    def numbers(self, terms: dict[str, np.ndarray]) -> dict[str, float]:
        """`nelbo_bpd`, `nelbo_aux_bpd` with `..._stderr`; `rate_bpd`, `rate_aux_bpd`.

        Args:
          terms: dict of float64 `[N]`, nats: `distortion`, `rate`, `rate_aux`.
        """
        found = {}
        for name, rate in _BOUNDS.items():
            nats = terms["distortion"] + terms[rate]
            bpd = units.bits_per_dim(nats, self.num_dims)
            found[f"{name}_bpd"] = float(np.mean(bpd))
            found[f"{name}_bpd_stderr"] = float(np.std(bpd) / np.sqrt(len(bpd)))
        for name in _BOUNDS.values():
            mean = float(np.mean(terms[name]))
            found[f"{name}_bpd"] = units.bits_per_dim(mean, self.num_dims)
        return found


@dataclasses.dataclass(frozen=True)
class PerToken:
    """Code lengths of sentences: ratios of sums, in nats per token and per word.

    Args:
      sizes: dict of int arrays `[M]`: `tokens`, `words` and `characters` of each
        sentence (its end counted in each), and `index`, its number in the batches.
    """

    sizes: dict
    kind = "text"
    example = "sentence"

    def numbers(self, terms: dict[str, np.ndarray]) -> dict[str, float]:
        """`..._per_token` of both bounds (with `..._stderr`) and of the four terms;
        `..._per_word` and `..._bits_per_character` of the bounds; `tokens_per_word`;
        ints `num_tokens`, `num_words`, `num_characters`.

        Args:
          terms: dict of float64 `[N]`, nats: `distortion`, `rate`, `rate_aux`,
            `committed_rate`; and `index`, int `[N]`.

        Raises:
          UserError: `sizes` lacks a sentence.
        """
        sizes = self._in_order(terms["index"])
        found = {f"{k}_per_token": _ratio(terms[k], sizes["tokens"])[0] for k in _TERMS}
        for name, rate in _BOUNDS.items():
            nats = terms["distortion"] + terms[rate]
            found[f"{name}_per_token"], stderr = _ratio(nats, sizes["tokens"])
            found[f"{name}_per_token_stderr"] = stderr
            found[f"{name}_per_word"] = _ratio(nats, sizes["words"])[0]
            per_character = _ratio(nats, sizes["characters"])[0]
            found[f"{name}_bits_per_character"] = units.bits(per_character)
        totals = {f"num_{name}": int(np.sum(sizes[name])) for name in _SIZES}
        ratio = totals["num_tokens"] / totals["num_words"]
        return {**found, "tokens_per_word": ratio, **totals}

    def _in_order(self, index):
        """The sizes of the sentences with these numbers, as float64."""
        known = np.asarray(self.sizes["index"])
        order = np.argsort(known)
        place = np.searchsorted(known, index, sorter=order)
        place = order[np.minimum(place, len(order) - 1)]
        missing = known[place] != index
        if np.any(missing):
            raise UserError(
                "`sizes` must hold every sentence of the batches. Received: none for "
                f"number {index[missing][0]}"
            )
        return {k: np.asarray(self.sizes[k], np.float64)[place] for k in _SIZES}


class Evaluator:
    """Evaluates a model, again and again, through one compiled function.

    Args:
      model: `DeltaVAE` or `TextVAE`.
      over_replicas: callable, function of a batch -> function of a data set that
        yields the results for its batches; None computes on one device. See
        `training.strategy.over_replicas`.
    """

    def __init__(self, model: Any, over_replicas: Callable | None = None) -> None:
        self._model = model

        def terms_of(batch):
            terms = model(batch, training=False)
            return {**terms, "index": batch["index"], "mask": batch["mask"]}

        self._terms_of = (over_replicas or self._on_one_device)(terms_of)

    def per_example(self, batches: Iterable[dict]) -> dict[str, np.ndarray]:
        """The one-sample terms of every example.

        Args:
          batches: iterable of batches (of text: a sentence a row); examples with mask
            0 are left out.

        Returns:
          dict of float64 `[N]`, nats, in the order of the data: `distortion`, `rate`,
          `rate_aux`; of text also `committed_rate`; and `index`, int `[N]`.
        """
        parts = []
        for terms in self._terms_of(batches):
            real = terms.pop("mask") > 0
            parts.append({name: value[real] for name, value in terms.items()})
        if not parts:
            raise UserError(
                "The evaluation data is empty: give one example or more. Received: none"
            )
        terms = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
        return {k: v if k == "index" else v.astype("float64") for k, v in terms.items()}

    def __call__(
        self, batches: Iterable[dict], unit: BitsPerDim | PerToken
    ) -> dict[str, float]:
        """Means over a split, standard errors, and the check of the committed rate.

        Each example's rate is compared with the rate that it commits to itself.

        Args:
          batches: iterable of batches.
          unit: what an example's code length is counted in.

        Returns:
          dict of floats under the logged names, means over examples in nats:
          `distortion_nats`, `rate_nats`, `rate_aux_nats`, `committed_rate_nats`,
          `rate_above_delta_nats`; the lowest of any example: `rate_min_nats`,
          `rate_excess_min_nats` (above its committed rate); those of `unit.numbers`;
          and the int `num_examples`.

        Raises:
          NotFiniteError: a term is not finite.
          FloatingPointError: the rate of an example is below the committed rate.
        """
        terms = self.per_example(batches)
        size = len(terms["rate"])
        if "committed_rate" not in terms:  # Not the example's own: the same for all.
            terms["committed_rate"] = np.full(size, self._model.committed_rate())
        for name, values in terms.items():
            bad = np.sum(~np.isfinite(values))
            if bad:
                raise NotFiniteError(f"The {name} of {bad} examples is not finite.")
        self._model.check_rate(terms["rate"], terms["committed_rate"])
        excess = terms["rate"] - terms["committed_rate"]
        return {
            **{f"{name}_nats": float(np.mean(terms[name])) for name in _TERMS},
            "rate_above_delta_nats": float(np.mean(excess)),
            "rate_min_nats": float(np.min(terms["rate"])),
            "rate_excess_min_nats": float(np.min(excess)),
            **unit.numbers(terms),
            "num_examples": size,
        }

    def _on_one_device(self, function):
        compiled = backend.graph(function, self._model)

        def run(batches):
            for batch in batches:
                found = compiled(batch)
                yield {name: ops.convert_to_numpy(v) for name, v in found.items()}

        return run


def _ratio(nats, sizes):
    """Sum of nats over sum of sizes, and its standard error over sentences."""
    total = np.sum(sizes)
    ratio = np.sum(nats) / total
    return float(ratio), float(np.sqrt(np.sum((nats - ratio * sizes) ** 2)) / total)
