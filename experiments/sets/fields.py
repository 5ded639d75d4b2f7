"""Hyper-parameters one by one: a type, a default, a meaning, and what may be set.

    latent_channels = architecture(32, "z, latents of each row", low=1)

A `Field` has no name of its own; whoever declares it gives it one: `COMMON` below, a
kind of data (`sets/images.py`, `sets/text.py`), a prior, a posterior, an objective, an
encoder, a decoder (`experiments/build/`), or the options of a data set.
"""

import dataclasses
import functools
import math
from typing import Any

from deltavae_tf import errors

# What a change of a field means for a run that is resumed.
ARCHITECTURE = "architecture"  # Other weights: no checkpoint fits. In the fingerprint.
TRAINING = "training"  # Another experiment: refused on resume, fine for a warm start.
FREE = "free"  # May change on resume.


@dataclasses.dataclass(frozen=True)
class Field:
    """One hyper-parameter.

    Attributes:
      resume: `ARCHITECTURE`, `TRAINING` or `FREE`.
      default: its value unless a set says otherwise.
      meaning: a few words for people.
      choices: the values it may have, or None for all.
      low: the least value, or None.
      below: a number that the value stays below, or None.
      needed: bool, whoever reads it must be given another value than the default.
      value_type: its type, by default that of `default`; None is then no value of it.
      optional: bool, whether None is a value.
      later: bool, whether there are runs that are older than the field. Their models
        are those of its default, and their checkpoints fit.
    """

    resume: str
    default: Any
    meaning: str
    choices: tuple | None = None
    low: float | None = None
    below: float | None = None
    needed: bool = False
    value_type: type | None = None
    optional: bool = False
    later: bool = False

    def __post_init__(self):
        if self.value_type is None:
            object.__setattr__(self, "value_type", type(self.default))

    @property
    def type_name(self) -> str:
        """The type for people, such as "int or none"."""
        name = "true or false" if self.value_type is bool else self.value_type.__name__
        return f"{name} or none" if self.optional else name

    def checked(self, name: str, value: Any) -> Any:
        """`value` in the field's type; an int will do for a float, nothing else will.

        Raises:
          UserError: another type, or a value that the field cannot have.
        """
        if self.optional and value is None:
            return None
        if self.value_type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.value_type:
            raise errors.UserError(
                f"Hyper-parameter {name!r} must be {self.type_name}. "
                f"Received: {value!r}"
            )
        if self.choices and value not in self.choices:
            raise errors.UserError(
                f"Hyper-parameter {name!r} must be one of "
                f"{', '.join(map(str, self.choices))}"
                f"{errors.near(value, self.choices)} "
                f"Received: {value!r}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise errors.UserError(
                f"Hyper-parameter {name!r} must be finite. Received: {value}"
            )
        low, below = self.low, self.below
        if low is not None and value < low or below is not None and value >= below:
            wanted = f"in [{low}, {below})" if below is not None else f">= {low}"
            raise errors.UserError(
                f"Hyper-parameter {name!r} must be {wanted}. Received: {value}"
            )
        return value

    def parsed(self, name: str, text: str) -> Any:
        """The value that `text`, from a command line, stands for."""
        if self.optional and text.lower() == "none":
            return None
        if self.value_type is bool:
            known = {"true": True, "1": True, "false": False, "0": False}
            value = known.get(text.lower())
        else:
            try:
                value = self.value_type(text)
            except ValueError:
                value = None
        if value is None:
            raise errors.UserError(
                f"Hyper-parameter {name!r} must be {self.type_name}. Received: {text!r}"
            )
        return value


# Called as architecture(default, meaning, choices=, low=, below=, ...).
architecture = functools.partial(Field, ARCHITECTURE)
training = functools.partial(Field, TRAINING)
free = functools.partial(Field, FREE)

# What every run has, whatever its data and its parts: the optimizer and how long.
COMMON = {
    "latent_channels": architecture(32, "z, latents of each row or token", low=1),
    "auxiliary_units": architecture(1024, "h_aux, LSTM of the auxiliary prior", low=1),
    "auxiliary_covariance": architecture(
        "diagonal",
        "of the auxiliary prior's Gaussians: full follows correlated channels",
        choices=("diagonal", "full"),
        later=True,
    ),
    "trained_part": training(
        "all",
        "auxiliary_prior: encoder and decoder stay as they are",
        choices=("all", "auxiliary_prior"),
    ),
    "dropout": training(0.2, "in the decoder", low=0, below=1),
    "batch_size": training(64, "training examples a step, over all replicas", low=1),
    "learning_rate_schedule": training(
        "constant",
        "see training/schedules.py",
        choices=("constant", "paper", "paper_continuous", "warmup_cosine"),
    ),
    "learning_rate": training(
        1e-4, "constant and warmup_cosine: the (highest) rate", low=0
    ),
    "learning_rate_floor": training(0.0, "warmup_cosine: the last rate", low=0),
    "learning_rate_scale": training(0.36, "paper: the factor in front", low=0),
    "warmup_steps": training(8000, "all but constant", low=0),
    "decay_steps": training(250_000, "warmup_cosine: the step of the floor", low=1),
    "adam_beta_1": training(0.9, "Adam", low=0, below=1),
    "adam_beta_2": training(0.98, "Adam", low=0, below=1),
    "adam_epsilon": training(1e-9, "Adam", low=0),
    "clip_norm": training(0.0, "of the whole gradient; 0 is off", low=0),
    "ema_decay": training(0.999, "of the average of weights; 0 is off", low=0, below=1),
    "dtype": training(
        "float32",
        "of the computation; weights are float32. auto: the quicker one where the run "
        "starts, by a trial",
        choices=("float32", "mixed_bfloat16", "auto"),
    ),
    "num_held_out": training(
        None,
        "training examples kept for evaluation without the test set; none: the data "
        "set's own number",
        low=1,
        value_type=int,
        optional=True,
    ),
    "train_steps": free(250_000, "unless --train_steps says", low=1),
    "eval_every": free(1000, "steps, unless --local_eval_frequency says", low=1),
    "eval_steps": free(
        None,
        "batches of an evaluation during training; none: all",
        low=1,
        value_type=int,
        optional=True,
    ),
    "eval_batch_size": free(64, "examples (text: rows of max_length tokens)", low=1),
}
