"""Hyper-parameters of a run.

    run_hparams.make("cifar10", latent_channels=64, alpha_max=0.99)

Which fields a run has follows from what it chose: its data set and that one's kind, its
prior, posterior, objective, encoder and decoder. A number that nothing would read is an
error, and so is one that is needed and missing.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from data import dataset as datasets
from deltavae_tf import errors
from experiments.build import components
from experiments.sets import fields, methods
from experiments.sets.fields import Field

_KINDS: dict[str, "Kind"] = {}
_CHOICES = ("problem", *components.ROLES)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What all runs on one kind of data have.

    Attributes:
      name: "images" or "text".
      fields: {name: `Field`} beside `fields.COMMON` and those of the parts.
      defaults: {name: value}, the parts, and other defaults than the fields' own.
    """

    name: str
    fields: Mapping[str, Field]
    defaults: Mapping[str, Any]


def add_kind(kind: Kind) -> None:
    """Makes a kind of data known."""
    _KINDS[kind.name] = kind


class Hparams:
    """The numbers of one run: `hparams.batch_size`, ...; immutable.

    Made by `make` and `from_dict`, changed by `replace` and `changed`. It keeps what
    was once chosen for parts that are not in use now, so that a set may be based on
    another one with another prior.

    Raises:
      UserError: a value or a combination that makes no sense.
    """

    def __init__(self, values: Mapping[str, Any]):
        self._chosen = dict(values)
        self._fields = fields_of(self._chosen)
        defaults = self.defaults()
        self._values = {
            name: field.checked(name, self._chosen.get(name, defaults[name]))
            for name, field in self._fields.items()
        }
        _check(self)

    def __getattr__(self, name):
        if name.startswith("_") or name not in self._values:
            raise AttributeError(f"This run has no hyper-parameter {name!r}")
        return self._values[name]

    def __setattr__(self, name, value):
        if not name.startswith("_"):
            raise AttributeError(f"Hyper-parameters do not change: replace({name}=...)")
        object.__setattr__(self, name, value)

    def __eq__(self, other):
        return isinstance(other, Hparams) and self._values == other._values

    def __hash__(self):
        return hash(tuple(sorted(self._values.items(), key=str)))

    def __repr__(self):
        return f"Hparams({', '.join(f'{k}={v!r}' for k, v in self._values.items())})"

    def __contains__(self, name):
        return name in self._values

    def _dataset(self):
        return _find_dataset(self._chosen.get("problem"))

    @property
    def kind(self) -> str:
        """The kind of data, "images" or "text"."""
        return self._dataset().kind

    @property
    def method(self) -> str:
        """The paper's name for prior, posterior and objective, or the three joined."""
        return methods.name(self._values)

    @property
    def use_latents(self) -> bool:
        """False for the decoder alone."""
        return self._values["prior"] != "none"

    def component(self, role: str) -> components.Component:
        """The part that plays a role."""
        return components.find(role, self._values[role], self.kind)

    def dataset(self):
        """The `data.dataset.Dataset` with the run's options."""
        found = self._dataset()
        options = {o.name: self._values[o.name] for o in found.options}
        return found.configure(**options) if options else found

    def replace(self, **changes) -> "Hparams":
        """The same with other values; `method=` stands for three fields.

        Raises:
          UserError: a name that no part in use reads, or a value that it cannot have.
        """
        changes = _expanded(changes)
        if "problem" in changes:
            self._check_kind(changes["problem"])
        changed = Hparams({**self._chosen, **changes})
        for name, value in changes.items():
            if name not in changed:
                _refuse(name, value, changed)
        return changed

    def changed(self, text: str) -> "Hparams":
        """The same with the changes in a text such as "a=1,b=2"."""
        pairs = _expanded(_pairs(text))
        if "problem" in pairs:
            self._check_kind(pairs["problem"])
        chosen = {**self._chosen, **{k: v for k, v in pairs.items() if k in _CHOICES}}
        known = fields_of(chosen)
        typed = {
            name: known[name].parsed(name, value) if name in known else value
            for name, value in pairs.items()
        }
        return self.replace(**typed)

    def defaults(self) -> dict[str, Any]:
        """What the fields in use are where nothing is chosen; JSON-able."""
        known = _KINDS[self._dataset().kind].defaults
        return {n: known.get(n, field.default) for n, field in self._fields.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: the fields in use; `from_dict` is its inverse."""
        return dict(self._values)

    def architecture(self) -> dict[str, Any]:
        """The fields that decide whether a checkpoint fits: for its fingerprint."""
        found = self._with_resume(fields.ARCHITECTURE)
        for name, field in self._fields.items():
            if field.later and found.get(name) == field.default:
                del found[name]
        return found

    def may_change_on_resume(self) -> tuple[str, ...]:
        """The names that a resumed run may have changed."""
        return tuple(self._with_resume(fields.FREE))

    def _check_kind(self, problem):
        kind = _find_dataset(problem).kind
        if kind != self.kind:
            raise errors.UserError(
                f"These hyper-parameters are for {self.kind}, and {problem!r} is "
                f"{kind}: choose a set for it. Received: problem={problem}"
            )

    def _with_resume(self, resume):
        return {
            name: self._values[name]
            for name, field in self._fields.items()
            if field.resume == resume
        }


def make(problem: str, **values) -> Hparams:
    """The hyper-parameters of a run on a data set; the rest has its defaults."""
    return from_dict({"problem": problem, **values})


def from_dict(values: Mapping[str, Any]) -> Hparams:
    """What `to_dict` gave. A field that is younger than the values has its default.

    Raises:
      UserError: unknown names, wrong types.
    """
    values = _expanded(values)
    found = Hparams(values)
    for name, value in values.items():
        if name not in found:
            _refuse(name, value, found)
    return found


def kind_fields(kind: str) -> Mapping[str, Field]:
    """The fields that a kind of data adds."""
    return _KINDS[kind].fields


def _find_dataset(problem):
    if not isinstance(problem, str):
        raise errors.UserError(
            f"A run needs a 'problem', the name of a data set. Received: {problem!r}"
        )
    return datasets.find(problem)


def fields_of(chosen) -> dict[str, Field]:
    """The fields of a run that chose so, with `problem` and the parts first."""
    dataset = _find_dataset(chosen.get("problem"))
    kind = _KINDS[dataset.kind]
    found = {"problem": fields.architecture("", "the data set")}
    parts = []
    for role in components.ROLES:
        name = chosen.get(role, kind.defaults[role])
        parts.append(components.find(role, name, kind.name))
        found[role] = fields.architecture("", f"see --registry_help: the {role}")
    found.update(fields.COMMON)
    found.update(kind.fields)
    for part in parts:
        found.update(part.fields)
    for option in dataset.options:
        found[option.name] = option_field(option)
    return found


def option_field(option) -> Field:
    """The hyper-parameter that an option of a data set becomes."""
    declare = fields.architecture if option.shapes else fields.training
    return declare(
        option.default,
        option.meaning,
        choices=option.choices or None,
        value_type=option.type,
    )


def _check(hparams: Hparams) -> None:
    """The parts must go together, and have what they need."""
    values = hparams.to_dict()
    parts = {role: hparams.component(role) for role in components.ROLES}
    for part in parts.values():
        for role, (wanted, reason) in part.needs.items():
            if values[role] not in wanted:
                raise errors.UserError(
                    f"{part.role}={part.name} needs {role}={' or '.join(wanted)}: "
                    f"{reason}. Received: {role}={values[role]}"
                )
        for name, field in part.fields.items():
            if field.needed and values[name] == field.default:
                raise errors.UserError(
                    f"{part.role}={part.name} needs {name!r}: {field.meaning}. "
                    f"Received: {values[name]}"
                )
        if part.check is not None:
            part.check(hparams)
    if values["learning_rate_schedule"] == "warmup_cosine":
        if values["decay_steps"] <= values["warmup_steps"]:
            raise errors.UserError(
                "'decay_steps' must exceed 'warmup_steps'. "
                f"Received: {values['decay_steps']} and {values['warmup_steps']}"
            )


def _expanded(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes with `method` spelled out."""
    changes = dict(changes)
    if "method" in changes:
        parts = methods.expand(changes.pop("method"))
        for role, name in parts.items():
            if changes.setdefault(role, name) != name:
                raise errors.UserError(
                    f"'method' says {role}={name}: give the method, or prior, "
                    f"posterior and objective. Received: {role}={changes[role]} too"
                )
    return changes


def _refuse(name, value, hparams):
    """Raises for a name that the run does not read."""
    readers = [f"{part.role}={part.name}" for part in components.readers(name)]
    if readers:
        parts = ", ".join(f"{r}={getattr(hparams, r)}" for r in components.ROLES)
        raise errors.UserError(
            f"{name!r} is read by {' and '.join(readers)} only; this run has {parts}. "
            f"Received: {name}={value}"
        )
    known = [*hparams.to_dict(), "method"]
    raise errors.UserError(
        f"Unknown hyper-parameter {name!r}{errors.near(name, known)} "
        f"--registry_help lists them. Received: {name}={value}"
    )


def _pairs(text: str) -> dict[str, str]:
    """{"a": "1", "b": "2"} of "a=1,b=2"."""
    found = {}
    for part in text.split(",") if text.strip() else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise errors.UserError(
                f"--hparams must look like 'a=1,b=2'. Received: {part.strip()!r} "
                f"in {text!r}"
            )
        if name in found:
            raise errors.UserError(
                f"Hyper-parameter {name!r} is given twice. Received: {text!r}"
            )
        found[name] = value
    return found
