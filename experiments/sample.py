r"""Samples from a trained run: pictures of images, lines of text.

  python -m experiments.sample --preset=fashion_mnist_14
  python -m experiments.sample --output_dir=/tmp/cifar10 --count=64
  python -m experiments.sample --output_dir=/tmp/cifar10 --kind=completion --given=0.5
  python -m experiments.sample --output_dir=/tmp/lm1b --kind=interpolation --top_p=0.9
  python -m experiments.sample --output_dir=/tmp/lm1b --kind=completion \
      --decode_from_file=prefixes.txt --decode_to_file=completions.txt

--output_dir names a run folder, --preset a trained model that comes with the library.
Of images a labeled PNG grid and the numbers in an .npz go to the run's samples/, of a
preset to samples/ here (or to --decode_to_file, without an ending); text goes to the
terminal or to --decode_to_file. The kinds, with the paper's figures:

  prior           each from a z of its own (3b, 10): --count of them
  decodings       images: a column decodes one z --rows times (3a, 11)
  interpolation   images: a column goes from one z to another in --rows steps (8, 9).
                  Text: each dimension of one z in turn moves from mu - 3 sigma to
                  mu + 3 sigma in --rows steps (12, 13)
  daydream        images: a column alternates x ~ p(x|z) and z ~ q(z|x) (8, 9)
  completion      images: test images, what is given of them, --rows completions (8, 9).
                  Text: --rows completions of each line of --decode_from_file (14)
  reconstruction  x ~ p(x|z), z ~ q(z|x): of test images, --rows of each (8, 9); of each
                  line of --decode_from_file
  score           text: nats of each line of --decode_from_file, separated by tabs

The same --random_seed gives the same samples. A line of text is a sentence as the
corpus writes it (LM1B: words and punctuation apart). completion and reconstruction of
images need the test split: --data_dir, by default the run's own.
"""

import importlib

from experiments import flags

FLAGS = flags.FLAGS
_define = flags.flags
KINDS = (
    *("prior", "decodings", "interpolation", "daydream", "completion"),
    *("reconstruction", "score"),
)
_define.DEFINE_enum("kind", "prior", KINDS, "What to draw.")
_define.DEFINE_string(
    "preset", None, "A preset's name or folder, instead of --output_dir."
)
_define.DEFINE_enum(
    "prior",
    "auxiliary",
    ["auxiliary", "training"],
    "Where z is from: the auxiliary prior, or the one of training (AR(1)).",
)
_define.DEFINE_integer(
    "count", None, "Samples of the kind prior; by default 64 images, 16 sentences.", 1
)
_define.DEFINE_integer("columns", 8, "Images: columns of the grid.", lower_bound=1)
_define.DEFINE_integer(
    "rows",
    None,
    "Rows drawn, or steps of a text's interpolation and completions of a line; by "
    "default as many as the paper's figures have.",
    lower_bound=1,
)
_define.DEFINE_integer(
    "batch_size", 64, "Examples sampled side by side.", lower_bound=1
)
_define.DEFINE_float("temperature", 1.0, "1: the model; below 1: sharper than it.")
_define.DEFINE_enum(
    "path",
    "linear",
    ["linear", "spherical"],
    "Images, interpolation: the way from one z to another.",
)
_define.DEFINE_float(
    "given",
    0.5,
    "Images, completion: the share of the pixels, in raster order, that is given.",
    lower_bound=0,
    upper_bound=1,
)
_define.DEFINE_list(
    "images",
    None,
    "Images, completion and reconstruction: places in the test split, such as 3,14,15; "
    "by default the first --columns.",
)
_define.DEFINE_integer(
    "top_k", 0, "Text: only the k most probable tokens; 0: all.", lower_bound=0
)
_define.DEFINE_float(
    "top_p", 1.0, "Text: only the most probable tokens up to this probability; 1: all."
)


def main(_):
    """Loads the run, samples, writes."""
    from deltavae_tf import errors

    if not FLAGS.temperature > 0:
        raise errors.UserError(
            f"--temperature must be above 0. Received: {FLAGS.temperature}"
        )
    if bool(FLAGS.output_dir) == bool(FLAGS.preset):
        raise errors.UserError(
            "Either --output_dir is needed, the folder of a trained run, or --preset. "
            f"Received: --output_dir={FLAGS.output_dir}, --preset={FLAGS.preset}"
        )
    if FLAGS.preset and FLAGS.raw_weights:
        raise errors.UserError(
            "A preset has one set of weights. Received: --preset with --raw_weights"
        )
    from experiments import quiet

    quiet.libraries(info=False)
    from experiments.runs import load

    folder, card = FLAGS.output_dir, None
    if FLAGS.preset:
        folder, card = load.verified_preset(FLAGS.preset)
    hparams, _ = load.hparams_of(folder)
    drawer = importlib.import_module(f"experiments.runs.draw_{hparams.kind}")
    drawer.check(hparams, FLAGS)  # Before the model is built.
    if card:
        data = (FLAGS.data_dir, FLAGS.tmp_dir, FLAGS.generate_data)
        run = load.preset(folder, card, *data)
    else:
        run = flags.trained()
    drawer.draw(run, FLAGS)


if __name__ == "__main__":
    flags.run(
        main,
        (
            *flags.TRAINED,
            *flags.DATA,
            *("random_seed", "decode_from_file", "decode_to_file"),
        ),
    )
