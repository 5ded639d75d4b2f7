"""Do reconstructions keep what their originals are?"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

from deltavae_tf.errors import UserError
from deltavae_tf.evaluation import linear_probe


def of(
    model: Any, batches: Iterable[dict], seed: int = 0, temperature: float = 1.0
) -> dict[str, np.ndarray]:
    """One reconstruction x' ~ p(x | z), z ~ q(z | x), of every image.

    The noise is a function of the seed and the image's own number.

    Args:
      model: `DeltaVAE` with an encoder.
      batches: iterable of image batches; examples with mask 0 are left out.
      seed: int.
      temperature: float > 0, of the decoder's samples; 1: p(x | z) itself.

    Returns:
      dict of arrays in the order of the data: `image`, `reconstruction` int32
      `[N, H, W, C]`; `label` int32 `[N]`.
    """
    parts = []
    for batch in batches:
        real = ops.convert_to_numpy(batch["mask"]) > 0
        x, index = batch["image"], ops.convert_to_tensor(batch["index"])
        z = model.sample_posterior(x, seed, index)
        drawn = model.sample_data(z, len(real), temperature, seed, index)
        part = {"image": x, "reconstruction": drawn, "label": batch["label"]}
        parts.append({k: ops.convert_to_numpy(v)[real] for k, v in part.items()})
    if not parts:
        raise UserError(
            "The evaluation data is empty: give one example or more. Received: none"
        )
    found = {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
    return {k: v.astype("int32") for k, v in found.items()}


def agreement(
    reconstructed: dict[str, np.ndarray],
    train_image: np.ndarray,
    train_label: np.ndarray,
    num_classes: int,
    seed: int = 0,
) -> tuple[float, float]:
    """How often a classifier puts a reconstruction into its original's class.

    The classifier is multinomial logistic regression on the pixels, fitted to real
    training images; it is right about four fifths of Fashion-MNIST. Its accuracy on
    the originals is the most that reconstructions can be expected to reach.

    Args:
      reconstructed: dict from `of`.
      train_image: integer `[M, H, W, C]`.
      train_label: int `[M]`.
      num_classes: int.
      seed: int, of the order of examples.

    Returns:
      float in [0, 1], the share of reconstructions; float, that of the originals.
    """
    highest = max(float(np.max(train_image)), 1.0)
    classify = linear_probe.fit(
        train_image / highest, train_label, num_classes, 100, seed
    )
    label = reconstructed["label"]
    shares = [
        float(np.mean(classify(reconstructed[name] / highest) == label))
        for name in ("reconstruction", "image")
    ]
    return shares[0], shares[1]


def distance_ratio(reconstructed: dict[str, np.ndarray]) -> float:
    """Mean squared distance to the original over that to another image.

    The other image is the next one of the data; 1 or so if reconstructions have
    nothing to do with their originals.
    """
    image, drawn = (
        reconstructed[k].astype("float64") for k in ("image", "reconstruction")
    )
    if len(image) < 2:
        raise UserError(f"A distance ratio needs 2 images. Received: {len(image)}")
    other = np.roll(image, 1, axis=0)
    return float(np.mean((drawn - image) ** 2) / np.mean((drawn - other) ** 2))
