"""Sets of hyper-parameters under names.

registry.hparams("cifar10_ablation", "latent_channels=64,alpha_max=0.99")
"""

from collections.abc import Callable

from deltavae_tf import errors
from experiments.sets.run_hparams import Hparams

_SETS: dict[str, Callable] = {}


def register(name: str) -> Callable:
    """Registers a function without arguments, which returns `Hparams`, as a set."""

    def decorate(function):
        if name in _SETS:
            raise errors.UserError(
                f"There is an hparams set {name!r} already: choose another name. "
                f"Received: {name!r}"
            )
        _SETS[name] = function
        return function

    return decorate


def set_names() -> list[str]:
    """The registered sets."""
    return sorted(_SETS)


def hparams(name: str, overrides: str = "") -> Hparams:
    """The set `name`, with `overrides` such as "latent_channels=8,dropout=0.1"."""
    if name not in _SETS:
        raise errors.UserError(
            f"Unknown hparams set {name!r}{errors.near(name, _SETS)} "
            f"Known: {', '.join(set_names())}. Received: {name!r}"
        )
    return _SETS[name]().changed(overrides)


def based_on(name: str, **changes) -> Hparams:
    """The set `name` with other values in some fields."""
    return _SETS[name]().replace(**changes)


def meaning(name: str) -> str:
    """The first line that describes a set."""
    return (_SETS[name].__doc__ or "").strip().splitlines()[0]
