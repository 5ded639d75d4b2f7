r"""The linear probe of appendix F on a trained image run: classes from latents.

  python -m experiments.linear_probe --output_dir=/tmp/cifar10 --data_dir=~/data

Multinomial logistic regression on the posterior means of the run's training images
(all of them, or --train_examples), 100 epochs of Adam; prints the accuracy on the run's
held-out images. (`experiments.evaluate` has it too, from 10,000 training images, beside
everything else.)
"""

from experiments import flags

_TRAIN_EXAMPLES = flags.flags.DEFINE_integer(
    "train_examples", None, "Train the probe on so many images; by default on all."
)
_UNFINISHED = flags.flags.DEFINE_bool(
    "unfinished", False, "Take a run that has not reached its train_steps as it is."
)


def main(_):
    """Encodes, trains the probe, prints."""
    from deltavae_tf import errors
    from experiments import quiet

    quiet.libraries(info=False)
    from experiments.runs import load

    if flags.FLAGS.output_dir:
        hparams, _ = load.hparams_of(flags.FLAGS.output_dir)
        if getattr(hparams.dataset(), "num_classes", 0) < 2:
            raise errors.UserError(
                "The linear probe needs classes to probe for. "
                f"Received: {hparams.problem}"
            )
    from deltavae_tf.evaluation import linear_probe, posteriors

    run = flags.trained(unfinished=_UNFINISHED.value)
    if run.model.encoder is None:
        raise errors.UserError(
            f"{run.path} is a decoder alone: it has no latents to probe. "
            "Received: prior=none"
        )
    data = run.data
    data.load()
    training, held_out = (data.evaluated(s) for s in (data.training, data.held_out))
    train = posteriors.moments(run.model, training.batches(_TRAIN_EXAMPLES.value))
    test = posteriors.moments(run.model, held_out.batches())
    found = linear_probe.accuracy(
        train["loc"],
        train["label"],
        test["loc"],
        test["label"],
        training.num_classes,
        seed=flags.FLAGS.random_seed,
    )
    print(
        f"Step {run.step}, {run.weights} weights. Linear probe on "
        f"{len(train['label']):,} training images: {found['accuracy']:.2%} of "
        f"{len(test['label']):,} images of {held_out.name} "
        f"({found['train_accuracy']:.2%} of the training images)"
    )


if __name__ == "__main__":
    flags.run(main, (*flags.TRAINED, *flags.DATA, "random_seed"))
