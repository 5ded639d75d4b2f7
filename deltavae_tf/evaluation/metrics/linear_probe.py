"""The linear probe: what of an image's class a linear classifier reads off z."""

from deltavae_tf.evaluation import linear_probe, metric
from deltavae_tf.evaluation.context import Context
from deltavae_tf.evaluation.metric import Metric


@metric.register(
    Metric(
        "probe_accuracy",
        "images whose class a linear classifier of the posterior means names",
        unit="%",
        title="probe %",
        label="linear probe accuracy",
        form="{:.1f}",
        factor=100.0,
    ),
    split="both",
    kinds=("images",),
)
def probe(context: Context) -> float | None:
    """The share of the split that the classifier, fitted on training images, names."""
    num_classes = context.held_out.num_classes
    if not context.has_latents or num_classes < 2 or context.training is None:
        return None

    def fitted():
        train, test = (context.moments(split) for split in ("training", "held_out"))
        found = linear_probe.accuracy(
            train["loc"],
            train["label"],
            test["loc"],
            test["label"],
            num_classes,
            seed=context.seed,
        )
        return {"training": found["train_accuracy"], "held_out": found["accuracy"]}

    return context.once("linear probe", fitted)[context.split]
