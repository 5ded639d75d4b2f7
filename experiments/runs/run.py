"""A run of an experiment: from hyper-parameters to a folder, and back."""

import contextlib
import dataclasses
import functools
import json
import os

import numpy as np
from absl import logging

from deltavae_tf import units
from deltavae_tf.evaluation import likelihood
from deltavae_tf.sampling import images
from deltavae_tf.training import checkpoints, engines, loop, run_folder
from experiments import build
from experiments import hparams as registry
from experiments.inputs import batches

_NUM_SAMPLES = 16
_EVALUATION = "evaluation.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What a run needs to know beside its hyper-parameters."""

    output_dir: str
    seed: int = 0
    data_dir: str | None = None
    tmp_dir: str | None = None
    download: bool = False
    use_test_set: bool = False
    engine: object = None  # See `engines`; None for the backend's, on one device.
    iterations_per_loop: int = 100
    log_every: int = 100
    save_seconds: int = 0
    keep_max: int = 20
    jit_compile: bool = False
    progress: bool = True
    write_samples: bool = True  # With each evaluation; compiling takes seconds.
    flags_text: str = ""
    warm_start_from: str | None = None


class Run:
    """An experiment in its run folder; a context manager that holds the folder.

    `ImageRun` and `text_runs.TextRun` say what depends on the kind of data.

    Args:
      experiment: str, the experiment's name.
      hparams: `TrainingHparams` of the kind.
      options: `Options`.

    Attributes:
      examples: str, what an example is called.
    """

    examples = "examples"

    def __init__(self, experiment, hparams, options):
        self.experiment = experiment
        self.hparams = hparams
        self.options = options
        self.problem = self._problem()
        self.engine = options.engine or engines.make()
        self.folder = run_folder.RunFolder(
            options.output_dir, writes=self.engine.is_chief
        )

    def __enter__(self):
        self.engine.prepare()
        self.training, self.held_out = self._load()
        identity = {
            **self.hparams.to_dict(),
            "random_seed": self.options.seed,
            "eval_use_test_set": self.options.use_test_set,
            **self._data_identity(),
        }
        self.folder.claim(
            self.experiment,
            identity,
            self.options.flags_text,
            self.hparams.may_change_on_resume(),
        )
        try:
            self.engine.check_agreement(
                int(checkpoints.fingerprint(identity)[:12], 16),
                "Every worker must be started with the same flags",
            )
            with self.engine.scope():
                self.model = model_of(self.hparams, self.options.seed)
                self.state = loop.State(
                    self.model,
                    self.folder,
                    checkpoints.fingerprint(self.hparams.architecture()),
                    self.hparams.ema_decay,
                    self.options.keep_max,
                )
            self._get_ready()
        except BaseException:
            self.folder.close()
            raise
        return self

    def __exit__(self, *_):
        self.folder.close()

    # What a kind of data has to say.

    def _problem(self):
        """The description of the data set; a ValueError if there is none."""
        raise NotImplementedError

    def _load(self):
        """(training split, held-out split)."""
        raise NotImplementedError

    def _data_identity(self):
        """What of the data makes this run another than one on other data: a dict."""
        raise NotImplementedError

    def _get_ready(self):
        """Called with the model built and the folder held."""
        raise NotImplementedError

    def _training_batches(self, step):
        """Infinite global batches from that step on, as the engine takes them."""
        raise NotImplementedError

    def _measure(self, num_batches):
        """() -> dict of floats, an evaluation of so many batches; of all if None."""
        raise NotImplementedError

    def _draw_samples(self, step):
        """Draws samples and writes them."""
        raise NotImplementedError

    def remarks(self, found):
        """Lines that a reader of an evaluation needs beside the table."""
        del found
        return []

    def _split(self, load):
        """Training and held-out split of a `load` such as `data.cifar10.load`."""
        training = load("train")
        if self.options.use_test_set:
            return training, load("test")
        return training.hold_out(self.problem.num_held_out)

    # What is the same for all.

    def train(self):
        """Trains, resuming if it can; returns the step reached."""
        if self.options.warm_start_from and not self.state.manager.steps():
            _warm_start(self.state, self.options.warm_start_from)
        weight_norm = getattr(self.hparams, "normalization", "") == "weight"
        if weight_norm and not self.state.manager.steps():
            batch = self.engine.first_batch(self._training_batches(0))
            self.model.initialize_from(batch)
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
            self._training_batches,
            self.folder,
            settings,
            evaluate=lambda step: self._evaluate(self.hparams.eval_steps),
            sample=self._write_samples if self.options.write_samples else None,
            engine=self.engine,
        )

    def evaluate(self):
        """Evaluates the newest checkpoint on the whole split, raw and averaged.

        Writes `evaluation.json` into the folder and returns what it holds.
        """
        step = self.state.restore()
        if not step:
            raise ValueError(f"{self.folder.path} has no checkpoint to evaluate")
        found = {
            "step": step,
            "data": self.held_out.name,
            "note": self.held_out.note,
            **self._evaluate(None),
        }
        path = os.path.join(self.folder.path, _EVALUATION)
        if self.folder.writes:
            with checkpoints.atomic_file(path) as file:
                file.write(json.dumps(found, indent=1).encode() + b"\n")
        return found

    def _evaluate(self, num_batches):
        measure = self._measure(num_batches)
        found = measure()
        with averaged(self.state) as applied:
            if applied:
                found.update({f"ema_{k}": v for k, v in measure().items()})
        return found

    def _write_samples(self, step):
        if not self.folder.writes:
            return
        with averaged(self.state):
            self._draw_samples(step)


class ImageRun(Run):
    """A `Run` of images."""

    examples = "images"

    def _problem(self):
        return build.problem(self.hparams.problem)

    def _load(self):
        return self._split(
            functools.partial(
                self.problem.load,
                data_dir=self.options.data_dir,
                tmp_dir=self.options.tmp_dir,
                download=self.options.download,
            )
        )

    def _data_identity(self):
        return {"training_images": len(self.training)}

    def _get_ready(self):
        self.evaluator = likelihood.Evaluator(self.model, self.engine.over_replicas)
        self._draw = self.engine.on_one_replica(lambda: self.model.sample(_NUM_SAMPLES))

    def _training_batches(self, step):
        return batches.training_batches(
            self.training, self.hparams.batch_size, self.options.seed, step
        )

    def _measure(self, num_batches):
        size = self.hparams.eval_batch_size
        data = batches.evaluation_batches(
            self.held_out, size, num_batches and num_batches * size
        )
        return lambda: self.evaluator(data, self.problem.num_dims)

    def _draw_samples(self, step):
        drawn = self._draw()
        levels = self.problem.num_levels
        path = os.path.join(self.folder.samples, f"step-{step:08d}.png")
        picture = images.grid(drawn, 8, levels, zoom=3)
        images.write_png(path, picture)
        self.engine.image("samples", picture, step)


@contextlib.contextmanager
def averaged(state):
    """Averaged weights within the context; yields whether there is an average."""
    if state.average is None:
        yield False
        return
    with state.average.applied():
        yield True


def model_of(hparams, seed):
    """The built, compiled model of a set of hyper-parameters."""
    if isinstance(hparams, registry.TextHparams):
        from experiments import text_build  # Vocabularies need TensorFlow.

        return text_build.text_model(hparams, seed)
    problem = build.problem(hparams.problem)
    return build.image_model(hparams, problem.image_shape, problem.num_levels, seed)


def _warm_start(state, path):
    """Takes the weights, and nothing else, of a checkpoint or of a run's newest."""
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        inside = os.path.join(path, "checkpoints")
        names = sorted(os.listdir(inside)) if os.path.isdir(inside) else []
        names = [name for name in names if name.endswith(".npz")]
        if not names:
            raise ValueError(f"--warm_start_from: no checkpoint in {path}")
        path = os.path.join(inside, names[-1])
    weights = {"model": state.model.weights}
    found = checkpoints.read(path, like=checkpoints.keyed(weights))
    checkpoints.assign_arrays(weights, found.arrays)
    state.model.steps.assign(0)
    if state.average is not None:
        state.average.reset()
    logging.info("Started from the weights of %s.", path)


def load(path, use_average=True):
    """The trained model in a run folder, with its hyper-parameters.

    Args:
      path: str, a run folder.
      use_average: bool, the average of weights if there is one, else the raw ones.

    Returns:
      `DeltaVAE` (a `TextVAE` for text), its hyper-parameters, the step of its
      checkpoint.
    """
    _, held = run_folder.read_identity(path)
    kind = registry.ImageHparams
    if held.get("problem") in registry.TextHparams.problems():
        kind = registry.TextHparams
    fields = {f.name for f in dataclasses.fields(kind)}
    hparams = kind.from_dict({k: v for k, v in held.items() if k in fields})
    seed = held.get("random_seed")
    if type(seed) is not int:
        raise ValueError(
            f"The hparams.json of {path} has no integer 'random_seed'. "
            f"Received: {seed!r}"
        )
    manager = checkpoints.CheckpointManager(
        os.path.join(path, "checkpoints"),
        checkpoints.fingerprint(hparams.architecture()),
    )
    # Before the model is built: numbers that no checkpoint has may be of any size.
    found = manager.restore_latest()
    if found is None:
        raise ValueError(f"{path} has no checkpoint")
    model = model_of(hparams, seed)
    checkpoints.assign_arrays({"model": model.weights}, found.arrays)
    if use_average and hparams.ema_decay:
        for i, variable in enumerate(model.trainable_variables):
            if f"average/{i:05d}" not in found.arrays:
                raise ValueError(f"{found.path} has no average of all weights")
            variable.assign(found.arrays[f"average/{i:05d}"])
    return model, hparams, found.step


def data_dir(path):
    """The --data_dir that a run was started with, or None."""
    with contextlib.suppress(FileNotFoundError):
        name = os.path.join(os.path.expanduser(path), "flags.txt")
        with open(name, encoding="utf-8") as file:
            for line in file:
                if line.startswith("--data_dir="):
                    return line.strip().partition("=")[2]
    return None


def table(rows):
    """A table for the terminal: list of dicts with the same keys -> str."""
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    lines = [
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                  for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]  # fmt: skip
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _cell(value):
    if isinstance(value, float):
        return "-" if np.isnan(value) else f"{value:.3f}"
    return str(value)


def summary(found):
    """The rows of an evaluation for `table`, raw and averaged."""
    return [
        {"weights": name, **_columns(found, prefix)}
        for prefix, name in (("", "raw weights"), ("ema_", "averaged weights"))
        if f"{prefix}rate_nats" in found
    ]


def _columns(found, prefix):
    value = {
        k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)
    }
    if "nelbo_per_token" in value:
        return {
            "AR(1): nats/token": value["nelbo_per_token"],
            "aux: nats/token": value["nelbo_aux_per_token"],
            "+-": value["nelbo_per_token_stderr"],
            "committed": value["committed_rate_per_token"],
            "AR(1) rate": value["rate_per_token"],
            "aux rate": value["rate_aux_per_token"],
            "aux: nats/word": value["nelbo_aux_per_word"],
            "aux: bits/char": value["nelbo_aux_bits_per_character"],
        }
    return {
        "AR(1): bits/dim": value["nelbo_bpd"],
        "aux: bits/dim": value["nelbo_aux_bpd"],
        "+-": value["nelbo_bpd_stderr"],
        "committed bits": float(units.bits(value["committed_rate_nats"])),
        "AR(1) rate bits": float(units.bits(value["rate_nats"])),
        "aux rate bits": float(units.bits(value["rate_aux_nats"])),
    }
