"""Small models and their examples, for the tests of evaluation."""

import keras
import numpy as np

from data import digits
from data.images import batches
from data.text import batches as text_batches
from data.text import sentences
from deltavae_tf.distributions import ar1, segmented_ar1
from deltavae_tf.evaluation import context, likelihood
from deltavae_tf.models import (
    auxiliary_prior,
    delta_vae,
    image_decoder,
    image_encoder,
    text_decoder,
    text_encoder,
    text_vae,
)
from tests.data import text_fakes

ALPHA = np.array([0.5, 0.95])


def image_model(latents=True):
    """A `DeltaVAE` of the digits, not trained."""
    keras.utils.set_random_seed(0)
    shape = {"num_heads": 2, "num_levels": 17}
    decoder = image_decoder.ImageDecoder(
        2, 8, 16, num_mixtures=2, use_latents=latents, name="decoder", **shape
    )
    parts = {"encoder": None, "prior": None}
    if latents:
        prior = ar1.AR1(ALPHA, 8)
        encoder = image_encoder.ImageEncoder(
            2, 2, 8, 16, initial_scale=prior.optimal_scale(), name="encoder", **shape
        )
        other = auxiliary_prior.LSTMPrior(8, 2, name="auxiliary_prior")
        parts = {"encoder": encoder, "prior": prior, "auxiliary_prior": other}
    model = delta_vae.DeltaVAE(decoder=decoder, name="delta_vae", **parts)
    model(np.zeros((1, 8, 8, 1), np.uint8))
    return model


def images(split="test", count=20, batch_size=8, num_classes=10):
    """`Examples` of the first digits of a split."""
    found = digits.load(split).first(count)
    return context.Examples(
        batches=lambda limit=None: batches.evaluation_batches(found, batch_size, limit),
        name=found.name,
        num_examples=len(found),
        unit=likelihood.BitsPerDim(64),
        note=found.note,
        num_classes=num_classes,
    )


def text_model():
    """A `TextVAE`, not trained."""
    keras.utils.set_random_seed(0)
    shape = (1, 16, 32, 2)
    alpha = np.array([0.2, 0.4])
    model = text_vae.TextVAE(
        encoder=text_encoder.TextEncoder(512, 2, *shape, alpha=alpha, name="encoder"),
        decoder=text_decoder.TextDecoder(512, *shape, name="decoder"),
        prior=segmented_ar1.SegmentedAR1(alpha),
        auxiliary_prior=auxiliary_prior.LSTMPrior(8, 2, name="auxiliary_prior"),
        max_length=32,
        name="text_vae",
    )
    model(np.zeros((1, 32), np.int32))
    return model


def text_split(count=13, seed=5):
    """Sentences in the small vocabulary."""
    corpus = text_fakes.corpus(text_fakes.lines(count, seed=seed))
    return sentences.prepare(corpus, text_fakes.small_vocabulary(), progress=False)


def sizes_of(split):
    """What `likelihood.PerToken` needs of a split."""
    return {
        "tokens": split.lengths,
        "words": split.words,
        "characters": split.characters,
        "index": split.index,
    }


def text(count=13):
    """`Examples` of sentences."""
    split = text_split(count)
    return context.Examples(
        batches=lambda limit=None: text_batches.evaluation_batches(
            split if limit is None else split.first(limit), 200
        ),
        name=split.name,
        num_examples=len(split),
        unit=likelihood.PerToken(sizes_of(split)),
        note="made up",
    )
