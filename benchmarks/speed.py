r"""Our speed, side by side with `tfd.PixelCNN` and with the naive loop.

  python -m benchmarks.speed                        # everything: about 40 minutes
  python -m benchmarks.speed --parts sampling --models attention_small
  python -m benchmarks.speed --parts likelihood --data_dir=~/data --minutes=10

Parts:
  sampling    images of 32x32x3 through the cache; one parallel pass of the same batch
              (the floor: all the arithmetic that sampling needs); the naive loop of
              the same model, a parallel pass for each of 1,024 pixels; and
              tfd.PixelCNN.sample, which is such a loop. Loops are extrapolated from a
              few passes, since each pass costs the same; tfd.PixelCNN at batch 1 is
              run in full.
  training    one training step: latent-free, delta-VAE, tfd.PixelCNN with as many
              parameters, and with as many that its masks let act.
  likelihood  bits/dim on CIFAR-10's test images after equal minutes of training
              (--data_dir), compilation and the first step not counted.

tfd.PixelCNN has as many parameters as our decoder (the nearest number of filters). Each
time is a median with [least, most] over --repeats; results are added to --output.
Leave the machine alone meanwhile. Needs benchmarks/requirements.txt.
"""

import argparse
import datetime
import gc
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks import command, likelihood, ours, pixel_cnn, timing
from deltavae_tf import backend
from deltavae_tf.training import checkpoints, run_folder

PARTS = ("sampling", "training", "likelihood")
COMPILERS = {"graph": backend.graph, "xla": backend.compile}


def say(text):
    """Prints at once: a benchmark is watched."""
    print(text, flush=True)


def measure(function, repeats, **kwargs):
    """A summary of the seconds of a function."""
    return timing.summary(timing.measure(function, repeats, **kwargs))


def measure_memory(function):
    """`peak_bytes`: what one more call takes beyond what the process holds."""
    with timing.PeakMemory() as memory:
        function()
    return {"peak_bytes": memory.bytes}


def fastest(make, repeats):
    """The faster of two compilers' functions: a summary that names it."""
    found = []
    for name, compiler in COMPILERS.items():
        function = make(compiler)
        row = {**measure(function, repeats), "compiler": name}
        found.append({**row, **measure_memory(function)})
    return min(found, key=lambda x: x["median_s"])


def sampling(name, options, save):
    """Times of the cached sampler, the floor, the naive loop and the peer."""
    hparams = ours.settings(name)
    decoder = ours.make(name, options.image_shape).decoder
    latents = hparams.latent_channels
    pixels = int(np.prod(options.image_shape[:2]))
    found = {
        "num_parameters": ours.num_parameters(decoder),
        "attention_blocks": decoder.num_attention,
        "cache_bytes_per_image": ours.cache_bytes(decoder, latents),
    }
    say(f"{name}: {found['num_parameters']:,} parameters in the decoder, "
        f"{found['cache_bytes_per_image']:,} bytes of cache an image")  # fmt: skip
    for batch_size in options.batch_sizes:
        timed = ours.Sampling(decoder, latents, batch_size)
        sample = timed.cached()
        row = {"cached": measure(sample, options.repeats)}
        row["cached"].update(measure_memory(sample))
        row["forward"] = fastest(timed.forward, options.repeats)
        row["cached_over_forward"] = timing.ratio(row["cached"], row["forward"])
        if batch_size <= 16:
            one = fastest(timed.naive, options.passes)
            row["naive"] = timing.scaled(one, pixels, f"{options.passes} passes")
            row["naive_over_cached"] = timing.ratio(row["naive"], row["cached"])
        report(found, name, batch_size, row)
        save(found)
        del timed, sample
        gc.collect()
    if options.peer:
        peer = make_peer(found["num_parameters"], options)
        found["peer"] = describe(peer)
        for batch_size in [b for b in options.batch_sizes if b <= 16]:
            row = found[f"batch_{batch_size}"]
            if batch_size == 1:
                sample = peer.sampler(1)
                row["peer"] = measure(sample, options.peer_repeats, warm_up=0)
            else:
                images = np.zeros((batch_size, *options.image_shape), np.uint8)
                one = measure(peer.forward(images), options.passes)
                row["peer"] = timing.scaled(one, pixels, f"{options.passes} passes")
            row["peer_over_cached"] = timing.ratio(row["peer"], row["cached"])
            report(found, name, batch_size, {k: row[k] for k in row if "peer" in k})
            save(found)


def training(name, options, save):
    """Times of one training step, in turn: latent-free, delta-VAE, the peer."""
    batch_size, found, steps = options.train_batch_size, {}, {}
    for kind, method in (("latent_free", "autoregressive"), ("delta", "delta_vae")):
        model = ours.make(name, options.image_shape, method=method)
        found[kind] = {"num_parameters": ours.num_parameters(model)}
        steps[kind] = ours.train_step(model, batch_size)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, *options.image_shape), "uint8")
    for which, unmasked in PEERS.items() if options.peer else ():
        size = found["latent_free"]["num_parameters"]
        peer = make_peer(size, options, unmasked)
        peer.initialize(images)
        found[which] = describe(peer)
        steps[which] = lambda peer=peer: float(peer.train_step(images))
    seconds = timing.in_turn(steps, options.repeats)
    for kind, times in seconds.items():
        found[kind] = {**timing.summary(times), **found[kind]}
    for which in seconds.keys() & PEERS.keys():
        for kind in ("latent_free", "delta"):
            found[f"{which}_over_{kind}"] = timing.ratio(found[which], found[kind])
    report({}, name, batch_size, found)
    save({f"batch_{batch_size}": found})
    steps.clear()
    gc.collect()


def quality(name, options, save):
    """Bits/dim of each entry after equal minutes of training."""
    for entry in options.entries:
        save({entry: likelihood.run(entry, name, options, make_peer)})


def make_peer(num_parameters, options, unmasked=False):
    """`tfd.PixelCNN` of about so many parameters; `unmasked`: that act."""
    filters = None if unmasked else options.peer_filters
    if filters is None:
        filters = pixel_cnn.filters_for(
            num_parameters, options.image_shape, unmasked, **PEER
        )
    peer = pixel_cnn.PixelCNN(options.image_shape, filters, **PEER)
    say(f"tfd.PixelCNN: {filters} filters, {peer.num_parameters:,} parameters "
        f"({peer.num_unmasked:,} unmasked)")  # fmt: skip
    return peer


# No dropout, as in the models it is timed beside; all else is its default.
PEER = {"dropout_p": 0.0}
# Half of its parameters are masked: they count, and stay 0. Both ways of counting.
PEERS = {"peer": False, "peer_unmasked": True}


def describe(peer):
    """What a peer is, JSON-able."""
    return {
        "num_filters": peer.num_filters,
        "num_parameters": peer.num_parameters,
        "num_unmasked": peer.num_unmasked,
    }


def report(found, name, batch_size, row):
    """Keeps a row of results and prints it."""
    found.setdefault(f"batch_{batch_size}", {}).update(row)
    for key, value in row.items():
        words = timing.sentence(value)
        say(f"  {name}, batch {batch_size}: {key.replace('_', ' ')}: {words}")


def write(path, part, name, found, options):
    """Adds results to the file, whose other parts stay."""
    results = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
    found["measured"] = {
        "date": datetime.date.today().isoformat(),
        "hardware": run_folder.hardware(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": command.versions(),
        "image_shape": list(options.image_shape),
    }
    results.setdefault(part, {}).setdefault(name, {}).update(found)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    checkpoints.write_json(path, results)


def parse(arguments=None):
    """The command line."""
    parser = command.parser("speed", __doc__.partition("\n")[2])
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add(
        "--models",
        nargs="+",
        choices=sorted(ours.MODELS),
        default=None,
        help="by default attention_small and cifar10_ablation (sampling), "
        "cifar10_small and attention_small (training), cifar10_small_weight_norm "
        "(likelihood)",
    )
    add("--batch_sizes", nargs="+", type=int, default=[1, 16, 64], help="of sampling")
    add("--train_batch_size", type=int, default=16)
    add("--repeats", type=int, default=3, help="of everything that is run in full")
    add("--peer_repeats", type=int, default=2, help="of tfd.PixelCNN.sample, batch 1")
    add("--passes", type=int, default=4, help="measured of a loop that is extrapolated")
    add("--peer", action=argparse.BooleanOptionalAction, default=True)
    add(
        "--peer_filters",
        type=int,
        default=None,
        help="of tfd.PixelCNN; by default those of the nearest size, which takes three "
        "more of it to find",
    )
    add("--image_size", type=int, default=32, help="smaller for a quick try")
    add("--minutes", type=float, default=4.0, help="of training, likelihood")
    add(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: count the process's processor seconds over the number of cores, "
        "for a machine that is not free",
    )
    add(
        "--entries",
        nargs="+",
        choices=likelihood.ENTRIES,
        default=list(likelihood.ENTRIES),
        help="who takes part in likelihood",
    )
    add("--num_test", type=int, default=640, help="test images of likelihood")
    add("--learning_rate", type=float, default=1e-3, help="Adam's highest, likelihood")
    add("--peer_learning_rate", type=float, default=1e-3, help="tfd.PixelCNN's")
    add("--data_dir", default=None, help="CIFAR-10, as for experiments.cifar10")
    add("--output", default="experiments/results/speed.json")  # fmt: skip
    options = parser.parse_args(arguments)
    for name in ("repeats", "peer_repeats", "passes", "image_size", "num_test"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1. Received: "
                         f"{getattr(options, name)}")  # fmt: skip
    if min(options.batch_sizes + [options.train_batch_size]) < 1:
        parser.error("batch sizes must be at least 1")
    if "likelihood" in options.parts and options.data_dir is None:
        if options.parts == list(PARTS):
            say("No --data_dir: the part `likelihood` is left out.")
            options.parts.remove("likelihood")
        else:
            parser.error("likelihood needs --data_dir, the folder that has CIFAR-10")
    options.image_shape = (options.image_size, options.image_size, 3)
    return options


def main(arguments=None):
    """Runs the parts asked for."""
    options = parse(arguments)
    defaults = {
        "sampling": ["attention_small", "cifar10_ablation"],
        "training": ["cifar10_small", "attention_small"],
        "likelihood": ["cifar10_small_weight_norm"],
    }
    functions = {"sampling": sampling, "training": training, "likelihood": quality}
    for part in options.parts:
        for name in options.models or defaults[part]:
            say(f"{part}: {name}")

            def save(found, part=part, name=name):
                write(options.output, part, name, found, options)

            functions[part](name, options, save)
    say(f"Wrote {options.output}")


if __name__ == "__main__":
    main()
