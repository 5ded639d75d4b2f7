"""What trains: the engine of the Keras backend in use, behind one interface.

`loop.run` and the programs know no other. On TensorFlow it is `tensorflow_engine`: a
`tf.distribute` strategy and tf.data. On JAX it is `jax_engine`: one device that holds
the whole training split.
"""

import abc
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from deltavae_tf import backend

if TYPE_CHECKING:
    from deltavae_tf.training import loop, run_folder

Train = Callable[[int, int], int]


class Engine(abc.ABC):
    """The devices that train, and how they take batches.

    Attributes:
      is_chief: bool, whether this process is the one that writes.
      over_replicas: for `evaluation.likelihood.Evaluator`: a function of a batch ->
        a function of a data set that uses all replicas; None where there is only one.
    """

    is_chief: bool = True
    over_replicas: Callable[[Callable], Callable[[Any], Iterator[dict]]] | None = None

    @abc.abstractmethod
    def prepare(self) -> None:
        """Asks for the same numbers on every run; to be called before anything else."""

    @abc.abstractmethod
    def scope(self) -> AbstractContextManager:
        """Context in which variables are made."""

    @abc.abstractmethod
    def check_agreement(self, value: int, demand: str) -> None:
        """Refuses to go on where workers differ; all of them call it together.

        Args:
          value: int below 2^53, this worker's.
          demand: str, a sentence without its full stop.

        Raises:
          UserError: it starts with `demand`, and has the values of all workers.
        """

    @abc.abstractmethod
    def any_asked(self, asked: bool) -> bool:
        """Whether any worker passed True; all of them call it together."""

    @abc.abstractmethod
    def restarting(self) -> AbstractContextManager:
        """Context that starts this program anew if another worker is lost."""

    @abc.abstractmethod
    def trainer(
        self, state: "loop.State", batches: Any, settings: "loop.Settings"
    ) -> Train:
        """Makes what takes the steps.

        Args:
          state: `loop.State`, the model, its optimizer and average.
          batches: global batches without end, as this engine takes them: a
            `tf.data.Dataset`, or `data.images.resident.TrainingBatches`.
          settings: `loop.Settings`.

        Returns:
          Callable (count, first): takes `count` steps, of which the first has number
          `first` + 1, and returns the number of the first that was not finite, or 0.
        """

    @abc.abstractmethod
    def first_batch(self, batches: Any) -> Mapping[str, backend.Tensor]:
        """A batch, to start weights from; `batches` as in `trainer`."""

    @abc.abstractmethod
    def on_one_replica(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """A callable that gives `function()`, computed where the weights are."""

    @abc.abstractmethod
    def summaries(
        self, folder: "run_folder.RunFolder", unit: str
    ) -> AbstractContextManager:
        """Context in which TensorBoard's events, if any, go into the folder.

        Args:
          folder: claimed `RunFolder`.
          unit: str, of a code length in names of metrics: "bpd" or "per_token".
        """

    @abc.abstractmethod
    def scalars(self, row: Mapping[str, float]) -> None:
        """Writes a row of metrics, with its int "step", into the events."""

    @abc.abstractmethod
    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        """Writes a picture, uint8 `[H, W, 3]`, into the events."""

    @abc.abstractmethod
    def text(self, name: str, text: str, step: int) -> None:
        """Writes a text in Markdown into the events."""


def make(
    use_tpu: bool = False,
    tpu_name: str = "",
    tpu_cores: int | None = None,
    num_gpus: int = 1,
) -> Engine:
    """The engine for this machine and command line; Args as `strategy.make`.

    Raises:
      UserError: the devices asked for are not there, or the engine cannot use them.
    """
    if backend.name == "jax":
        from deltavae_tf.training import jax_engine

        return jax_engine.make(use_tpu, num_gpus)
    from deltavae_tf.training import strategy, tensorflow_engine

    return tensorflow_engine.Engine(
        strategy.make(use_tpu, tpu_name, tpu_cores, num_gpus)
    )
