"""delta-VAEs: variational autoencoders whose rate cannot fall below delta.

    import deltavae_tf

    prior = deltavae_tf.AR1(alpha=[0.9] * 8, num_timesteps=16)
    prior.committed_rate()  # nats

Every name below is imported on first use, and Keras and its backend with it: the import
of the package itself takes milliseconds.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltavae_tf.distributions.ar1 import AR1, committed_rate, solve_alpha
    from deltavae_tf.distributions.delta_normal import DeltaNormal
    from deltavae_tf.distributions.information import (
        information_at_rate,
        rate_for_information,
        solve_alpha_for_information,
    )
    from deltavae_tf.distributions.mixture_logistic import DiscretizedLogisticMixture
    from deltavae_tf.distributions.segmented_ar1 import SegmentedAR1
    from deltavae_tf.distributions.token_categorical import TokenCategorical
    from deltavae_tf.errors import MissingPackageError, NotFiniteError, UserError
    from deltavae_tf.models.auxiliary_prior import LSTMPrior
    from deltavae_tf.models.delta_vae import DeltaVAE
    from deltavae_tf.models.image_decoder import ImageDecoder
    from deltavae_tf.models.image_encoder import ImageEncoder
    from deltavae_tf.models.independent_encoder import IndependentDeltaEncoder
    from deltavae_tf.models.text_decoder import TextDecoder
    from deltavae_tf.models.text_encoder import TextEncoder
    from deltavae_tf.models.text_vae import TextVAE
    from deltavae_tf.objectives import ELBO, GECO, BetaVAE, FreeBits, KLAnnealing
    from deltavae_tf.presets.loading import from_preset

__version__ = "0.2.0"

_MODULES = {
    "AR1": "distributions.ar1",
    "BetaVAE": "objectives",
    "DeltaNormal": "distributions.delta_normal",
    "DeltaVAE": "models.delta_vae",
    "DiscretizedLogisticMixture": "distributions.mixture_logistic",
    "ELBO": "objectives",
    "FreeBits": "objectives",
    "GECO": "objectives",
    "ImageDecoder": "models.image_decoder",
    "ImageEncoder": "models.image_encoder",
    "IndependentDeltaEncoder": "models.independent_encoder",
    "KLAnnealing": "objectives",
    "LSTMPrior": "models.auxiliary_prior",
    "MissingPackageError": "errors",
    "NotFiniteError": "errors",
    "SegmentedAR1": "distributions.segmented_ar1",
    "TextDecoder": "models.text_decoder",
    "TextEncoder": "models.text_encoder",
    "TextVAE": "models.text_vae",
    "TokenCategorical": "distributions.token_categorical",
    "UserError": "errors",
    "committed_rate": "distributions.ar1",
    "from_preset": "presets.loading",
    "information_at_rate": "distributions.information",
    "rate_for_information": "distributions.information",
    "solve_alpha": "distributions.ar1",
    "solve_alpha_for_information": "distributions.information",
}

# Written out: tools that only read this file cannot follow `_MODULES`.
__all__ = [
    "AR1",
    "BetaVAE",
    "DeltaNormal",
    "DeltaVAE",
    "DiscretizedLogisticMixture",
    "ELBO",
    "FreeBits",
    "GECO",
    "ImageDecoder",
    "ImageEncoder",
    "IndependentDeltaEncoder",
    "KLAnnealing",
    "LSTMPrior",
    "MissingPackageError",
    "NotFiniteError",
    "SegmentedAR1",
    "TextDecoder",
    "TextEncoder",
    "TextVAE",
    "TokenCategorical",
    "UserError",
    "__version__",
    "committed_rate",
    "from_preset",
    "information_at_rate",
    "rate_for_information",
    "solve_alpha",
    "solve_alpha_for_information",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES[name]
    if module != "errors":
        # First, since it says what to install where a backend is missing.
        _import_module(f"{__name__}.backend")
    value = getattr(_import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
