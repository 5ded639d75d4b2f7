"""What a program's terminal does not need: the chatter of libraries."""

import logging as standard_logging
import os


def libraries(info: bool = True) -> None:
    """Before TensorFlow is imported: our own lines, and none of its own.

    Args:
      info: bool, show what the training reports beside warnings.
    """
    from absl import logging

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    level = logging.INFO if info else logging.WARNING
    logging.set_verbosity(max(logging.get_verbosity(), level))
    standard_logging.getLogger("tensorflow").setLevel(standard_logging.ERROR)
