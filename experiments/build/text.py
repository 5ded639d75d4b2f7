"""Builds text data and models from hyper-parameters."""

import os
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from data import documents, lm1b
from data.reading import errors
from data.text import vocabulary
from deltavae_tf.distributions import segmented_ar1
from deltavae_tf.models import (
    auxiliary_prior,
    text_decoder,
    text_encoder,
    text_vae,
)
from experiments import build


class Problem(NamedTuple):
    """A text data set: how to find a split's corpus."""

    load: Callable  # (split, hparams, data_dir, tmp_dir, download) -> corpora.Corpus


def _load_documents(split, hparams, data_dir=None, tmp_dir=None, download=False):
    del hparams, data_dir, tmp_dir, download  # It is embedded in Python.
    return documents.load(split)


def _load_lm1b(split, hparams, data_dir=None, tmp_dir=None, download=False):
    wanted = {"train": hparams.train_files, "test": hparams.eval_files}[split]
    official = {"train": lm1b.TRAIN_FILES, "test": lm1b.TEST_FILES}[split]
    files = None if wanted == official else wanted
    return lm1b.load(split, data_dir, tmp_dir, download, files)


PROBLEMS = {"documents": Problem(_load_documents), "lm1b": Problem(_load_lm1b)}


def cache_dir(problem, data_dir, tmp_dir):
    """Where vocabularies and encoded text go: beside the data if one may write there.

    Args:
      problem: str, its name.
      data_dir: str, or None.
      tmp_dir: str, where they go otherwise.
    """
    if data_dir:
        data_dir = os.path.expanduser(data_dir)
        if os.path.isdir(data_dir) and os.access(data_dir, os.W_OK):
            return os.path.join(data_dir, f"{problem}-encoded")
    return os.path.join(os.path.expanduser(tmp_dir or "/tmp"), f"{problem}-encoded")


def find_vocabulary(corpus, size, folder):
    """The vocabulary of a training corpus, from `folder`, or built and put there."""
    name = f"{corpus.name.replace('/', '-')}-{corpus.fingerprint()}-{size}.model"
    path = os.path.join(folder, name)
    if os.path.exists(path):
        found = vocabulary.load(path)
        if found.size != size:
            raise errors.DataError(
                f"{path} must have {size:,} ids; remove it and it will be built again. "
                f"Received: {found.size:,} ids"
            )
        return found
    found = vocabulary.build(corpus.lines(), size)
    found.save(path)
    return found


def text_model(hparams, seed=0):
    """A built, compiled `TextVAE`.

    Args:
      hparams: `TextHparams`.
      seed: int, of the weights and of all noise.
    """
    keras.utils.set_random_seed(seed)
    policy = keras.dtype_policies.DTypePolicy(hparams.dtype)
    size = hparams.vocabulary_size
    shared = (hparams.layers, hparams.width, hparams.filter_size, hparams.num_heads)
    decoder = text_decoder.TextDecoder(
        size,
        *shared,
        use_latents=hparams.use_latents,
        dropout_rate=hparams.dropout,
        name="decoder",
        dtype=policy,
    )
    parts = {"encoder": None, "prior": None}
    if hparams.use_latents:
        alpha = np.zeros(hparams.latent_channels)
        if hparams.method == "delta_vae":
            alpha = np.linspace(
                hparams.alpha_min, hparams.alpha_max, hparams.latent_channels
            )
        parts = {
            "prior": segmented_ar1.SegmentedAR1(alpha),
            "encoder": text_encoder.TextEncoder(
                size,
                hparams.latent_channels,
                *shared,
                alpha=alpha,
                name="encoder",
                dtype=policy,
            ),
            "auxiliary_prior": auxiliary_prior.LSTMPrior(
                hparams.auxiliary_units,
                hparams.latent_channels,
                name="auxiliary_prior",
                dtype=policy,
            ),
        }
    model = text_vae.TextVAE(
        decoder=decoder,
        objective=build.objective(hparams),
        seed=seed,
        max_length=hparams.max_length,
        name="text_vae",
        dtype=policy,
        **parts,
    )
    model(np.zeros((1, hparams.max_length), np.int32))
    model.compile(build.optimizer(hparams), clip_norm=hparams.clip_norm or None)
    return model
