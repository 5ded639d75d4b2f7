r"""Figure 7: t-SNE of the posterior means of held-out images, colored by class.

  python -m experiments.figures.tsne --output_dir=/tmp/cifar10 --data_dir=~/data \
      --figure=/tmp/tsne.png

3,000 images (--images), or all where there are fewer.
"""

from deltavae_tf.errors import UserError
from experiments import flags
from experiments.figures import points, style

FIGURE = flags.define_path("figure", None, "The .png file to write.")
_IMAGES = flags.flags.DEFINE_integer("images", 3000, "How many.", lower_bound=10)
_UNFINISHED = flags.flags.DEFINE_bool(
    "unfinished", False, "Take a run that has not reached its train_steps as it is."
)
_PERPLEXITY = 30.0


def main(_):
    """Encodes, embeds, draws."""
    from experiments import quiet

    quiet.libraries(info=False)
    from deltavae_tf.evaluation import posteriors

    run = flags.trained(unfinished=_UNFINISHED.value)
    if run.hparams.kind != "images":
        raise UserError(
            f"{run.path} must hold a run of images. Received: {run.hparams.kind}"
        )
    if run.model.encoder is None:
        raise UserError(
            f"{run.path} must hold a model with latents to show. "
            "Received: a decoder alone"
        )
    run.data.load()
    examples = run.data.evaluated(run.data.held_out)
    found = posteriors.moments(run.model, examples.batches(_IMAGES.value))
    place = embed(found["loc"], flags.FLAGS.random_seed)
    fig, axes = style.figure(height=6.5)
    _draw(axes, place, found["label"], examples)
    title = f"{points.label(run.hparams.to_dict())}, step {run.step:,}: posterior means"
    title += f" of {len(place):,} images of {examples.name}"
    axes.set_title(title, fontsize=11)  # The longest one fits.
    style.save(fig, FIGURE.value)


def _draw(axes, place, label, examples):
    from matplotlib import colormaps

    count = max(examples.num_classes, 1)
    names = examples.class_names or [str(i) for i in range(count)]
    size = min(30, 27_000 / len(place))
    for number in range(count):
        here = label == number if examples.num_classes else slice(None)
        color = colormaps["tab10"](number % 10)
        axes.scatter(*place[here].T, s=size, color=color, label=names[number])
    axes.set(
        xticks=[],
        yticks=[],
        xlabel="t-SNE, first dimension (no unit)",
        ylabel="t-SNE, second dimension (no unit)",
    )
    if examples.num_classes:
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            title="class",
            markerscale=9 / size**0.5,
        )


def embed(loc, seed=0):
    """t-SNE of posterior means `[N, ...]`: float `[N, 2]`."""
    from sklearn import manifold

    tsne = manifold.TSNE(
        perplexity=min(_PERPLEXITY, (len(loc) - 1) / 3), init="pca", random_state=seed
    )
    return tsne.fit_transform(loc.reshape(len(loc), -1))


if __name__ == "__main__":
    flags.run(main, (*flags.TRAINED, *flags.DATA, "random_seed"))
