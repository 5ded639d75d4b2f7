r"""Text results as Markdown: tables of recorded runs, and what a run writes.

  python -m experiments.figures.text_results --markdown=docs/text.md \
      --output_dir=/tmp/lm1b_small

Puts into the file, between marks as those of `blocks`:

  documents, lm1b  from experiments/results: each model and its twins, on test sentences
  samples          from the run in --output_dir: sentences from either prior
  interpolation    one dimension of z at a time (Figures 12 and 13)
  completions      of the beginnings below, z between two samples (Figure 14)

Without --output_dir the tables alone.
"""

import os

from deltavae_tf.evaluation import tables
from deltavae_tf.evaluation.metrics.likelihood import TENSOR2TENSOR_TOKENS_PER_WORD
from deltavae_tf.sampling import text
from experiments import flags
from experiments.figures import blocks, results

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
    folder = blocks.RESULTS_DIR.value
    made = {name: table(folder, stem) for name, stem in _TABLES.items()}
    if FLAGS.output_dir:
        made.update(sentences(FLAGS.output_dir))
    blocks.show(made)


def table(folder: str, stem: str) -> str:
    """A model and its twins, each `<stem><suffix>.json` of the folder, as Markdown."""
    runs = {
        name: results.read(os.path.join(folder, f"{stem}{suffix}.json")).runs[0]
        for name, suffix in _MODELS
    }
    columns = tables.columns([run.numbers() for run in runs.values()], "text")
    rows = [
        [name, *(tables.cell(shown, run.numbers()) for shown in columns)]
        for name, run in runs.items()
    ]
    header = ["", *(shown.title for shown in columns)]
    (first, *_) = runs.values()
    return "\n\n".join([tables.markdown(header, rows), _about(stem, first)])


def _about(stem, run):
    found, hparams = run.numbers(), run.hparams
    return (
        f"`{stem}`: {run.measured_on()}, {found['num_tokens']:,} tokens, "
        f"{found['tokens_per_word']:.3f} a word (Tensor2Tensor's lm1b32k: "
        f"{TENSOR2TENSOR_TOKENS_PER_WORD}); trained on "
        f"{run.training['num_examples']:,} sentences, {run.steps:,} steps of "
        f"{hparams['batch_size']} rows of {hparams['max_length']}; a vocabulary of "
        f"{hparams['vocabulary_size']:,}; {run.weights} weights; seed "
        f"{run.seed}; {run.hardware}."
    )


def sentences(path):
    """What a run writes: dict of Markdown blocks."""
    from experiments.runs import load

    run = load.load(path)
    model, vocabulary = run.model, run.data.vocabulary
    return {
        "samples": _samples(model, vocabulary, run.step),
        "interpolation": _interpolation(model, vocabulary),
        "completions": _completions(model, vocabulary),
    }


def _samples(model, vocabulary, step):
    parts = [f"Averaged weights of step {step:,}."]
    for prior in ("auxiliary", "training"):
        for top_p in (1.0, _TOP_P):
            (tokens,) = text.sample(model, _COUNT, prior, top_p=top_p)
            parts.append(_block(f"--prior={prior} --top_p={top_p}", tokens, vocabulary))
    return "\n\n".join(parts)


def _interpolation(model, vocabulary):
    parts = []
    for prior in ("training", "auxiliary"):
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
        tokens = text.complete(
            model, prefix, "auxiliary", _STEPS, first=number, top_p=_TOP_P
        )
        parts.append(_block(f"`{line}`", tokens, vocabulary))
    return "\n\n".join(parts)


def _block(title, tokens, vocabulary):
    lines = vocabulary.decode_to_strings(tokens)
    return "\n".join([f"{title}:", "", "```text", *lines, "```"])


if __name__ == "__main__":
    flags.run(main, ("output_dir", "t2t_usr_dir"))
