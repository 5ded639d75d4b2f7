"""Sentences from a trained run, for `experiments.sample`."""

import os
import sys

import numpy as np

from data.reading import errors as data_errors
from deltavae_tf import errors

_KINDS = ("prior", "interpolation", "completion", "reconstruction", "score")
_FROM_FILE = ("completion", "reconstruction", "score")
_WITH_LATENTS = ("interpolation", "reconstruction")
_COUNT = 16
_STEPS = 9


def check(hparams, flags) -> None:
    """Raises a `UserError` for what cannot be drawn of these hyper-parameters."""
    if flags.kind not in _KINDS:
        raise errors.UserError(
            f"A run on text draws --kind={', '.join(_KINDS)}. "
            f"Received: --kind={flags.kind}"
        )
    if flags.kind in _FROM_FILE and not flags.decode_from_file:
        raise errors.UserError(
            f"--kind={flags.kind} needs --decode_from_file: a file with a line for "
            "each. Received: none"
        )
    if flags.kind in _WITH_LATENTS and not hparams.use_latents:
        raise errors.UserError(
            f"--kind={flags.kind} needs latents. Received: a run of the decoder alone"
        )
    if flags.kind == "interpolation" and flags.rows == 1:
        raise errors.UserError("--rows must be at least 2 here. Received: 1")


def lines_of(path: str) -> list[str]:
    """The lines of a text file, whatever system wrote it."""
    from data.text import lines

    return lines.read_whole(path)


def draw(run, flags) -> None:
    """Makes the lines, and prints or writes them.

    Args:
      run: `load.Trained`.
      flags: the flags of `experiments.sample`.
    """
    make = {
        "prior": _samples,
        "interpolation": _interpolation,
        "completion": _completion,
        "reconstruction": _reconstruction,
        "score": _score,
    }[flags.kind]
    lines = make(run.model, run.data.vocabulary, flags)
    written = "".join(f"{line}\n" for line in lines)
    if not flags.decode_to_file:
        sys.stdout.write(written)
        return
    from deltavae_tf.training import checkpoints

    with checkpoints.atomic_file(flags.decode_to_file) as file:
        file.write(written.encode())
    print(f"Wrote {os.path.abspath(flags.decode_to_file)}")


def _settings(flags):
    return {
        "temperature": flags.temperature,
        "seed": flags.random_seed,
        "top_k": flags.top_k,
        "top_p": flags.top_p,
    }


def _samples(model, vocabulary, flags):
    import tqdm

    from deltavae_tf.sampling import text

    count = flags.count or _COUNT
    parts = text.sample(
        model, count, flags.prior, batch_size=flags.batch_size, **_settings(flags)
    )
    lines = []
    with tqdm.tqdm(total=count, unit="sentence", disable=None) as bar:
        for part in parts:
            lines += vocabulary.decode_to_strings(part)
            bar.update(len(part))
    return lines


def _interpolation(model, vocabulary, flags):
    from deltavae_tf.sampling import text

    lines = []
    for channel in range(len(model.prior.alpha)):
        z = text.interpolated_latents(
            model, channel, flags.prior, flags.rows or _STEPS, flags.random_seed
        )
        lines.append(f"==== Interpolating dimension {channel} ====")
        found = text.decode(model, z, **_settings(flags))
        lines += vocabulary.decode_to_strings(found)
    return lines


def _completion(model, vocabulary, flags):
    from deltavae_tf.sampling import text

    lines = []
    for number, line in enumerate(lines_of(flags.decode_from_file)):
        prefix = vocabulary.encode([line]).numpy()[0][:-1]
        if len(prefix) >= model.max_length:
            raise data_errors.DataError(
                f"Line {number + 1} of {flags.decode_from_file} is too long: fewer "
                f"than {model.max_length} subwords. Received: {len(prefix)} subwords"
            )
        found = text.complete(
            model,
            prefix,
            flags.prior,
            flags.rows or _STEPS,
            first=number,
            **_settings(flags),
        )
        lines.append(f"==== {line} ====")
        lines += vocabulary.decode_to_strings(found)
    return lines


def _reconstruction(model, vocabulary, flags):
    from data.text import sentences

    lines = lines_of(flags.decode_from_file)
    tokens = sentences.encode_lines(lines, vocabulary, model.max_length)
    return vocabulary.decode_to_strings(model.reconstruct(tokens, **_settings(flags)))


def _score(model, vocabulary, flags):
    from data.text import sentences

    lines = lines_of(flags.decode_from_file)
    tokens = sentences.encode_lines(lines, vocabulary, model.max_length)
    terms = {name: np.array(value) for name, value in model(tokens).items()}
    names = ["distortion", "rate", "rate_aux", "committed_rate"]
    found = ["\t".join([*(f"{name}_nats" for name in names), "tokens", "line"])]
    for i, line in enumerate(lines):
        numbers = [f"{terms[name][i]:.4f}" for name in names]
        numbers.append(str(np.count_nonzero(tokens[i])))
        found.append("\t".join([*numbers, line]))
    return found
