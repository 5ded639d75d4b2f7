"""Bits/dim on CIFAR-10 after equal minutes of training: ours and `tfd.PixelCNN`.

All are trained by Adam with Keras's defaults, and its rate follows the share of the
minutes that is used up: it rises linearly in the first twentieth, then falls like half
a cosine to 0, so that every entry ends well however many steps it makes.
"""

import math
import os
import time

import keras
import numpy as np
import tqdm

from benchmarks import ours
from data import cifar10
from data.images import batches
from deltavae_tf import units

ENTRIES = ("latent_free", "delta", "pixel_cnn")

_WARM_UP = 0.05


class Budget:
    """Minutes of training, by the wall clock or in processor time over the cores."""

    def __init__(self, minutes, clock):
        self._seconds = 60.0 * minutes
        wall = clock == "wall"
        self._now = time.monotonic if wall else time.process_time
        self._cores = 1 if wall else os.cpu_count()
        self._start = self._now()

    def used(self):
        """The share that is used up: 1 or more at the end."""
        return (self._now() - self._start) / self._cores / self._seconds


def run(entry, name, options, make_peer):
    """Trains one entry for the budget, then evaluates it: a JSON-able dict.

    Args:
      entry: one of `ENTRIES`.
      name: a model of `ours.MODELS`.
      options: the program's.
      make_peer: (number of parameters, options) -> `pixel_cnn.PixelCNN`.
    """
    train = cifar10.load("train", data_dir=options.data_dir)
    test = cifar10.load("test", data_dir=options.data_dir).first(options.num_test)
    shape, peak = train.image.shape[1:], options.learning_rate
    first = train.image[: options.train_batch_size]
    if entry == "pixel_cnn":
        size = ours.num_parameters(ours.make(name, shape, method="autoregressive"))
        peer, peak = make_peer(size, options), options.peer_learning_rate
        peer.initialize(first)
        count, step = peer.num_parameters, lambda batch: peer.train_step(batch["image"])
        rate = peer.optimizer.learning_rate
    else:
        changes = {"method": "autoregressive"} if entry == "latent_free" else {}
        model = ours.make(name, shape, **changes)
        model.compile(keras.optimizers.Adam(peak))
        model.initialize_from({"image": first})
        count, step = ours.num_parameters(model), ours.trainer(model)
        rate = model.optimizer.learning_rate
    steps, minutes = _train(step, rate, peak, train, options)
    if entry == "pixel_cnn":
        nats = _evaluate(lambda batch: -peer.log_prob(batch["image"]), test)
    else:
        nats = _evaluate(ours.negative_elbo(model), test)
    bpd = units.bits_per_dim(nats, int(np.prod(test.image.shape[1:])))
    found = {
        "bits_per_dim": float(bpd.mean()),
        "stderr": float(bpd.std() / np.sqrt(len(bpd))),
        "num_parameters": count,
        "steps": steps,
        "train_batch_size": options.train_batch_size,
        "minutes": options.minutes,
        "clock": options.clock,
        "wall_minutes": minutes,
        "learning_rate": peak,
        "data": f"{test.name}, {test.note}",
    }
    print(
        f"  {entry}: {found['bits_per_dim']:.3f} bits/dim (standard error "
        f"{found['stderr']:.3f}) after {steps} steps",
        flush=True,
    )
    return found


def learning_rate(peak, used):
    """Of Adam when a share `used` of the budget is gone: a float."""
    if used < _WARM_UP:
        return peak * (used + 0.01) / (_WARM_UP + 0.01)  # The first step counts too.
    done = (used - _WARM_UP) / (1.0 - _WARM_UP)
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


def _train(step, rate, peak, split, options):
    """Steps and wall minutes until the budget is used up; the first is not counted."""
    stream = iter(batches.training_batches(split, options.train_batch_size, seed=0))
    rate.assign(learning_rate(peak, 0.0))
    step(next(stream))
    budget, start, steps = Budget(options.minutes, options.clock), time.monotonic(), 0
    form = "{l_bar}{bar}{postfix}"
    with tqdm.tqdm(total=100, unit="%", bar_format=form, disable=None) as bar:
        while (used := budget.used()) < 1:
            rate.assign(learning_rate(peak, used))
            loss = float(step(next(stream)))
            steps += 1
            bar.n = round(100 * used)
            bar.set_postfix(step=steps, nats=f"{loss:.0f}")
    if not np.isfinite(loss):
        raise FloatingPointError(f"The loss of step {steps} is not finite.")
    return steps, (time.monotonic() - start) / 60


def _evaluate(nats_of, split):
    """Nats of every image of a split: float64 `[N]`."""
    parts = []
    for batch in batches.evaluation_batches(split, 32):
        real = batch["mask"].numpy() > 0
        parts.append(np.asarray(nats_of(batch), "float64")[real])
    return np.concatenate(parts)
