"""What a run's latents hold, told by row, by channel and by neighbor: `latents.json`.

    {"schema": 1, "step": int, "weights": "raw" or "average", "data": str,
     "kind": "images" or "text", "num_examples": int,
     "rate_nats": [[...]], "committed_rate_nats": [[...]],   rows of channels; or null
     "same_class": {"latents": float, "pixels": float, "chance": float},  or null
     "neighbors": [[str, ...], ...]}                                      or null

It is written where a trained model is at hand: at the end of training, and by the
program `evaluate`. Pages and figures read it. Neighbors of images are a picture,
`samples/neighbors-*.png`.
"""

import os

import numpy as np

from deltavae_tf.evaluation import record as records
from deltavae_tf.training import checkpoints

FILE = "latents.json"
SCHEMA = 1
_EXAMPLES = 500  # Held-out ones that are encoded and compared.
_SHOWN, _NEIGHBORS = 8, 4
_DIGITS = 5


def write(folder, model, data, step: int, weights: str) -> None:
    """Measures and writes; of a model without latents nothing.

    Args:
      folder: `run_folder.RunFolder`.
      model: `DeltaVAE` or `TextVAE` with the weights that are measured.
      data: `data.Data`, loaded.
      step: int.
      weights: "raw" or "average".
    """
    if model.encoder is None:
        return
    found = data.encoded(model, _EXAMPLES)
    rates = rates_of(model, found["loc"], found["scale"], found["segments"])
    points = summaries(found["loc"], found["segments"])
    near = nearest(points, _NEIGHBORS)
    shown = np.concatenate([np.arange(len(near))[:, None], near], axis=1)[:_SHOWN]
    content = {
        "schema": SCHEMA,
        "step": step,
        "weights": weights,
        "data": data.held_out.name,
        "kind": data.hparams.kind,
        "num_examples": len(points),
        "rate_nats": rates and rates[0].tolist(),
        "committed_rate_nats": rates and rates[1].tolist(),
        "same_class": _same_class(near, found) if "label" in found else None,
        "neighbors": data.write_neighbors(folder, step, shown),
    }
    path = os.path.join(folder.path, FILE)
    checkpoints.write_json(path, records.rounded(content, _DIGITS))


def rates_of(model, loc, scale, segments) -> tuple[np.ndarray, np.ndarray] | None:
    """The mean rate of each row and channel, and the least that it can be.

    The chain rule gives each row its KL given the row before; a mean is over the
    examples that have the row.

    Args:
      model: `DeltaVAE`.
      loc, scale: float32 `[N, n, d]`.
      segments: int32 `[N, n]`, 0 where an example has no latent.

    Returns:
      Two float64 `[n, d]`, nats; None where the prior is no AR(1).
    """
    from keras import ops

    from deltavae_tf.distributions import segmented_ar1

    if not hasattr(model.prior, "alpha"):
        return None
    real = segments > 0
    count = np.maximum(real.sum(axis=0), 1)
    rate, committed = np.zeros(loc.shape[1:]), np.zeros(loc.shape[1:])
    for k, alpha in enumerate(np.asarray(model.prior.alpha)):
        chain = segmented_ar1.SegmentedAR1([alpha])
        channel = (x[..., k : k + 1] for x in (loc, scale))
        kl = ops.convert_to_numpy(chain.kl_from_normal(*channel, segments))
        least = ops.convert_to_numpy(chain.committed_rate_of_steps(segments))
        rate[:, k] = kl.sum(axis=0) / count  # Of padding they are 0.
        committed[:, k] = least.sum(axis=0) / count
    if hasattr(model.encoder, "committed_rate"):  # It commits, and the prior does not.
        per_example = np.asarray(model.encoder.committed_rate(segments))
        each = per_example.sum() / (real.sum() * loc.shape[2])
        committed = np.where(real.any(axis=0)[:, None], each, committed)
    return rate, committed


def summaries(loc: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """A point for each example, `[N, k]`: its posterior means; of examples that differ
    in length the mean over their rows."""
    real = (segments > 0)[..., None]
    if real.all():
        return loc.reshape(len(loc), -1)
    return (loc * real).sum(axis=1) / np.maximum(real.sum(axis=1), 1)


def nearest(points: np.ndarray, count: int) -> np.ndarray:
    """The places of the nearest others of each point `[N, k]`, nearest first:
    int `[N, min(count, N - 1)]`; by Euclid's distance."""
    from scipy.spatial import distance

    apart = distance.cdist(points, points)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, axis=1, kind="stable")[:, : min(count, len(points) - 1)]


def _same_class(near, found):
    """How often the nearest other has the same class: by latents, pixels, chance."""
    label = found["label"]
    if not near.size:
        return None
    pixels = np.asarray(found["x"], np.float32).reshape(len(label), -1)
    shares = np.unique(label, return_counts=True)[1] / len(label)
    return {
        "latents": float(np.mean(label[near[:, 0]] == label)),
        "pixels": float(np.mean(label[nearest(pixels, 1)[:, 0]] == label)),
        "chance": float(np.sum(shares**2)),
    }
