"""The registries of what a model is built from: one file for each addition.

A prior, a posterior, an objective, an encoder or a decoder is a function under a name:

    @components.objective("beta", label="beta-VAE", fields={"beta": training(1.0, ...)})
    def make(hparams, sizes):
        return deltavae_tf.BetaVAE(hparams.beta)

The files of `experiments/build/priors/` and its neighbors are found by looking into
these folders; a user's own file comes with --t2t_usr_dir. What the functions receive
and return:

    prior(hparams, sizes) -> distribution, or None
    posterior(hparams, sizes, encoder, prior) -> encoder
    objective(hparams, sizes) -> `deltavae_tf.Objective`
    encoder(hparams, sizes, prior, policy) -> layer, x -> (loc, scale)
    decoder(hparams, sizes, policy) -> layer, (z, x) -> distribution
"""

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deltavae_tf import errors
from experiments.sets import fields as fields_lib

ROLES = ("prior", "posterior", "objective", "encoder", "decoder")
KINDS = ("images", "text")
_FOUND: dict[str, dict[str, "Component"]] = {role: {} for role in ROLES}


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What the data fix of a model.

    Attributes:
      kind: "images" or "text".
      num_timesteps: int n, rows of latents; None where each example has its own.
      image_shape: tuple (H, W, C); images only.
      num_levels: int, values of a pixel; images only.
      num_dims: int, predicted scalars of an example; None where it varies.
    """

    kind: str
    num_timesteps: int | None = None
    image_shape: tuple | None = None
    num_levels: int | None = None
    num_dims: int | None = None


@dataclasses.dataclass(frozen=True)
class Component:
    """A part under a name.

    Attributes:
      role: one of `ROLES`.
      name: str, the value of the hyper-parameter that is called like the role.
      make: see the module.
      label: what people call it, for tables and plots; "" for what goes without
        saying.
      meaning: a line for --registry_help.
      fields: {name: `Field`}, the hyper-parameters that it reads.
      kinds: the kinds of data it is for.
      needs: {role: (names, reason)}, what else the model must have.
      style: {"color", "marker"} of its points in plots, or empty.
      check: callable on the hyper-parameters; raises a `UserError`.
      width: callable, hyper-parameters -> the width that the paper's learning rate is
        scaled by; of decoders.
    """

    role: str
    name: str
    make: Callable
    label: str
    meaning: str
    fields: Mapping[str, fields_lib.Field]
    kinds: tuple
    needs: Mapping[str, tuple]
    style: Mapping[str, str]
    check: Callable | None
    width: Callable | None


def _register(
    role: str,
    name: str,
    *,
    label: str = "",
    fields: Mapping[str, fields_lib.Field] | None = None,
    kinds: tuple = KINDS,
    needs: Mapping[str, tuple] | None = None,
    color: str | None = None,
    marker: str | None = None,
    check: Callable | None = None,
    width: Callable | None = None,
) -> Callable:
    """Registers the decorated function as a part of this role; see `Component`."""

    def decorate(function):
        style = {"color": color, "marker": marker}
        found = Component(
            role,
            name,
            function,
            label,
            (function.__doc__ or "").strip().splitlines()[0]
            if function.__doc__
            else "",
            dict(fields or {}),
            tuple(kinds),
            dict(needs or {}),
            {key: value for key, value in style.items() if value},
            check,
            width,
        )
        if name in _FOUND[role]:
            raise errors.UserError(
                f"There is a {role} {name!r} already: choose another name. "
                f"Received: {name!r}"
            )
        for key, field in found.fields.items():
            known = _same_name(key)
            if known is not None and known != field:
                raise errors.UserError(
                    f"The {role} {name!r} declares the hyper-parameter {key!r}, which "
                    "another part declares differently: choose another name. "
                    f"Received: {key!r}"
                )
        _FOUND[role][name] = found
        return function

    return decorate


prior = functools.partial(_register, "prior")
posterior = functools.partial(_register, "posterior")
objective = functools.partial(_register, "objective")
encoder = functools.partial(_register, "encoder")
decoder = functools.partial(_register, "decoder")


@functools.cache
def _import_own() -> None:
    """Imports the files of this package's folders; each registers what it has."""
    for role in ROLES:
        package = importlib.import_module(f"experiments.build.{role}s")
        for module in sorted(pkgutil.iter_modules(package.__path__)):
            importlib.import_module(f"{package.__name__}.{module.name}")


def every(role: str, kind: str | None = None) -> dict[str, Component]:
    """{name: `Component`} of a role, of those for a kind of data if one is named."""
    _import_own()
    return {
        name: found
        for name, found in _FOUND[role].items()
        if kind is None or kind in found.kinds
    }


def find(role: str, name: str, kind: str | None = None) -> Component:
    """The part of this role and name.

    Raises:
      UserError: there is none, or none for this kind of data.
    """
    known = every(role)
    if not isinstance(name, str) or name not in known:
        raise errors.UserError(
            f"Unknown {role} {name!r}{errors.near(name, known)} "
            f"Known: {', '.join(every(role, kind))}. Received: {role}={name!r}"
        )
    found = known[name]
    if kind is not None and kind not in found.kinds:
        raise errors.UserError(
            f"The {role} {name!r} is there for {' and '.join(found.kinds)} only; for "
            f"{kind} there are {', '.join(every(role, kind))}. Received: {role}={name}"
        )
    return found


def readers(field: str) -> Iterator[Component]:
    """The parts that declare a field."""
    for role in ROLES:
        yield from (c for c in every(role).values() if field in c.fields)


def _same_name(field: str) -> Any:
    """The `Field` that is declared under a name, or None."""
    if field in fields_lib.COMMON:
        return fields_lib.COMMON[field]
    for parts in _FOUND.values():
        for part in parts.values():
            if field in part.fields:
                return part.fields[field]
    return None


def make_weights(model, example) -> None:
    """Makes a model's weights.

    What our own parts compute of an example is nobody's business, so nothing is
    computed. Those of users are called, which tells now what is wrong with them.

    Args:
      model: `DeltaVAE`.
      example: array `[1, ...]`.
    """
    from deltavae_tf import backend

    parts = model.encoder, model.decoder, model.prior, model.auxiliary_prior
    modules = {type(part).__module__ for part in parts if part is not None}
    if all(name.startswith("deltavae_tf.") for name in modules):
        model.build(example.shape, example.dtype.name)
    else:
        backend.make_variables(model, example)
