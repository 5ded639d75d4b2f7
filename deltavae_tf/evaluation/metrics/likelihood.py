"""Rates, distortion and the bounds that they add up to: exact, one sample each."""

from typing import Any

from deltavae_tf import units
from deltavae_tf.evaluation import metric
from deltavae_tf.evaluation.context import Context
from deltavae_tf.evaluation.metric import Metric

# Tensor2Tensor's lm1b32k on heldout-00000, ends included: to compare nats per token.
TENSOR2TENSOR_TOKENS_PER_WORD = 1.108

_IN_BITS: dict[str, Any] = {
    "unit": "bits per example",
    "factor": float(units.bits(1.0)),
    "column_of": ("images",),
}
_BPD: dict[str, Any] = {"unit": "bits/dim"}
_TOKEN: dict[str, Any] = {"unit": "nats/token"}


def _numbers(context, declared):
    found = context.likelihood()
    return {m.name: found[m.name] for m in declared if m.name in found}


_PER_EXAMPLE = (
    Metric(
        "committed_rate_nats",
        "the rate below which no posterior can go (delta)",
        title="committed bits",
        label="committed rate",
        form="{:.1f}",
        **_IN_BITS,
    ),
    Metric(
        "rate_nats",
        "KL from the posterior to the prior of training",
        title="rate bits",
        label="rate under the training prior",
        form="{:.2f}",
        **_IN_BITS,
    ),
    Metric(
        "rate_above_delta_nats",
        "rate less committed rate",
        title="above delta bits",
        label="rate above delta",
        form="{:.2f}",
        **_IN_BITS,
    ),
    Metric(
        "rate_aux_nats",
        "KL from the posterior to the auxiliary prior: no less than I(x; z)",
        title="aux rate bits",
        label="rate under the auxiliary prior",
        form="{:.2f}",
        **_IN_BITS,
    ),
    Metric(
        "distortion_nats",
        "-ln p(x | z) with z from the posterior",
        title="distortion bits",
        label="distortion",
        form="{:.1f}",
        **_IN_BITS,
    ),
    Metric(
        "rate_min_nats",
        "the lowest rate of any example",
        label="lowest rate",
        form="{:.2f}",
        **_IN_BITS,
    ),
    Metric(
        "rate_excess_min_nats",
        "the least that the rate of any example is above its committed one",
        **_IN_BITS,
    ),
    Metric("num_examples", "examples measured", form="{:,.0f}"),
)


@metric.register(*_PER_EXAMPLE, split="both", cheap=True)
def per_example(context: Context) -> dict[str, float]:
    """Means over examples, nats."""
    return _numbers(context, _PER_EXAMPLE)


_OF_IMAGES = (
    Metric(
        "nelbo_bpd",
        "distortion and rate: an upper bound on -log p(x)",
        title="bits/dim",
        label="negative ELBO",
        error="nelbo_bpd_stderr",
        **_BPD,
    ),
    Metric(
        "nelbo_aux_bpd",
        "distortion and auxiliary rate",
        title="bits/dim (aux)",
        label="negative ELBO with the auxiliary prior",
        error="nelbo_aux_bpd_stderr",
        **_BPD,
    ),
    Metric("nelbo_bpd_stderr", "its standard error over examples", **_BPD),
    Metric("nelbo_aux_bpd_stderr", "its standard error over examples", **_BPD),
    Metric("rate_bpd", "rate", form="{:.4f}", **_BPD),
    Metric("rate_aux_bpd", "auxiliary rate", form="{:.5f}", **_BPD),
)


@metric.register(*_OF_IMAGES, split="both", kinds=("images",), cheap=True)
def of_images(context: Context) -> dict[str, float]:
    """Bounds in bits per dimension."""
    return _numbers(context, _OF_IMAGES)


_OF_TEXT = (
    Metric(
        "nelbo_per_token",
        "distortion and rate: an upper bound on -ln p(x)",
        title="nats/token",
        label="negative ELBO",
        error="nelbo_per_token_stderr",
        **_TOKEN,
    ),
    Metric(
        "nelbo_aux_per_token",
        "distortion and auxiliary rate",
        title="nats/token (aux)",
        label="negative ELBO with the auxiliary prior",
        error="nelbo_aux_per_token_stderr",
        **_TOKEN,
    ),
    Metric("nelbo_per_token_stderr", "its standard error over sentences", **_TOKEN),
    Metric("nelbo_aux_per_token_stderr", "its standard error over sentences", **_TOKEN),
    Metric("distortion_per_token", "distortion", label="distortion", **_TOKEN),
    Metric(
        "committed_rate_per_token",
        "the rate below which no posterior can go (delta)",
        title="committed",
        label="committed rate",
        form="{:.4f}",
        **_TOKEN,
    ),
    Metric(
        "rate_per_token",
        "KL from the posterior to the prior of training",
        title="rate",
        label="rate under the training prior",
        form="{:.4f}",
        **_TOKEN,
    ),
    Metric(
        "rate_aux_per_token",
        "KL from the posterior to the auxiliary prior",
        title="aux rate",
        label="rate under the auxiliary prior",
        form="{:.4f}",
        **_TOKEN,
    ),
    Metric("nelbo_per_word", "distortion and rate", unit="nats/word"),
    Metric(
        "nelbo_aux_per_word",
        "distortion and auxiliary rate",
        unit="nats/word",
        title="nats/word (aux)",
    ),
    Metric("nelbo_bits_per_character", "distortion and rate", unit="bits/character"),
    Metric(
        "nelbo_aux_bits_per_character",
        "distortion and auxiliary rate",
        unit="bits/character",
        title="bits/character (aux)",
    ),
    Metric(
        "tokens_per_word",
        "how long a token is: nats per token mean little without it",
        label="tokens per word",
    ),
    Metric("num_tokens", "tokens measured, ends counted", form="{:,.0f}"),
    Metric("num_words", "words measured, ends counted", form="{:,.0f}"),
    Metric("num_characters", "characters measured, ends counted", form="{:,.0f}"),
)


@metric.register(*_OF_TEXT, split="both", kinds=("text",), cheap=True)
def of_text(context: Context) -> dict[str, float]:
    """Bounds and rates as ratios of sums, in nats per token."""
    return _numbers(context, _OF_TEXT)
