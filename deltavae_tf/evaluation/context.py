"""What a metric may look at: the model, examples of two splits, and limits."""

import copy
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import likelihood, posteriors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
    """A split that can be looked at again and again.

    Attributes:
      batches: (limit or None) -> iterable of batches, as the batch contract: the first
        `limit` examples, or all.
      name: str, such as "cifar10/test".
      num_examples: int.
      unit: `likelihood.BitsPerDim` or `likelihood.PerToken`: what the code length of an
        example is counted in.
      note: str, what a reader must know, such as "9,980 of 10,000 images".
      num_classes: int; below 2 the labels mean nothing.
      class_names: tuple of str, or empty.
    """

    batches: Callable[[int | None], Iterable[dict]]
    name: str
    num_examples: int
    unit: likelihood.BitsPerDim | likelihood.PerToken
    note: str = ""
    num_classes: int = 0
    class_names: tuple = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How many examples are looked at; None: all.

    Attributes:
      held_out: int or None.
      training: int or None, of the training examples.
      importance_examples: int or None, held-out examples for that bound.
      importance_samples: int, K, a power of two up to 1,024; 0: no such bound.
      reconstructions: int or None, held-out images that are reconstructed.
      temperature: float > 0, of the decoder in these; 1: the model itself.
    """

    held_out: int | None = None
    training: int | None = 10_000
    importance_examples: int | None = 1000
    importance_samples: int = 0
    reconstructions: int | None = 1000
    temperature: float = 1.0


class Context:
    """The model and the examples that are measured; what is costly is computed once.

    Args:
      model: `DeltaVAE` or `TextVAE`.
      held_out: `Examples`.
      training: `Examples` or None: nothing of them is measured.
      limits: `Limits`.
      evaluator: `likelihood.Evaluator` of the model, to use one that is compiled.
      twin_distortion: float, nats per example: the held-out distortion of the decoder
        alone; None: there is no gain to tell.
      seed: int, of a probe's order of examples and of the metrics' noise.

    Attributes:
      split: "held_out" or "training", which a metric is asked about now.
      remarks: list of str, what could not be measured and why.
    """

    def __init__(
        self,
        model: Any,
        held_out: Examples,
        training: Examples | None = None,
        limits: Limits | None = None,
        evaluator: likelihood.Evaluator | None = None,
        twin_distortion: float | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.held_out = held_out
        self.training = training
        self.limits = limits or Limits()
        self.evaluator = evaluator or likelihood.Evaluator(model)
        self.twin_distortion = twin_distortion
        self.seed = seed
        self.split = "held_out"
        self.remarks: list[str] = []
        self._cache: dict = {}

    @property
    def kind(self) -> str:
        """ "images" or "text"."""
        return self.held_out.unit.kind

    @property
    def has_latents(self) -> bool:
        """Whether there is anything to measure of latents."""
        return self.model.encoder is not None

    @property
    def examples(self) -> Examples:
        """The examples of the split that is asked about."""
        return self.of(self.split)

    def of(self, split: str) -> Examples:
        """The examples of a split; a UserError if there are none."""
        found = {"held_out": self.held_out, "training": self.training}.get(split)
        if found is None:
            raise UserError(
                f"There are no examples of this split to look at. Received: {split!r}"
            )
        return found

    def limit(self, split: str | None = None) -> int | None:
        """How many examples of a split are looked at; None: all."""
        return getattr(self.limits, split or self.split)

    def likelihood(self, split: str | None = None) -> dict[str, float]:
        """The means of a split as `likelihood.Evaluator` gives them."""
        split = split or self.split
        examples = self.of(split)
        return self.once(
            f"likelihood {split}",
            lambda: self.evaluator(examples.batches(self.limit(split)), examples.unit),
        )

    def moments(self, split: str | None = None) -> dict[str, np.ndarray]:
        """The posteriors of a split, as `posteriors.moments` gives them."""
        split = split or self.split
        return self.once(
            f"moments {split}",
            lambda: posteriors.moments(
                self.model, self.of(split).batches(self.limit(split))
            ),
        )

    def once(self, key: str, compute: Callable[[], Any]) -> Any:
        """What `compute` gives, computed once for these weights."""
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]

    def fresh(self) -> "Context":
        """The same without what was computed: for other weights of the model.

        Remarks go on into the list of this one.
        """
        found = copy.copy(self)
        found._cache = {}
        return found

    def remark(self, line: str) -> None:
        """Notes once what could not be measured, for people to read."""
        if line not in self.remarks:
            self.remarks.append(line)
