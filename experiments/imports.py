"""What makes a program's imports quicker: half of their seconds are not needed."""

import contextlib
import gc
import sys

# Keras imports them if they are there, for its wrappers of scikit-learn and for its
# galleries of images, which no program of ours uses.
_UNUSED = ("sklearn", "matplotlib")


@contextlib.contextmanager
def quick():
    """Context for the import of Keras and its backend.

    The collector of cycles finds nothing in modules, and looks at all of them again
    and again; what was made within is never looked at afterwards either. Packages that
    Keras could do without are not there within; behind it they are as always.
    """
    hidden = [name for name in _UNUSED if name not in sys.modules]
    collects = gc.isenabled()
    gc.disable()
    sys.modules.update(dict.fromkeys(hidden))  # None: `import` raises ImportError.
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        if collects:
            gc.freeze()
            gc.enable()
