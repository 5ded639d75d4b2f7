"""The errors that are the user's to mend, told apart from bugs by their class.

Everything the library refuses raises a `UserError`: its message says what was wrong,
what was received and what would do. A program prints that one line. Any other error is
a bug and keeps its trace.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """What the user gave cannot be used; the message says what would do.

    It is a `ValueError`, so that code which catches those goes on working.
    """

    # Keras leaves the message of an error with this mark as it is: one line.
    _keras_call_info_injected = True

    # TensorFlow makes exceptions anew, inside of functions that it compiles, of classes
    # with the plain initializer; any other class would come out as a StagingError. It
    # also serves two built-in parents, as below.
    __init__ = Exception.__init__


class NotFiniteError(UserError, FloatingPointError):
    """A term of the loss, or a gradient, became NaN or infinite."""


class MissingPackageError(UserError, ImportError):
    """A package is needed that only an extra installs; the message names the extra."""


def near(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" with the nearest known name, or a full stop."""
    found = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else "."
