r"""Text results as Markdown: tables of recorded runs, and what a run writes.

  python -m experiments.figures.text_results --markdown=docs/text.md \
      --output_dir=/tmp/lm1b_small

Puts into the file, between marks as those of `results_table`:

  documents, lm1b  from experiments/results: each model and its twins, on test sentences
  samples          from the run in --output_dir: sentences from either prior
  interpolation    one dimension of z at a time (Figures 12 and 13)
  completions      of the beginnings below, z between two samples (Figure 14)

Without --output_dir the tables alone.
"""

import json
import os

from deltavae_tf.sampling import text
from experiments import flags, runs, text_runs
from experiments.figures import results_table

FLAGS = flags.FLAGS
_MODELS = (
    ("delta-VAE", ""),
    ("latent-free twin", "_no_latents"),
    ("plain VAE", "_standard_normal"),
)
_TABLES = {"documents": "documents", "lm1b": "lm1b_small"}
_BEGINNINGS = ("The president said", "In the first half ,", '" I am')
_TOP_P = 0.9
_COUNT, _STEPS = 6, 5


def main(_):
    """Makes the blocks and writes them into the file, or prints them."""
    folder = results_table.RESULTS_DIR.value
    blocks = {name: table(folder, stem) for name, stem in _TABLES.items()}
    if FLAGS.output_dir:
        blocks.update(sentences(FLAGS.output_dir))
    path = results_table.MARKDOWN.value
    if path:
        results_table.replace_blocks(path, blocks)
        print(f"Wrote {path}")
    else:
        print("\n\n".join(f"## {name}\n\n{block}" for name, block in blocks.items()))


def table(folder, stem):
    """A model and its twins, each `<stem><suffix>.json` of the folder, as Markdown."""
    columns = {
        "AR(1): nats/token": "{nelbo_per_token:.3f} +- {nelbo_per_token_stderr:.3f}",
        "aux: nats/token": "{nelbo_aux_per_token:.3f}",
        "rate (committed)": "{rate_per_token:.4f} ({committed_rate_per_token:.4f})",
        "aux rate": "{rate_aux_per_token:.4f}",
        "aux: nats/word": "{nelbo_aux_per_word:.3f}",
        "aux: bits/character": "{nelbo_aux_bits_per_character:.3f}",
    }
    rows = []
    for name, suffix in _MODELS:
        with open(os.path.join(folder, f"{stem}{suffix}.json")) as file:
            record = json.load(file)
        value = {
            key.removeprefix("ema_"): number
            for key, number in record["evaluation"].items()
            if key.startswith("ema_")
        }
        rows.append([name, *(form.format(**value) for form in columns.values())])
    return "\n\n".join(
        [results_table.markdown(["", *columns], rows), _about(stem, record)]
    )


def _about(stem, record):
    found, hparams = record["evaluation"], record["hparams"]
    return (
        f"`{stem}`: {found['num_examples']:,} sentences of {found['data']} "
        f"({found['note']}), {found['num_tokens']:,} tokens, "
        f"{found['tokens_per_word']:.3f} a word (Tensor2Tensor's lm1b32k: "
        f"{text_runs.TENSOR2TENSOR_TOKENS_PER_WORD}); trained on "
        f"{hparams['training_sentences']:,} sentences, {found['step']:,} steps of "
        f"{hparams['batch_size']} rows of {hparams['max_length']}; a vocabulary of "
        f"{hparams['vocabulary_size']:,}; averaged weights; seed "
        f"{hparams['random_seed']}; {record['hardware']}."
    )


def sentences(path):
    """What a run writes: dict of Markdown blocks."""
    model, _, step = runs.load(path)
    vocabulary = text_runs.load_vocabulary(path)
    return {
        "samples": _samples(model, vocabulary, step),
        "interpolation": _interpolation(model, vocabulary),
        "completions": _completions(model, vocabulary),
    }


def _samples(model, vocabulary, step):
    parts = [f"Averaged weights of step {step:,}."]
    for prior in ("aux", "ar1"):
        for top_p in (1.0, _TOP_P):
            (tokens,) = text.sample(model, _COUNT, prior, top_p=top_p)
            parts.append(_block(f"--prior={prior} --top_p={top_p}", tokens, vocabulary))
    return "\n\n".join(parts)


def _interpolation(model, vocabulary):
    parts = []
    for prior in ("ar1", "aux"):
        for channel in range(len(model.prior.alpha)):
            z = text.interpolated_latents(model, channel, prior, _STEPS)
            tokens = text.decode(model, z, top_p=_TOP_P)
            title = f"--prior={prior}, dimension {channel} from -3 to 3 deviations"
            parts.append(_block(title, tokens, vocabulary))
    return "\n\n".join(parts)


def _completions(model, vocabulary):
    parts = []
    for number, line in enumerate(_BEGINNINGS):
        prefix = vocabulary.encode([line]).numpy()[0][:-1]
        tokens = text.complete(model, prefix, "aux", _STEPS, first=number, top_p=_TOP_P)
        parts.append(_block(f"`{line}`", tokens, vocabulary))
    return "\n\n".join(parts)


def _block(title, tokens, vocabulary):
    lines = vocabulary.decode_to_strings(tokens)
    return "\n".join([f"{title}:", "", "```text", *lines, "```"])


if __name__ == "__main__":
    flags.run(main)
