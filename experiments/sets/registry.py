"""Hyper-parameters as typed data: fields with checks, and sets under names.

`experiments.hparams` is what programs import; it knows every set.
"""

import dataclasses
import difflib
import functools
import math
import types
import typing

_SETS = {}

# What a change of a field means for a run that is resumed.
ARCHITECTURE = "architecture"  # Other weights: no checkpoint fits. In the fingerprint.
TRAINING = "training"  # Another experiment: refused on resume, fine for a warm start.
FREE = "free"  # May change on resume.


def _field(resume, default, meaning, choices=None, low=None, below=None):
    """A field with what `__post_init__` checks and `describe` prints."""
    checks = {"choices": choices, "low": low, "below": below}
    metadata = {"meaning": meaning, "resume": resume, **checks}
    return dataclasses.field(default=default, metadata=metadata)


# Called as architecture(default, meaning, choices=, low=, below=).
architecture = functools.partial(_field, ARCHITECTURE)
training = functools.partial(_field, TRAINING)
free = functools.partial(_field, FREE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hparams:
    """What every set can do; subclasses declare the fields with `architecture`,
    `training` and `free`."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = _typed(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
            _check_range(field, value)

    def to_dict(self):
        """JSON-able; `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values):
        """The set in `values`; unknown names and wrong types are errors."""
        for name in values:
            _known(cls, name)
        return cls(**values)

    def architecture(self):
        """The fields that decide whether a checkpoint fits: for its fingerprint."""
        return self._with_resume(ARCHITECTURE)

    def may_change_on_resume(self):
        """The names that a resumed run may have changed."""
        return tuple(self._with_resume(FREE))

    def _with_resume(self, resume):
        fields = dataclasses.fields(self)
        names = [f.name for f in fields if f.metadata["resume"] == resume]
        return {name: getattr(self, name) for name in names}


def _types(field):
    """The types a field may have, as a tuple without None, and whether None may be."""
    union = isinstance(field.type, types.UnionType)
    options = typing.get_args(field.type) if union else (field.type,)
    return tuple(t for t in options if t is not type(None)), type(None) in options


def _typed(field, value):
    """`value` in the field's type; an int will do for a float, nothing else will."""
    (wanted,), optional = _types(field)
    if optional and value is None:
        return None
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise ValueError(
            f"Hyper-parameter {field.name!r} must be {_type_name(field)}. "
            f"Received: {value!r}"
        )
    return value


def _check_range(field, value):
    checks, name = field.metadata, field.name
    if value is None:
        return
    if checks["choices"] and value not in checks["choices"]:
        raise ValueError(
            f"Hyper-parameter {name!r} must be one of {', '.join(checks['choices'])}"
            f"{_near(value, checks['choices'])} Received: {value!r}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"Hyper-parameter {name!r} must be finite. Received: {value}")
    low, below = checks["low"], checks["below"]
    if low is not None and value < low or below is not None and value >= below:
        wanted = f"in [{low}, {below})" if below is not None else f">= {low}"
        raise ValueError(
            f"Hyper-parameter {name!r} must be {wanted}. Received: {value}"
        )


def _near(name, known):
    """ "; did you mean 'x'?" with the nearest known name, or a full stop."""
    found = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else "."


def _known(cls, name):
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if name not in fields:
        raise ValueError(
            f"Unknown hyper-parameter {name!r}{_near(name, fields)} "
            "--registry_help lists them"
        )
    return fields[name]


def register(name):
    """Registers a function without arguments, which returns a set, under `name`."""

    def decorate(function):
        if name in _SETS:
            raise ValueError(f"The hparams set {name!r} is registered twice")
        _SETS[name] = function
        return function

    return decorate


def names():
    """The registered sets."""
    return sorted(_SETS)


def hparams(name, overrides=""):
    """The set `name`, with `overrides` such as "latent_channels=8,dropout=0.1"."""
    if name not in _SETS:
        raise ValueError(
            f"Unknown hparams set {name!r}{_near(str(name), _SETS)} "
            f"Known: {', '.join(names())}"
        )
    chosen = _SETS[name]()
    return dataclasses.replace(chosen, **parse(type(chosen), overrides))


def parse(cls, text):
    """The values in "a=1,b=2", typed as the fields of `cls` are."""
    values = {}
    for part in text.split(",") if text.strip() else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise ValueError(
                f"--hparams must look like 'a=1,b=2'. Received: {part.strip()!r} "
                f"in {text!r}"
            )
        field = _known(cls, name)
        if name in values:
            raise ValueError(f"Hyper-parameter {name!r} is given twice in {text!r}")
        values[name] = _from_text(field, value)
    return values


def _from_text(field, text):
    (wanted,), optional = _types(field)
    if optional and text.lower() == "none":
        return None
    if wanted is bool:
        known = {"true": True, "1": True, "false": False, "0": False}
        converted = known.get(text.lower())
    else:
        try:
            converted = wanted(text)
        except ValueError:
            converted = None
    if converted is None:
        raise ValueError(
            f"Hyper-parameter {field.name!r} must be {_type_name(field)}. "
            f"Received: {text!r}"
        )
    return converted


def _type_name(field):
    (wanted,), optional = _types(field)
    name = "true or false" if wanted is bool else wanted.__name__
    return f"{name} or none" if optional else name


def describe():
    """What --registry_help prints: the sets, and every field."""
    lines = ["Hparams sets (--hparams_set):"]
    classes = []
    for name in names():
        lines.append(f"  {name:<32} {(_SETS[name].__doc__ or '').splitlines()[0]}")
        cls = type(_SETS[name]())
        if cls not in classes:
            classes.append(cls)
    for cls in classes:
        lines.append("")
        lines.append(f"Fields of {cls.__name__}, for --hparams=name=value,name=value:")
        for field in dataclasses.fields(cls):
            what = field.metadata["meaning"]
            if field.metadata["choices"]:
                what += f" ({' | '.join(field.metadata['choices'])})"
            head = f"{field.name}: {_type_name(field)} = {field.default}"
            lines.append(f"  {head:<44} {what}")
    return "\n".join(lines)


def based_on(name, **changes):
    """The set `name` with other values in some fields."""
    return dataclasses.replace(_SETS[name](), **changes)
