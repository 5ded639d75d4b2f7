r"""Text: what the cache gains, how fast the pipeline is, and what a step consumes.

  python -m benchmarks.text --output=benchmarks/results/text.json

Needs nothing but the embedded text. Prints, as medians of --repeats:

  generation  sentences of --length tokens, cached (one compiled loop) and by
              recomputing the whole prefix at every token (each pass compiled), at batch
              1 and 16; how many of the tokens agree is told. The model is untrained,
              so that sentences do not end early.
  pipeline    lines/s of encoding, and tokens/s that packed batches deliver.
  training    tokens/s of the training steps of `documents` and `lm1b_small`, on these
              batches, and how long their products alone would take at the rate of one
              large product: the floor.
"""

import argparse
import json
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from benchmarks import timing
from data import documents
from data.text import batches as text_batches
from data.text import sentences, vocabulary
from deltavae_tf import backend, noise
from deltavae_tf.models import text_decoder
from deltavae_tf.sampling import text
from deltavae_tf.training import checkpoints, run_folder
from experiments import build, sets
from experiments.runs import costs

_BATCHES = (1, 16)


def generation(model, length, repeats):
    """Seconds for a batch, cached and recomputed, and their ratio, by batch size."""
    decoder, found = model.decoder, {}
    draw = backend.compile(decoder.sample_from_uniforms)
    whole = np.ones((1, length), np.int32)

    @tf.function(jit_compile=True)
    def forward(z, tokens):
        return decoder.logits(z, tokens, tf.repeat(whole, len(tokens), axis=0))

    plain = tf.function(forward.python_function)
    for size in _BATCHES:
        z = model.sample_latents(size, "training", length=length)
        keys = noise.sample_keys(0, 0, size, noise.Purpose.DATA)
        uniforms = text_decoder.uniforms_of(keys, length)
        # The faster compiler of the two for the naive loop.
        tokens = tf.zeros((size, length), tf.int32) + 2
        passes = {
            name: timing.median(lambda f=f, z=z, t=tokens: f(z, t).numpy(), repeats)
            for name, f in (("xla", forward), ("graph", plain))
        }
        best = min(passes, key=passes.get)
        naive = {"xla": forward, "graph": plain}[best]
        cached = draw(z, uniforms).numpy()
        start = time.perf_counter()
        recomputed = text.naive_sample(z, uniforms, naive)
        slow = time.perf_counter() - start
        same = float(np.mean(cached == recomputed))
        fast = timing.median(lambda z=z, u=uniforms: draw(z, u).numpy(), repeats)
        found[f"batch {size}"] = {
            "tokens_drawn": int(np.count_nonzero(cached)),
            "cached_seconds": fast,
            "recomputed_seconds": slow,
            "recomputed_by": best,
            "one_pass_seconds": passes[best],
            "times_faster": slow / fast,
            "same_tokens": same,
        }
    return found


def pipeline(hparams, vocab, split, repeats):
    """Lines/s of encoding and tokens/s of packed batches."""
    lines = list(documents.load("train").lines())
    seconds = timing.median(lambda: vocab.encode(lines), repeats)
    data = text_batches.training_batches(
        split, hparams.batch_size, hparams.max_length, hparams.packed, 0
    )
    batches = iter(data)
    count = 200

    def draw():
        return sum(
            int(tf.math.count_nonzero(next(batches)["tokens"])) for _ in range(count)
        )

    tokens = draw()
    return {
        "encoding_lines_per_second": len(lines) / seconds,
        "batches_tokens_per_second": tokens / timing.median(draw, repeats),
        "row_filled": tokens / (count * hparams.batch_size * hparams.max_length),
    }


def training(split, hparams, repeats, flops_per_second):
    """Tokens/s of training steps that take their batches from the pipeline."""
    model = build.model(hparams)
    data = text_batches.training_batches(
        split, hparams.batch_size, hparams.max_length, hparams.packed, 0
    )
    batches, count = iter(data), 10
    flops = costs.of_step(model, data.element_spec).flops(matrix=True)
    step = tf.function(model.train_step, autograph=False)
    tokens = []

    def steps():
        for _ in range(count):
            batch = next(batches)
            tokens.append(int(tf.math.count_nonzero(batch["tokens"])))
            float(step(batch)["loss"])

    seconds = timing.median(steps, repeats) / count
    return {
        "tokens_per_second": np.mean(tokens) / seconds,
        "step_seconds": seconds,
        "products_flops": flops,
        "products_seconds": flops / flops_per_second,
        "step_over_products": seconds * flops_per_second / flops,
    }


def product_rate(repeats, size=2048):
    """Operations/s of a large float32 product."""
    x = tf.ones((size, size))
    return 2 * size**3 / timing.median(lambda: tf.matmul(x, x).numpy(), repeats)


def main():
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hparams_set", default="documents")
    parser.add_argument("--output")
    options = parser.parse_args()
    hparams = sets.hparams(options.hparams_set)
    corpus = documents.load("train")
    vocab = vocabulary.build(corpus.lines(), hparams.vocabulary_size, progress=False)
    split = sentences.prepare(corpus, vocab, progress=False)
    model = build.model(hparams)
    found = {
        "hparams_set": options.hparams_set,
        "length": options.length,
        "generation": generation(model, options.length, options.repeats),
        **pipeline(hparams, vocab, split, options.repeats),
    }
    rate = product_rate(options.repeats)
    found["products_flops_per_second"] = rate
    found["training"] = {
        name: training(split, sets.hparams(name), options.repeats, rate)
        for name in (options.hparams_set, "lm1b_small")
    }
    fastest = max(x["tokens_per_second"] for x in found["training"].values())
    found["pipeline_over_training"] = found["batches_tokens_per_second"] / fastest
    found["versions"] = run_folder.versions()
    found["hardware"] = run_folder.hardware()
    found["load_average"] = os.getloadavg()[0]  # Above 1: others computed too.
    print(json.dumps(found, indent=1))
    if options.output:
        checkpoints.write_json(options.output, found)


if __name__ == "__main__":
    main()
