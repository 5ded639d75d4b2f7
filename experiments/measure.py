"""What is measured of a trained image model, for every table and figure."""

from deltavae_tf import units
from deltavae_tf.evaluation import collapse, linear_probe, posteriors
from experiments.inputs import batches

_TERMS = ("distortion", "rate", "rate_aux")


def rate_distortion(evaluator, split, batch_size, num_dims, limit=None):
    """Exact one-sample means of a split (or its first `limit` images), in bits.

    Returns:
      dict: `distortion_bits`, `rate_bits`, `rate_aux_bits`, `committed_rate_bits` per
      image; `nelbo_bpd`, `nelbo_aux_bpd` with `..._stderr`; `num_examples`, `data`.
    """
    found = evaluator(batches.evaluation_batches(split, batch_size, limit), num_dims)
    kept = ("nelbo_bpd", "nelbo_aux_bpd", "nelbo_bpd_stderr", "nelbo_aux_bpd_stderr")
    return {
        **{f"{k}_bits": float(units.bits(found[f"{k}_nats"])) for k in _TERMS},
        "committed_rate_bits": float(units.bits(found["committed_rate_nats"])),
        **{k: found[k] for k in kept},
        "num_examples": found["num_examples"],
        "data": split.name,
    }


def latents(model, training, held_out, batch_size, num_classes, limit=None):
    """Probe, active units and mutual information.

    Args:
      model: `DeltaVAE`.
      training: `Split`, the probe's training images; and the ones of the two measures.
      held_out: `Split`, the probe's test images.
      batch_size: int.
      num_classes: int; below 2 there are no classes to probe for.
      limit: optional int, of the training images.

    Returns:
      dict: `probe_accuracy`, `probe_train_accuracy`, `active_units`, `units`,
      `mutual_information_bits`, `log_num_examples_bits`; empty without an encoder.
    """
    if model.encoder is None:
        return {}
    train, test = (
        posteriors.moments(model, batches.evaluation_batches(split, batch_size, n))
        for split, n in ((training, limit), (held_out, None))
    )
    active, count = collapse.active_units(train["loc"])
    information, most = collapse.mutual_information(train["loc"], train["scale"])
    found = {
        "active_units": active,
        "units": count,
        "mutual_information_bits": float(units.bits(information)),
        "log_num_examples_bits": float(units.bits(most)),
    }
    if num_classes < 2:
        return found
    probe = linear_probe.accuracy(
        train["loc"], train["label"], test["loc"], test["label"], num_classes
    )
    probe = {f"probe_{name}": value for name, value in probe.items()}
    return {**probe, **found}


def whole_run(run, held_out, train_limit=None):
    """Everything about a finished `ImageRun`, with averaged weights if it has them.

    Args:
      run: `runs.ImageRun`, entered and restored.
      held_out: `Split`, of the run's held-out images.
      train_limit: optional int, how many training images to look at.
    """
    from experiments import runs  # It imports this module's neighbors; keep it light.

    size, dims = run.hparams.eval_batch_size, run.problem.num_dims
    evaluator = run.evaluator
    with runs.averaged(run.state) as applied:
        test = rate_distortion(evaluator, held_out, size, dims)
        train = rate_distortion(evaluator, run.training, size, dims, train_limit)
        found = latents(
            run.model,
            run.training,
            held_out,
            size,
            run.problem.num_classes,
            train_limit,
        )
    weights = "average" if applied else "raw"
    return {"weights": weights, "test": test, "train": train, "latents": found}
