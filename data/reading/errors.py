"""What the data package raises, each with a message of one line."""


class DataError(ValueError):
    """Data or an argument about data that cannot be used.

    The message is one line that says what was wrong, what was received and what
    would do, so that a program can print it instead of a stack trace.
    """


class DataNotFoundError(DataError, FileNotFoundError):
    """A file or a folder of data is not there."""


def one_line(error):
    """The type and the first line of the message of another library's exception."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
