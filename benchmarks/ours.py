"""Our side: models to time, their cached sampler, and what it is compared with."""

import keras
import numpy as np
from keras import ops

from data import dataset
from data.reading import errors
from deltavae_tf import backend, noise
from deltavae_tf.layers import weight_norm
from deltavae_tf.sampling import images
from experiments import build, sets

# Name: (hyper-parameter set, changes). All but cifar10_small* have self-attention over
# all pixels.
MODELS = {
    "attention_small": (
        "cifar10_small",
        {
            "decoder_layers": 8, "decoder_width": 64, "decoder_filter": 256,
            "decoder_attention": 2, "num_heads": 4, "num_mixtures": 10,
        },
    ),
    "cifar10_ablation": ("cifar10_ablation", {}),
    "cifar10_small": ("cifar10_small", {}),
    # As tfd.PixelCNN is normalized; layer norm, the sets' default, is the paper's.
    "cifar10_small_weight_norm": ("cifar10_small", {"normalization": "weight"}),
    "tiny": (
        "cifar10_tiny",
        {"decoder_attention": 2, "decoder_layers": 1},
    ),
}  # fmt: skip


def settings(name, **changes):
    """The `sets.Hparams` of a benchmark's model."""
    base, overrides = MODELS[name]
    return sets.hparams(base).replace(**{**overrides, **changes})


def make(name, image_shape=(32, 32, 3), **changes):
    """A built, compiled `DeltaVAE`."""
    chosen = settings(name, **changes)
    if tuple(image_shape) != chosen.dataset().image_shape:
        chosen = chosen.replace(problem=_of_shape(tuple(image_shape)))
    return build.model(chosen)


def _of_shape(image_shape):
    """The name of a data set without examples, whose images would have this shape."""
    made_up = dataset.ImageDataset(
        name="no_images_" + "x".join(map(str, image_shape)),
        loader=_no_images,
        image_shape=image_shape,
        num_held_out=1,
        source="there are none",
        paper_split="there is none",
    )
    return dataset.add(made_up).name


def _no_images(split, **unused):
    raise errors.DataError(f"There are no images to load. Received: {split}")


class Sampling:
    """Functions to time, for one decoder and batch size; what they read is arbitrary.

    Args:
      decoder: built `ImageDecoder` with latents.
      latent_channels: int, d.
      batch_size: int.
    """

    def __init__(self, decoder, latent_channels, batch_size):
        self._decoder = decoder
        rng = np.random.default_rng(0)
        height, width, channels = decoder.image_shape
        z = rng.normal(size=(batch_size, height, latent_channels)).astype("float32")
        x = rng.integers(0, 256, (batch_size, *decoder.image_shape), "int32")
        self._z, self._x = ops.convert_to_tensor(z), ops.convert_to_tensor(x)
        self._keys = noise.fold(noise.make_key(0)[None], ops.arange(batch_size))
        self._uniforms = noise.uniform(self._keys, (height, width, 1 + channels))

    def cached(self):
        """Samples the batch through the cache."""
        compiled = backend.compile(self._decoder.sample)
        temperature = ops.convert_to_tensor(1.0)
        return lambda: ops.convert_to_numpy(compiled(self._z, self._keys, temperature))

    def forward(self, compiler):
        """One parallel pass, all that is needed to evaluate the batch: the floor."""

        def parameters(z, x):
            p = self._decoder(z, x)
            return p.logits, p.loc, p.log_scale, p.coefficients

        compiled = compiler(parameters)
        return lambda: ops.convert_to_numpy(compiled(self._z, self._x)[0])

    def naive(self, compiler):
        """One pixel of the naive loop: a parallel pass and the pixels it samples."""
        draw = images.naive_pass(
            self._decoder, self._z, self._uniforms, compiler=compiler
        )
        return lambda: ops.convert_to_numpy(draw(self._x))


def train_step(model, batch_size):
    """A step of the model's own training on random images, as the loop compiles it."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (batch_size, *model.decoder.image_shape), "uint8")
    step = trainer(model)
    return lambda: float(step({"image": ops.convert_to_tensor(x)}))


def trainer(model):
    """batch -> loss, nats, of this batch: the model's compiled training step."""
    model.optimizer.build(model.trainable_variables)
    step = backend.graph(model.train_step)

    def run(batch):
        model.reset_metrics()  # Keras's loss is a mean over all steps since.
        return step(batch)["loss"]

    return run


def cache_bytes(decoder, latent_channels):
    """Bytes of cache that the sampler keeps for an image."""
    z = np.zeros((1, decoder.image_shape[0], latent_channels), "float32")
    leaves = keras.tree.flatten(decoder.init_cache(1, z))
    return sum(int(np.prod(x.shape)) * np.dtype("float32").itemsize for x in leaves)


def num_parameters(layer):
    """Trainable parameters."""
    return weight_norm.num_weights(layer)


def negative_elbo(model):
    """batch -> one-sample negative ELBO, nats `[B]` (-log p of the latent-free)."""

    def nats(batch):
        terms = model(batch, training=False)
        return terms["distortion"] + terms["rate_aux"]

    return backend.graph(nats)
