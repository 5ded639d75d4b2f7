"""The training loop: steps, evaluations, checkpoints, logs; resumes exactly."""

import dataclasses
import math
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Self

import keras
import tqdm
from absl import logging

from deltavae_tf import errors, units
from deltavae_tf.training import averaging, checkpoints, engines, run_folder


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long and how often; nothing here changes what a step computes.

    Attributes:
      train_steps: int, updates in total, those of a resumed run included.
      eval_every: int, steps from one evaluation and checkpoint to the next.
      log_every: int, steps from one row of metrics to the next.
      steps_per_call: int, steps in one call of the device.
      save_seconds: int, also save a checkpoint when so many seconds have passed; 0:
        with evaluations only.
      jit_compile: bool, compile the step as a whole by XLA; on JAX it always is.
      progress: bool, show a progress bar.
    """

    train_steps: int
    eval_every: int = 1000
    log_every: int = 100
    steps_per_call: int = 100
    save_seconds: int = 0
    jit_compile: bool = False
    progress: bool = True


class State:
    """A built model with its optimizer and average, and their checkpoints.

    Args:
      model: compiled `DeltaVAE`, built.
      folder: claimed `RunFolder`.
      fingerprint: str, see `checkpoints.fingerprint`.
      ema_decay: float; 0 keeps no average.
      keep_max: int.
    """

    def __init__(
        self,
        model: Any,
        folder: run_folder.RunFolder,
        fingerprint: str,
        ema_decay: float = 0.0,
        keep_max: int = 20,
    ) -> None:
        model.optimizer.build(model.trainable_variables)
        self.model = model
        self.average = None
        self._writes = folder.writes
        self.sections = {"model": model.weights, "optimizer": model.optimizer.variables}
        if ema_decay:
            self.average = averaging.WeightAverage(model.trainable_variables, ema_decay)
            self.sections["average"] = self.average.variables
        self.manager = checkpoints.CheckpointManager(
            folder.checkpoints, fingerprint, keep_max
        )

    def restore(self) -> int:
        """Assigns the newest usable checkpoint; returns its step, 0 without one."""
        found = self.manager.restore_latest(like=checkpoints.keyed(self.sections))
        if found is None:
            return 0
        checkpoints.assign_arrays(self.sections, found.arrays)
        return found.step

    def save(self, step: int) -> None:
        """Writes the checkpoint of `step`, unless another worker does."""
        if not self._writes:
            return
        arrays = checkpoints.variables_to_arrays(self.sections)
        self.manager.save(step, arrays, {"paths": checkpoints.paths(self.sections)})


def run(
    state: State,
    batches_from: Callable,
    folder: run_folder.RunFolder,
    settings: Settings,
    evaluate: Callable[[int], dict] | None = None,
    sample: Callable[[int], None] | None = None,
    engine: engines.Engine | None = None,
) -> int:
    """Trains up to `settings.train_steps`, from the newest checkpoint if there is one.

    A run that is killed at any moment and started again ends with the same weights as
    one that was not, and `metrics.jsonl` holds each step once. Many workers call it
    together; they start from the same checkpoint, and the chief alone writes.

    Args:
      state: `State`.
      batches_from: step -> infinite global batches from that step on, as the engine
        takes them: a `tf.data.Dataset`, or `data.images.resident.TrainingBatches`.
      folder: claimed `RunFolder`.
      settings: `Settings`.
      evaluate: step -> dict of floats, logged with the prefix `eval_`.
      sample: step -> None, draws samples; called with each evaluation.
      engine: see `engines`; None for the one of the backend, on one device.

    Returns:
      int, the step reached: `train_steps`, or less after SIGTERM or Ctrl-C.

    Raises:
      NotFiniteError: a loss or gradient was not finite; names the step.
      UserError: workers do not see the same checkpoints.
    """
    engine = engine or engines.make()
    model = state.model
    step = state.restore()
    engine.check_agreement(
        step,
        "Every worker must see the same newest checkpoint: --output_dir must be one "
        "folder on a file system that they share",
    )
    folder.truncate_metrics(step)
    if step >= settings.train_steps:
        logging.info("Step %d of %d: nothing to do.", step, settings.train_steps)
        return step
    if step:
        logging.info("Going on from the checkpoint of step %d.", step)
    train = engine.trainer(state, batches_from(step), settings)
    bar = tqdm.tqdm(
        total=settings.train_steps,
        initial=step,
        unit="step",
        disable=None if settings.progress and folder.writes else True,
        dynamic_ncols=True,
    )
    saved_at = time.monotonic()
    if folder.writes and bar.disable:
        _say(
            f"step {step}/{settings.train_steps}: the program is compiled, then "
            f"trained; next line at step {step + _steps_to_line(step, settings)}"
        )
    with (
        engine.summaries(folder, model.unit),
        bar,
        _Interrupts() as interrupts,
    ):
        window_start, window_step = time.monotonic(), step
        while step < settings.train_steps and not _stopped(interrupts, engine):
            count = _steps_to_event(step, settings)
            bad = train(count, step)
            if bad:
                _report_non_finite(state, folder, bad)
            step += count
            bar.update(count)
            at_eval = step % settings.eval_every == 0 or step == settings.train_steps
            if step % settings.log_every == 0 or at_eval:
                seconds = time.monotonic() - window_start
                row = _training_row(model, step, (step - window_step) / seconds)
                bar.set_postfix_str(_numbers(row, "", model), refresh=False)
                if at_eval and evaluate is not None:
                    bar.set_description("evaluating")
                    found = evaluate(step)
                    row.update({f"eval_{name}": v for name, v in found.items()})
                    bar.set_description("")
                if folder.writes and (at_eval or bar.disable):
                    _say(_sentence(row, settings.train_steps, model))
                if at_eval and sample is not None:
                    sample(step)
                folder.append_metrics(row)
                engine.scalars(row)
                model.reset_metrics()
                window_start, window_step = time.monotonic(), step
            # Between rows a resumed window of metrics would be a partial one.
            overdue = settings.save_seconds and step % settings.log_every == 0
            overdue = overdue and time.monotonic() - saved_at > settings.save_seconds
            if at_eval or overdue:
                state.save(step)
                saved_at = time.monotonic()
        if interrupts.received and step not in state.manager.steps():
            state.save(step)
    if interrupts.received:
        logging.warning(
            "Stopped by %s after step %d; saved.", interrupts.received, step
        )
    return step


def _stopped(interrupts, engine):
    """Whether any worker was asked to stop: then all do, after the same step."""
    # A signal that comes while the workers meet is for their next meeting.
    asked = engine.any_asked(bool(interrupts.received))
    if asked and not interrupts.received:
        interrupts.received = "another worker's signal"
    return asked


def _steps_to_event(step, settings):
    """How many steps one call may take: not beyond a row, an evaluation or the end."""
    return min(settings.steps_per_call, _steps_to_line(step, settings))


def _steps_to_line(step, settings):
    """How many steps there are to the next row of metrics."""
    ends = [e * (step // e + 1) for e in (settings.log_every, settings.eval_every)]
    return min(*ends, settings.train_steps) - step


def _training_row(model, step, steps_per_second):
    logs = model.get_metrics_result()
    row = {"step": step, **{name: float(value) for name, value in logs.items()}}
    if "committed_rate_nats" not in row:  # The same for all examples.
        row["committed_rate_nats"] = model.committed_rate()
    row["lr"] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    row["steps_per_second"] = steps_per_second
    return row


def _report_non_finite(state, folder, step):
    steps = state.manager.steps()
    kept = f"The checkpoint of step {steps[-1]} is kept" if steps else "None was saved"
    row = {"step": step, "loss": math.nan}
    try:
        folder.append_metrics(row)
    except FloatingPointError:
        pass
    raise errors.NotFiniteError(
        f"The loss or the gradient of step {step} is not finite. {kept}; try a lower "
        "learning rate or clip_norm"
    )


def _sentence(row, train_steps, model):
    """One line about a row: its evaluation if it has one, else its training."""
    prefix, what = "", "training"
    if f"eval_nelbo_{model.unit}" in row:
        prefix, what = "eval_", "held-out"
        if f"eval_ema_nelbo_{model.unit}" in row:
            what = "held-out, raw weights,"
    speed = row["steps_per_second"]
    left = (train_steps - row["step"]) / speed / 60
    return (
        f"step {row['step']}/{train_steps}: {what} {_numbers(row, prefix, model)}; "
        f"{speed:.2f} steps/s, {left:.1f} min left"
    )


def _numbers(row, prefix, model):
    """The bound and the rates of a row, in the tables' units and with their digits."""
    unit = model.unit
    bound, aux = (row[f"{prefix}{name}_{unit}"] for name in ("nelbo", "nelbo_aux"))
    names = ("rate", "rate_aux", "committed_rate")
    if f"{prefix}committed_rate_{unit}" in row:  # Of text all is by token.
        rates = [f"{row[f'{prefix}{name}_{unit}']:.4f}" for name in names]
        rates[0] += f" {model.unit_name}"
    else:
        bits = [units.bits(row[f"{prefix}{name}_nats"]) for name in names]
        rates = [f"{bits[0]:.2f} bits", f"{bits[1]:.2f}", f"{bits[2]:.1f}"]
    return (
        f"{bound:.3f} {model.unit_name} (aux {aux:.3f}), "
        f"rate {rates[0]} (aux {rates[1]}, committed {rates[2]})"
    )


def _say(line):
    """A line on standard error, above the bar if there is one."""
    tqdm.tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()


class _Interrupts:
    """Turns the first SIGTERM or Ctrl-C into a request to stop after this call."""

    received = ""

    def __enter__(self) -> Self:
        self._before = {}
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._receive)
        except ValueError:  # Not the main thread: somebody else's business.
            pass
        return self

    def _receive(self, number, frame):
        del frame
        self.received = signal.Signals(number).name
        signal.signal(number, self._before[number])  # The second one means it.

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
