"""Exact evaluation: every example once, padding masked, one number per split."""

import numpy as np
from keras import ops

from deltavae_tf import backend, units

_TERMS = ("distortion", "rate", "rate_aux")


class Evaluator:
    """Evaluates a model, again and again, through one compiled function.

    Args:
      model: `DeltaVAE`.
      over_replicas: callable, function of a batch -> function of a data set that
        yields the results for its batches; None computes on one device. See
        `training.strategy.over_replicas`.
    """

    def __init__(self, model, over_replicas=None):
        self._model = model

        def terms_of(batch):
            terms = model(batch, training=False)
            return {**terms, "index": batch["index"], "mask": batch["mask"]}

        self._terms_of = (over_replicas or self._on_one_device)(terms_of)

    def per_example(self, batches):
        """The one-sample terms of every example.

        Args:
          batches: iterable of batches; examples with mask 0 are left out.

        Returns:
          dict of float64 `[N]`, nats, in the order of the data: `distortion`, `rate`,
          `rate_aux`; and `index`, int `[N]`.
        """
        parts = []
        for terms in self._terms_of(batches):
            real = terms.pop("mask") > 0
            parts.append({name: value[real] for name, value in terms.items()})
        if not parts:
            raise ValueError("The evaluation data is empty.")
        terms = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
        return {k: v if k == "index" else v.astype("float64") for k, v in terms.items()}

    def __call__(self, batches, num_dims):
        """Means over a split, standard errors, and the check of the committed rate.

        Args:
          batches: iterable of batches.
          num_dims: int, dimensions of an example (32 * 32 * 3 for CIFAR-10).

        Returns:
          dict of floats under the logged names: `distortion_nats`, `rate_nats`,
          `rate_aux_nats`, `rate_min_nats` (the lowest of any example),
          `committed_rate_nats`, `nelbo_bpd`, `nelbo_aux_bpd`, each with `..._stderr`,
          `rate_bpd`, `rate_aux_bpd`; and the int `num_examples`.

        Raises:
          FloatingPointError: the rate of an example is below the committed rate, or
            a term is not finite.
        """
        terms = self.per_example(batches)
        for name, values in terms.items():
            if not np.all(np.isfinite(values)):
                raise FloatingPointError(
                    f"The {name} of {np.sum(~np.isfinite(values))} examples is not "
                    "finite."
                )
        self._model.check_rate(terms["rate"])
        size = len(terms["rate"])
        found = {f"{k}_nats": float(np.mean(terms[k])) for k in _TERMS}
        found["rate_min_nats"] = float(np.min(terms["rate"]))
        found["committed_rate_nats"] = self._model.committed_rate()
        for name, rate in (("nelbo", "rate"), ("nelbo_aux", "rate_aux")):
            bpd = units.bits_per_dim(terms["distortion"] + terms[rate], num_dims)
            found[f"{name}_bpd"] = float(np.mean(bpd))
            found[f"{name}_bpd_stderr"] = float(np.std(bpd) / np.sqrt(size))
        for name in ("rate", "rate_aux"):
            found[f"{name}_bpd"] = units.bits_per_dim(found[f"{name}_nats"], num_dims)
        return {**found, "num_examples": size}

    def _on_one_device(self, function):
        compiled = backend.graph(function, self._model)

        def run(batches):
            for batch in batches:
                found = compiled(batch)
                yield {name: ops.convert_to_numpy(v) for name, v in found.items()}

        return run
