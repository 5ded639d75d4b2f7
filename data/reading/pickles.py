"""Reads pickles of plain data and uint8 arrays, and runs nothing that they name.

A pickle is a program. This reader knows only the instructions that build plain
data, and the three globals by which NumPy describes an array; those it replaces
by stand-ins of its own, so even NumPy's constructors are out of a pickle's reach.
"""

import io
import pickle

import numpy as np

from data.reading import errors

_INSTRUCTIONS = (
    pickle.PROTO + pickle.FRAME + pickle.STOP + pickle.MARK + pickle.POP
    + pickle.NONE + pickle.NEWTRUE + pickle.NEWFALSE
    + pickle.INT + pickle.BININT + pickle.BININT1 + pickle.BININT2 + pickle.LONG1
    + pickle.STRING + pickle.BINSTRING + pickle.SHORT_BINSTRING
    + pickle.BINBYTES + pickle.SHORT_BINBYTES
    + pickle.UNICODE + pickle.BINUNICODE + pickle.SHORT_BINUNICODE
    + pickle.EMPTY_TUPLE + pickle.TUPLE
    + pickle.TUPLE1 + pickle.TUPLE2 + pickle.TUPLE3
    + pickle.EMPTY_LIST + pickle.LIST + pickle.APPEND + pickle.APPENDS
    + pickle.EMPTY_DICT + pickle.DICT + pickle.SETITEM + pickle.SETITEMS
    + pickle.PUT + pickle.BINPUT + pickle.LONG_BINPUT + pickle.MEMOIZE
    + pickle.GET + pickle.BINGET + pickle.LONG_BINGET
    + pickle.GLOBAL + pickle.STACK_GLOBAL + pickle.INST
    + pickle.REDUCE + pickle.BUILD
)  # fmt: skip


def loads(content, where):
    """Reads a pickle of a dict, as Python 2 wrote it: strings come out as bytes.

    Args:
      content: bytes.
      where: str, names the pickle in errors.

    Returns:
      dict. Arrays among its values are uint8 NumPy arrays.
    """
    try:
        value = _Unpickler(io.BytesIO(content), where).load()
        if not isinstance(value, dict):
            raise TypeError(f"a {type(value).__name__} where a dict should be")
        return {
            key: entry.to_numpy() if isinstance(entry, _Array) else entry
            for key, entry in value.items()
        }
    except errors.DataError:
        raise
    # A damaged pickle may fail in any instruction, in any way.
    except Exception as error:
        raise errors.DataError(
            f"{where} is not a pickle that can be read here; get the official file. "
            f"Received: {errors.one_line(error)}"
        ) from error


class _Array:
    """The state of an array, kept as it came until somebody asks for the array."""

    __slots__ = ("_state",)

    def __setstate__(self, state):
        self._state = state

    def to_numpy(self):
        _, shape, dtype, is_fortran, content = self._state
        if dtype.code not in (b"u1", "u1") or is_fortran:
            raise TypeError(f"an array of {dtype.code}, Fortran order {is_fortran}")
        return np.frombuffer(content, np.uint8).reshape(shape)


class _Dtype:
    """The code of a dtype. Its state tells of byte order, which bytes have not."""

    __slots__ = ("code",)

    def __setstate__(self, state):
        pass


# Callable instances without attributes rather than functions: BUILD sets attributes
# of whatever a pickle hands it, and these have none to set.
class _MakeArray:
    __slots__ = ()

    def __call__(self, array_type, shape, code):
        return _Array()


class _MakeDtype:
    __slots__ = ()

    def __call__(self, code, align, copy):
        dtype = _Dtype()
        dtype.code = code
        return dtype


_GLOBALS = {
    "numpy.core.multiarray._reconstruct": _MakeArray(),
    "numpy._core.multiarray._reconstruct": _MakeArray(),
    "numpy.ndarray": "ndarray",
    "numpy.dtype": _MakeDtype(),
}


class _Dispatch(dict):
    def __missing__(self, code):
        raise pickle.UnpicklingError(f"instruction {bytes([code])}")


# The Python class, not the C one: its instructions are a table to choose from, and
# its memo is a dict, where the C one's is an array as long as ten bytes may ask.
class _Unpickler(pickle._Unpickler):
    dispatch = _Dispatch({i: pickle._Unpickler.dispatch[i] for i in _INSTRUCTIONS})

    def __init__(self, file, where):
        super().__init__(file, encoding="bytes")
        self._where = where

    def find_class(self, module, name):
        if f"{module}.{name}" not in _GLOBALS:
            raise errors.DataError(
                f"{self._where} is a pickle that may run code, and was refused; get "
                f"the official file. Received: global {f'{module}.{name}'!r}"
            )
        return _GLOBALS[f"{module}.{name}"]
