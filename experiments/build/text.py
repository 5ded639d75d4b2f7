"""What a model of sentences adds: its class and its first batch."""

import numpy as np

from experiments.build import components


def sizes(hparams) -> components.Sizes:
    """Sentences have lengths of their own: nothing is fixed."""
    del hparams
    return components.Sizes(kind="text")


def model(hparams, **parts):
    """A built `TextVAE`."""
    import deltavae_tf

    found = deltavae_tf.TextVAE(name="text_vae", max_length=hparams.max_length, **parts)
    components.make_weights(found, np.zeros((1, hparams.max_length), np.int32))
    return found
