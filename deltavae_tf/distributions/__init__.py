"""Distributions: each reads like its mathematics, float32, in nats."""

from deltavae_tf.distributions.mixture_logistic import (
    DiscretizedLogisticMixture as DiscretizedLogisticMixture,
)
