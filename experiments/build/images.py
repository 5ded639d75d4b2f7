"""What a model of images adds: its sizes, its class, its first batch."""

import numpy as np

from experiments.build import components


def sizes(hparams) -> components.Sizes:
    """The sizes that the data set fixes; a latent for each row of an image."""
    dataset = hparams.dataset()
    return components.Sizes(
        kind="images",
        num_timesteps=dataset.image_shape[0],
        image_shape=tuple(dataset.image_shape),
        num_levels=dataset.num_levels,
        num_dims=int(np.prod(dataset.image_shape)),
    )


def model(hparams, **parts):
    """A built `DeltaVAE`."""
    import deltavae_tf

    found = deltavae_tf.DeltaVAE(name="delta_vae", **parts)
    shape = (1, *hparams.dataset().image_shape)
    components.make_weights(found, np.zeros(shape, np.uint8))
    return found
