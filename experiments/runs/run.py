"""A run of an experiment: from hyper-parameters to a folder."""

import contextlib
import os

from absl import logging

from deltavae_tf import errors
from deltavae_tf.evaluation import context as evaluation
from deltavae_tf.evaluation import likelihood, metric
from deltavae_tf.evaluation import record as records
from deltavae_tf.models import config_file
from deltavae_tf.training import checkpoints, engines, loop, run_folder
from experiments import build
from experiments.runs import data as run_data
from experiments.runs import finish, precision

# Beside the hyper-parameters, what makes a run this one and no other.
IDENTITY = ("random_seed", "eval_use_test_set", "training_examples", "vocabulary")


class Run:
    """An experiment in its run folder; a context manager that holds the folder.

    Args:
      hparams: `sets.Hparams`.
      options: `options.Options`.

    Attributes:
      data: `data.Data`.
      model: the built, compiled model.
      state: `loop.State`.
      folder: `run_folder.RunFolder`.
    """

    def __init__(self, hparams, options):
        self.hparams = precision.recorded(hparams, options.output_dir)
        self.options = options
        self.data = run_data.of(hparams, options)
        self.engine = options.engine or engines.make()
        self.folder = run_folder.RunFolder(
            options.output_dir, writes=self.engine.is_chief
        )

    def __enter__(self):
        self.engine.prepare()
        self.data.load()
        if self.hparams.dtype == precision.AUTO:
            spec = self.data.batch_spec(self.hparams.batch_size)
            self.hparams = precision.chosen(self.hparams, spec)
        identity = {
            **self.hparams.to_dict(),
            "random_seed": self.options.seed,
            "eval_use_test_set": self.options.use_test_set,
            **self.data.identity(),
        }
        self.folder.claim(
            self.hparams.problem,
            identity,
            self.options.flags_text,
            self.hparams.may_change_on_resume(),
            self.hparams.defaults(),
        )
        try:
            self.engine.check_agreement(
                int(checkpoints.fingerprint(identity)[:12], 16),
                "Every worker must be started with the same flags",
            )
            with self.engine.scope():
                self.model = build.model(self.hparams, self.options.seed)
                self.state = loop.State(
                    self.model,
                    self.folder,
                    checkpoints.fingerprint(self.hparams.architecture()),
                    self.hparams.ema_decay,
                    self.options.keep_max,
                )
            self._write_model()
            self.data.get_ready(self.folder)
            self._evaluator = likelihood.Evaluator(
                self.model, self.engine.over_replicas
            )
        except BaseException:
            self.folder.close()
            raise
        return self

    def __exit__(self, *_):
        self.folder.close()

    def _write_model(self):
        """Puts what `deltavae_tf.from_preset` needs beside the weights."""
        if not self.folder.writes:
            return
        try:
            content = config_file.of(self.model, self.state.manager.fingerprint)
        except errors.UserError as error:  # A part of the user's; the run goes on.
            logging.warning("No %s is written. %s", config_file.NAME, error)
            return
        checkpoints.write_json(self.folder.model, content)

    def train(self) -> int:
        """Trains, resuming if it can; returns the step reached."""
        if not self.state.manager.steps():
            self._start()
        settings = loop.Settings(
            train_steps=self.hparams.train_steps,
            eval_every=self.hparams.eval_every,
            log_every=min(self.options.log_every, self.hparams.eval_every),
            steps_per_call=self.options.iterations_per_loop,
            save_seconds=self.options.save_seconds,
            jit_compile=self.options.jit_compile,
            progress=self.options.progress,
        )
        return loop.run(
            self.state,
            self.data.training_batches,
            self.folder,
            settings,
            evaluate=self._evaluate_quickly,
            sample=self._write_samples if self.options.write_samples else None,
            engine=self.engine,
        )

    def _start(self):
        """What comes before step 1."""
        if self.options.warm_start_from:
            warm_start(self.state, self.options.warm_start_from)
        if "normalization" in self.hparams and self.hparams.normalization == "weight":
            batch = self.engine.first_batch(self.data.training_batches(0))
            self.model.initialize_from(batch)

    def evaluate(
        self,
        cheap: bool = True,
        limits: evaluation.Limits | None = None,
        twin_distortion: float | None = None,
        best_only: bool = False,
    ) -> dict:
        """Evaluates the newest checkpoint on the whole split, raw and averaged.

        Args:
          cheap: bool, only what is measured during training too; else everything.
          limits: `evaluation.Limits`, how many examples are looked at.
          twin_distortion: float, nats, of a decoder alone; for the gain.
          best_only: bool, the averaged weights alone, if there is an average.

        Returns:
          The record, see `deltavae_tf.evaluation.record`; it is in the run folder's
          evaluation.json too.
        """
        step = self.state.restore()
        if not step:
            raise errors.UserError(
                f"{self.folder.path} has no checkpoint to evaluate: train first. "
                "Received: an empty run folder"
            )
        context = self.context(limits, twin_distortion)
        weights = self._measured(context, cheap, best_only)
        record = record_of(self, step, context, weights)
        if not self.folder.writes:
            return record
        return records.update(os.path.join(self.folder.path, records.FILE), record)

    def context(self, limits=None, twin_distortion=None) -> evaluation.Context:
        """What metrics look at: the model as it is now, and the run's examples."""
        return evaluation.Context(
            self.model,
            self.data.evaluated(self.data.held_out),
            self.data.evaluated(self.data.training),
            limits,
            self._evaluator,
            twin_distortion,
        )

    def _evaluate_quickly(self, step):
        """What the training loop logs: a dict of floats."""
        del step
        limit = self.data.num_evaluated(self.hparams.eval_steps)
        context = evaluation.Context(
            self.model,
            self.data.evaluated(self.data.held_out, limit),
            evaluator=self._evaluator,
        )
        prefixes = {"raw": "", "average": "ema_"}
        return {
            f"{prefixes[weights]}{name}": value
            for weights, found in self._measured(context, cheap=True).items()
            for name, value in found["held_out"].items()
        }

    def _measured(self, context, cheap, best_only=False):
        """{"raw" or "average": what `metric.measure` gives with these weights}."""
        weights = {}
        if not best_only or self.state.average is None:
            weights["raw"] = metric.measure(context, cheap)
        with averaged(self.state) as applied:
            if applied:
                weights["average"] = metric.measure(context, cheap)
        return weights

    def report(self, step: int) -> None:
        """Writes latents.json and report.html of the weights at hand, of `step`."""
        if self.folder.writes:
            with averaged(self.state) as applied:
                weights = "average" if applied else "raw"
                finish.measure(self.folder, self.model, self.data, step, weights)

    def _write_samples(self, step):
        if self.folder.writes:
            with averaged(self.state):
                self.data.write_samples(self.model, self.folder, step, self.engine)


def record_of(run, step, context, weights) -> dict:
    """The record of an evaluation of a `Run` or of a `load.Trained`."""
    return records.build(
        experiment=run.hparams.problem,
        step=step,
        hparams=run.hparams.to_dict(),
        random_seed=run.options.seed,
        problem=run.hparams.problem,
        held_out=context.held_out,
        training=context.training,
        parameters=run.model.count_params(),
        weights=weights,
    )


@contextlib.contextmanager
def averaged(state):
    """Averaged weights within the context; yields whether there is an average."""
    if state.average is None:
        yield False
        return
    with state.average.applied():
        yield True


def warm_start(state, path: str) -> None:
    """Takes the weights, and nothing else, of a checkpoint or of a run's newest."""
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        inside = os.path.join(path, "checkpoints")
        names = sorted(os.listdir(inside)) if os.path.isdir(inside) else []
        names = [name for name in names if name.endswith(".npz")]
        if not names:
            raise errors.UserError(
                "--warm_start_from must name a checkpoint or a run folder that has "
                f"one. Received: {path}"
            )
        path = os.path.join(inside, names[-1])
    weights = {"model": state.model.weights}
    found = checkpoints.read(path, like=checkpoints.keyed(weights))
    checkpoints.assign_arrays(weights, found.arrays)
    state.model.steps.assign(0)
    if state.average is not None:
        state.average.reset()
    logging.info("Started from the weights of %s.", path)
