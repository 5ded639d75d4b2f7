r"""The linear probe of appendix F on a trained image run: classes from latents.

  python -m experiments.linear_probe --output_dir=/tmp/cifar10 --data_dir=~/data

Multinomial logistic regression on the posterior means of the run's training images
(all of them, or --train_images), 100 epochs of Adam; prints the accuracy on the run's
held-out images and writes it to linear_probe.json in the run folder.
"""

import json
import os

from absl import logging

from deltavae_tf.evaluation import linear_probe, posteriors
from deltavae_tf.training import checkpoints
from experiments import finished, flags
from experiments.inputs import batches

_TRAIN_IMAGES = flags.flags.DEFINE_integer(
    "train_images", None, "Train the probe on so many images; by default on all."
)


def main(_):
    """Encodes, trains the probe, prints, writes."""
    logging.set_verbosity(logging.WARNING)
    run = finished.load(finished.folder(), not flags.FLAGS.raw_weights)
    if run.model.encoder is None:
        raise ValueError(f"{run.path} is a decoder alone: it has no latents to probe")
    if run.problem.num_classes < 2:
        raise ValueError(f"{run.hparams.problem} has no classes to probe for")
    size = run.hparams.eval_batch_size
    train, test = (
        posteriors.moments(run.model, batches.evaluation_batches(split, size, limit))
        for split, limit in ((run.training, _TRAIN_IMAGES.value), (run.held_out, None))
    )
    found = linear_probe.accuracy(
        train["loc"],
        train["label"],
        test["loc"],
        test["label"],
        run.problem.num_classes,
        seed=flags.FLAGS.random_seed,
    )
    found.update(
        step=run.step,
        weights=run.weights,
        training_images=len(train["label"]),
        data=run.held_out.name,
        num_examples=len(test["label"]),
    )
    with checkpoints.atomic_file(os.path.join(run.path, "linear_probe.json")) as file:
        file.write(json.dumps(found, indent=1).encode() + b"\n")
    print(
        f"Linear probe on {found['training_images']:,} training images: "
        f"{found['accuracy']:.2%} of {found['num_examples']:,} images of "
        f"{found['data']} ({found['train_accuracy']:.2%} of the training images)"
    )


if __name__ == "__main__":
    flags.run(main)
