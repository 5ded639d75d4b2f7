"""Training on TensorFlow: a `tf.distribute` strategy, tf.data, TensorBoard's events."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from deltavae_tf import errors
from deltavae_tf.training import engines, run_folder, tensorboard, workers
from deltavae_tf.training import strategy as strategies

if TYPE_CHECKING:
    from deltavae_tf.training import loop


class Engine(engines.Engine):
    """A `tf.distribute` strategy, which may be one device; see `engines.Engine`.

    Args:
      strategy: `tf.distribute.Strategy`; None for the one in scope.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None) -> None:
        self.strategy = strategy or tf.distribute.get_strategy()
        self.is_chief = workers.is_chief(self.strategy)
        self.over_replicas = functools.partial(
            strategies.over_replicas, strategy=self.strategy
        )

    def prepare(self) -> None:
        """Turns off what makes two runs differ."""
        strategies.make_deterministic()

    def scope(self) -> AbstractContextManager:
        """Where variables are made."""
        return self.strategy.scope()

    def check_agreement(self, value: int, demand: str) -> None:
        """Raises a UserError that starts with `demand` if workers differ."""
        workers.check_workers_agree(value, self.strategy, demand)

    def any_asked(self, asked: bool) -> bool:
        """Whether any worker was asked (bool); all of them call it together."""
        return bool(workers.from_all_workers([asked], self.strategy).any())

    def restarting(self) -> AbstractContextManager:
        """Context that starts this program anew if another worker is lost."""
        return workers.restarting(self.strategy)

    def trainer(
        self, state: "loop.State", batches: tf.data.Dataset, settings: "loop.Settings"
    ) -> engines.Train:
        """Trains on a data set of global batches, one step after the other."""
        batches = iter(strategies.distribute(batches, self.strategy))
        train = _train_function(state, self.strategy, settings.jit_compile)
        return lambda count, first: int(
            train(batches, tf.constant(count), tf.constant(first))
        )

    def first_batch(self, batches: tf.data.Dataset) -> Mapping[str, tf.Tensor]:
        """The first batch of a data set."""
        return next(iter(batches))

    def on_one_replica(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """A callable that gives `function()`, computed where the weights are."""
        return strategies.on_one_replica(function, self.strategy)

    @contextlib.contextmanager
    def summaries(self, folder: run_folder.RunFolder, unit: str) -> Iterator[None]:
        """TensorBoard's events go into the folder, if this process writes."""
        writer = tf.summary.create_noop_writer()
        if folder.writes:
            writer = tf.summary.create_file_writer(folder.path)
        with writer.as_default():
            if folder.writes:
                _, hparams = run_folder.read_identity(folder.path)
                tensorboard.write_settings(hparams, unit)
            yield

    def scalars(self, row: Mapping[str, float]) -> None:
        """Writes a row of metrics."""
        for name, value in row.items():
            if name != "step":
                tf.summary.scalar(tensorboard.tag(name), value, step=row["step"])
        tf.summary.flush()

    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        """Writes a picture, uint8 `[H, W, 3]`."""
        tf.summary.image(name, picture[None], step=step)

    def text(self, name: str, text: str, step: int) -> None:
        """Writes a text in Markdown."""
        tf.summary.text(name, text, step=step)


def _train_function(state, strategy, jit_compile):
    model, average = state.model, state.average
    jit_compile = jit_compile and not strategies.is_tpu(strategy)
    if jit_compile and strategy.num_replicas_in_sync > 1:
        raise errors.UserError(
            "Keras cannot compile a step of several replicas by XLA; leave out "
            f"--xla_compile. Received: {strategy.num_replicas_in_sync} replicas"
        )

    def one_step(batch):
        logs = model.train_step(batch)
        if average is not None:
            average.update()
        return logs["loss"], logs["grad_norm"]

    if jit_compile:
        one_step = tf.function(one_step, jit_compile=True, autograph=False)

    # Without AutoGraph, which takes half a second to rewrite so few lines.
    @tf.function(autograph=False)
    def train(batches, count, first):
        """`count` steps; returns the first step with a non-finite number, or 0."""

        def step(i, bad):
            loss, norm = strategy.run(one_step, args=(next(batches),))
            # Running means of sums over all replicas: the same everywhere, and once
            # not finite, they stay so.
            loss = strategy.experimental_local_results(loss)[0]
            norm = strategy.experimental_local_results(norm)[0]
            finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
            return i + 1, tf.where((bad == 0) & ~finite, first + i + 1, bad)

        nothing = tf.constant(0)
        return tf.while_loop(lambda i, bad: i < count, step, (nothing, nothing))[1]

    return train
