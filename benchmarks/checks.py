r"""What it costs to look at every batch before it is trained on.

  python -m benchmarks.checks --output=benchmarks/results/checks.json

`fit` looks at each batch of a stream (values in range, finite, shapes) on its way to
the step. Trains a model on a stream of 32x32 color images, as it is and without that
look, in turns, and prints the ratio; beside it the seconds that `fit` takes to look
once at 50,000 such images in an array. Leave the machine alone meanwhile.
"""

from unittest import mock

import numpy as np
import tensorflow as tf

from benchmarks import command, ours, timing
from deltavae_tf import backend
from deltavae_tf.models import inputs

NUM_IMAGES = 50_000


def measure(name, batch_size, num_batches, repeats):
    """A dict of summaries, seconds: an epoch with and without the look; an array's."""
    model = ours.make(name)
    images = np.random.default_rng(0).integers(
        0, 256, (NUM_IMAGES, 32, 32, 3), np.uint8
    )
    stream = tf.data.Dataset.from_tensor_slices(images[: batch_size * num_batches])
    stream = stream.batch(batch_size)

    def epoch():
        return timing.measure(lambda: model.fit(stream, verbose=0), 1, warm_up=0)

    epoch()  # Traces.
    seconds = {"with": [], "without": []}
    for _ in range(repeats):
        seconds["with"] += epoch()
        with mock.patch.object(backend, "map_checked", lambda data, look: data):
            seconds["without"] += epoch()
    found = {name: timing.summary(s) for name, s in seconds.items()}
    found["with_over_without"] = timing.ratio(found["with"], found["without"])
    looks = timing.measure(lambda: inputs.check_arrays(model, images), repeats)
    found["array_of_50000_images"] = timing.summary(looks)
    return found


def main(arguments=None):
    """Measures, prints, writes."""
    parser = command.parser("checks", __doc__)
    add = parser.add_argument
    add("--model", default="tiny", choices=sorted(ours.MODELS), help="whose step")
    add("--batch_size", type=int, default=16)
    add("--num_batches", type=int, default=100, help="of an epoch")
    add("--repeats", type=int, default=5)
    add("--output", help="a JSON file")
    options = parser.parse_args(arguments)
    sizes = options.batch_size, options.num_batches, options.repeats
    if min(sizes) < 1 or options.batch_size * options.num_batches > NUM_IMAGES:
        parser.error(f"an epoch has 1 to {NUM_IMAGES} images, timed at least once")
    found = measure(options.model, *sizes)
    for name, row in found.items():
        print(f"{name}: {timing.sentence(row)}")
    if options.output:
        found["settings"] = {k: v for k, v in vars(options).items() if k != "output"}
        command.write(options.output, found)


if __name__ == "__main__":
    main()
