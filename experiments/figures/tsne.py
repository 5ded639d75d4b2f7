r"""Figure 7: t-SNE of the posterior means of held-out images, colored by class.

  python -m experiments.figures.tsne --output_dir=/tmp/cifar10 --data_dir=~/data \
      --figure=/tmp/tsne.png

3,000 images (--images), or all where there are fewer.
"""

from absl import logging
from matplotlib import colormaps
from sklearn import manifold

from data import cifar10
from deltavae_tf.evaluation import posteriors
from experiments import finished, flags
from experiments.figures import points, style
from experiments.inputs import batches

FIGURE = flags.flags.DEFINE_string("figure", None, "The .png file to write.")
_IMAGES = flags.flags.DEFINE_integer("images", 3000, "How many.", lower_bound=10)
_PERPLEXITY = 30.0
_CLASS_NAMES = {"cifar10": cifar10.CLASS_NAMES}


def main(_):
    """Encodes, embeds, draws."""
    logging.set_verbosity(logging.WARNING)
    run = finished.load(finished.folder(), not flags.FLAGS.raw_weights)
    if run.model.encoder is None:
        raise ValueError(f"{run.path} is a decoder alone: it has no latents to show")
    data = batches.evaluation_batches(
        run.held_out, run.hparams.eval_batch_size, _IMAGES.value
    )
    found = posteriors.moments(run.model, data)
    place = embed(found["loc"], flags.FLAGS.random_seed)
    fig, axes = style.figure(height=6.5)
    count = max(run.problem.num_classes, 1)
    names = _CLASS_NAMES.get(run.hparams.problem, [str(i) for i in range(count)])
    size = min(30, 27_000 / len(place))
    for label in range(count):
        here = found["label"] == label
        axes.scatter(
            *place[here].T,
            s=size,
            color=colormaps["tab10"](label % 10),
            label=names[label],
        )
    axes.set(
        xticks=[],
        yticks=[],
        xlabel="t-SNE, first dimension (no unit)",
        ylabel="t-SNE, second dimension (no unit)",
    )
    title = f"{points.LABELS[run.hparams.method]}, step {run.step:,}: posterior means"
    title += f" of {len(place):,} images of {run.held_out.name}"
    axes.set_title(title, fontsize=11)  # The longest one fits.
    if run.problem.num_classes:
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            title="class",
            markerscale=9 / size**0.5,
        )
    style.save(fig, FIGURE.value)


def embed(loc, seed=0):
    """t-SNE of posterior means `[N, ...]`: float `[N, 2]`."""
    tsne = manifold.TSNE(
        perplexity=min(_PERPLEXITY, (len(loc) - 1) / 3), init="pca", random_state=seed
    )
    return tsne.fit_transform(loc.reshape(len(loc), -1))


if __name__ == "__main__":
    flags.run(main)
