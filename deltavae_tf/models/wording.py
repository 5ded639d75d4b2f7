"""Words for the errors of `contract` and `decoder_contract`: shapes, dtypes, names."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras


def agree(shape: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Whether two shapes can be the same, as far as they are known."""
    shape, other = tuple(shape), tuple(other)
    if len(shape) != len(other):
        return False
    return all(
        a is None or b is None or a == b for a, b in zip(shape, other, strict=True)
    )


def reason(error: Exception) -> str:
    """The first line of an error's text, at some length, or its class."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def name(part: object) -> str:
    """The name of a part's class."""
    return type(part).__name__


def dtype(x: Any) -> str:
    """The name of an array's dtype."""
    return keras.backend.standardize_dtype(x.dtype)


def short(of: Any) -> str:
    """The name of a dtype, whose ever it is."""
    return getattr(of, "name", None) or str(getattr(of, "__name__", of))


def dims(shape: Iterable[int | None]) -> str:
    """The sizes of a shape, comma-separated; B where one is unknown."""
    return ", ".join("B" if size is None else str(size) for size in shape)


def describe(value: Any) -> str:
    """Dtype and shape, or what else it is."""
    if isinstance(value, (tuple, list)):
        return f"({', '.join(describe(v) for v in value)})"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{dtype(value)} [{dims(value.shape)}]"
    return f"{type(value).__name__} {str(value)[:60]}"
