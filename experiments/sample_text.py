r"""Text from a trained run: samples, interpolations, completions, reconstructions.

  python -m experiments.sample_text --output_dir=/tmp/lm1b --count=16 --top_p=0.9
  python -m experiments.sample_text --output_dir=/tmp/lm1b --kind=interpolate
  python -m experiments.sample_text --output_dir=/tmp/lm1b --kind=complete \
      --decode_from_file=prefixes.txt --decode_to_file=completions.txt

--output_dir names a run folder of experiments.lm1b or experiments.documents. Kinds:

  sample       --count sentences, z from --prior.
  interpolate  Figures 12 and 13: one sample of z; each of its dimensions in turn moves
               from mu - 3 sigma to mu + 3 sigma in --steps steps, the others stay.
  complete     Figure 14: --steps completions of each line of --decode_from_file, with
               z on the line between two samples.
  reconstruct  x ~ p(x | z), z ~ q(z | x), of each line of --decode_from_file.
  score        nats of each line of --decode_from_file, as tab-separated columns.

A line is a sentence as the corpus writes it (LM1B: words and punctuation apart).
"""

import os
import sys

import numpy as np
import tqdm
from absl import logging

from data.reading import errors
from data.text import sentences
from deltavae_tf.sampling import text
from deltavae_tf.training import checkpoints
from experiments import flags, runs, text_runs
from experiments import hparams as registry

FLAGS = flags.FLAGS
_KIND = flags.flags.DEFINE_enum(
    "kind",
    "sample",
    ["sample", "interpolate", "complete", "reconstruct", "score"],
    "What to make.",
)
_PRIOR = flags.flags.DEFINE_enum(
    "prior", "auxiliary", ["auxiliary", "training"], "Which prior z is from."
)
_COUNT = flags.flags.DEFINE_integer("count", 16, "How many samples.", lower_bound=1)
_STEPS = flags.flags.DEFINE_integer("steps", 9, "Of an interpolation.", lower_bound=2)
_BATCH = flags.flags.DEFINE_integer(
    "batch_size", 64, "Sentences sampled side by side.", lower_bound=1
)
_TEMPERATURE = flags.flags.DEFINE_float(
    "temperature", 1.0, "1: the model; below 1: sharper than the model."
)
_TOP_K = flags.flags.DEFINE_integer(
    "top_k", 0, "Only the k most probable tokens; 0: all.", lower_bound=0
)
_TOP_P = flags.flags.DEFINE_float(
    "top_p", 1.0, "Only the most probable tokens up to this probability; 1: all."
)


def main(_):
    """Loads the run, decodes, writes or prints."""
    logging.set_verbosity(logging.WARNING)
    if not FLAGS.output_dir:
        raise ValueError("--output_dir is needed: the folder of a trained run")
    if _KIND.value in ("complete", "reconstruct", "score"):
        if not FLAGS.decode_from_file:
            raise ValueError(
                f"--kind={_KIND.value} needs --decode_from_file: a file with a line "
                "for each"
            )
    model, hparams, _ = runs.load(FLAGS.output_dir, not FLAGS.raw_weights)
    if not isinstance(hparams, registry.TextHparams):
        raise ValueError(
            f"{FLAGS.output_dir} is a run of images: see experiments.sample"
        )
    if _KIND.value in ("interpolate", "reconstruct") and model.encoder is None:
        raise ValueError(
            f"--kind={_KIND.value} needs latents. Received: a run of the decoder alone"
        )
    vocabulary = text_runs.load_vocabulary(FLAGS.output_dir)
    make = {
        "sample": _sample,
        "interpolate": _interpolate,
        "complete": _complete,
        "reconstruct": _reconstruct,
        "score": _score,
    }[_KIND.value]
    written = "".join(f"{line}\n" for line in make(model, vocabulary))
    if not FLAGS.decode_to_file:
        sys.stdout.write(written)
        return
    with checkpoints.atomic_file(FLAGS.decode_to_file) as file:
        file.write(written.encode())
    print(f"Wrote {os.path.abspath(FLAGS.decode_to_file)}")


def _settings():
    return {
        "temperature": _TEMPERATURE.value,
        "seed": FLAGS.random_seed,
        "top_k": _TOP_K.value,
        "top_p": _TOP_P.value,
    }


def _sample(model, vocabulary):
    parts = text.sample(
        model, _COUNT.value, _PRIOR.value, batch_size=_BATCH.value, **_settings()
    )
    lines = []
    with tqdm.tqdm(total=_COUNT.value, unit="sentence", disable=None) as bar:
        for part in parts:
            lines += vocabulary.decode_to_strings(part)
            bar.update(len(part))
    return lines


def _interpolate(model, vocabulary):
    lines = []
    for channel in range(len(model.prior.alpha)):
        z = text.interpolated_latents(
            model, channel, _PRIOR.value, _STEPS.value, FLAGS.random_seed
        )
        lines.append(f"==== Interpolating dimension {channel} ====")
        lines += vocabulary.decode_to_strings(text.decode(model, z, **_settings()))
    return lines


def _complete(model, vocabulary):
    lines = []
    for number, line in enumerate(_read(), start=0):
        prefix = vocabulary.encode([line]).numpy()[0][:-1]
        if len(prefix) >= model.max_length:
            raise errors.DataError(
                f"Line {number + 1} of {FLAGS.decode_from_file} is too long: fewer "
                f"than {model.max_length} subwords. Received: {len(prefix)} subwords"
            )
        found = text.complete(
            model,
            prefix,
            _PRIOR.value,
            _STEPS.value,
            first=number,
            **_settings(),
        )
        lines.append(f"==== {line} ====")
        lines += vocabulary.decode_to_strings(found)
    return lines


def _reconstruct(model, vocabulary):
    tokens = sentences.encode_lines(_read(), vocabulary, model.max_length)
    return vocabulary.decode_to_strings(model.reconstruct(tokens, **_settings()))


def _score(model, vocabulary):
    lines = _read()
    tokens = sentences.encode_lines(lines, vocabulary, model.max_length)
    terms = {name: np.array(value) for name, value in model(tokens).items()}
    names = ["distortion", "rate", "rate_aux", "committed_rate"]
    found = ["\t".join([*(f"{name}_nats" for name in names), "tokens", "line"])]
    for i, line in enumerate(lines):
        numbers = [f"{terms[name][i]:.4f}" for name in names]
        numbers.append(str(np.count_nonzero(tokens[i])))
        found.append("\t".join([*numbers, line]))
    return found


def _read():
    """The lines of --decode_from_file, each a str."""
    with open(os.path.expanduser(FLAGS.decode_from_file), "rb") as file:
        content = file.read()
    try:
        lines = content.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise errors.DataError(
            f"Line {number} of {FLAGS.decode_from_file} is no UTF-8. "
            f"Received: {errors.one_line(error)}"
        ) from error
    if not content:
        raise errors.DataError(f"{FLAGS.decode_from_file} is empty")
    return lines


if __name__ == "__main__":
    flags.run(main)
