"""Whether reconstructions keep their original's class, and come near it."""

from typing import Any

import numpy as np
from keras import ops

from deltavae_tf.evaluation import metric, reconstruction
from deltavae_tf.evaluation.context import Context
from deltavae_tf.evaluation.metric import Metric

_PERCENT: dict[str, Any] = {"unit": "%", "form": "{:.1f}", "factor": 100.0}


def _can_reconstruct(context):
    if context.limits.reconstructions == 0:
        return False
    if context.has_latents and not hasattr(context.model.decoder, "sample"):
        context.remark("No reconstructions: the decoder has no method `sample`.")
        return False
    return context.has_latents


def _reconstructed(context):
    return context.once(
        "reconstructions",
        lambda: reconstruction.of(
            context.model,
            context.held_out.batches(context.limits.reconstructions),
            context.seed,
            context.limits.temperature,
        ),
    )


@metric.register(
    Metric(
        "reconstruction_agreement",
        "reconstructions that a classifier of real images puts into their class",
        title="agreement %",
        label="reconstruction agreement",
        **_PERCENT,
    ),
    Metric(
        "classifier_accuracy",
        "the same of the originals: the most to be expected",
        label="accuracy of the classifier on originals",
        **_PERCENT,
    ),
    kinds=("images",),
)
def agreement(context: Context) -> dict[str, float] | None:
    """The share of reconstructions in their original's class."""
    examples = context.held_out
    if context.training is None or examples.num_classes < 2:
        return None
    if not _can_reconstruct(context):
        return None
    parts = []
    for batch in context.training.batches(context.limits.training):
        real = ops.convert_to_numpy(batch["mask"]) > 0
        parts.append([ops.convert_to_numpy(batch[k])[real] for k in ("image", "label")])
    image, label = (np.concatenate(part) for part in zip(*parts, strict=True))
    shares = reconstruction.agreement(
        _reconstructed(context), image, label, examples.num_classes, context.seed
    )
    names = ("reconstruction_agreement", "classifier_accuracy")
    return dict(zip(names, shares, strict=True))


@metric.register(
    Metric(
        "reconstruction_distance",
        "squared distance to the original, over that to another image",
        title="distance ratio",
        form="{:.2f}",
    ),
    kinds=("images",),
)
def distance(context: Context) -> float | None:
    """How much nearer reconstructions are to their originals than to others."""
    if context.held_out.num_examples < 2 or not _can_reconstruct(context):
        return None
    return reconstruction.distance_ratio(_reconstructed(context))
