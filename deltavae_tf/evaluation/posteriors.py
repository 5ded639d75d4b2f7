"""The posteriors of a data set: what probes, collapse measures and t-SNE look at."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

from deltavae_tf import backend
from deltavae_tf.errors import UserError


def moments(model: Any, batches: Iterable[dict]) -> dict[str, np.ndarray]:
    """q(z | x) of every example.

    Args:
      model: `DeltaVAE` with an encoder.
      batches: iterable of image batches; examples with mask 0 are left out.

    Returns:
      dict of arrays in the order of the data: `loc`, `scale` float32 `[N, n, d]`;
      `label`, `index` int32 `[N]`.
    """

    def encode(x):
        q = model.encode(x).distribution
        return q.loc, q.scale

    encode = backend.graph(encode, model)
    parts = []
    for batch in batches:
        real = ops.convert_to_numpy(batch["mask"]) > 0
        loc, scale = encode(batch["image"])
        part = {"loc": loc, "scale": scale}
        part.update({k: batch[k] for k in ("label", "index")})
        parts.append({k: ops.convert_to_numpy(v)[real] for k, v in part.items()})
    if not parts:
        raise UserError(
            "The evaluation data is empty: give one example or more. Received: none"
        )
    return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
