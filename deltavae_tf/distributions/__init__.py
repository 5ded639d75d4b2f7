"""Distributions: each reads like its mathematics, float32, in nats."""

from deltavae_tf.distributions.ar1 import AR1 as AR1
from deltavae_tf.distributions.ar1 import committed_rate as committed_rate
from deltavae_tf.distributions.ar1 import solve_alpha as solve_alpha
from deltavae_tf.distributions.delta_normal import DeltaNormal as DeltaNormal
from deltavae_tf.distributions.delta_normal import scale_interval as scale_interval
from deltavae_tf.distributions.latent_prior import LatentPrior as LatentPrior
from deltavae_tf.distributions.mixture_logistic import (
    DiscretizedLogisticMixture as DiscretizedLogisticMixture,
)
from deltavae_tf.distributions.segmented_ar1 import SegmentedAR1 as SegmentedAR1
from deltavae_tf.distributions.token_categorical import (
    TokenCategorical as TokenCategorical,
)
