"""How a program starts, helps and fails."""

import difflib
import importlib
import os
import re
import sys
import textwrap

from absl import app, flags, logging

from data.reading import errors as data_errors
from deltavae_tf import errors

FLAGS = flags.FLAGS
_SHARED = "experiments.flags"  # The module of the flags that programs share.
_HELP = {"--help", "-help", "-h", "--helpshort", "-?"}
_PATHS = []  # The flags that name a file or a folder.


def define_path(name, default, meaning):
    """A flag, of the module that calls this, for a file or a folder; `~` works."""
    _PATHS.append(name)
    module = sys._getframe(1).f_globals["__name__"]
    module = sys.argv[0] if module == "__main__" else module  # As absl names it.
    return flags.DEFINE_string(name, default, meaning, module_name=module)


def run(main, uses=(), argv=None):
    """Parses the flags and runs `main(argv)`; never returns.

    A `UserError`, a `DataError` or the system's own error ends in one line and exit
    status 1. Any other is a bug and keeps its stack trace, as does every one under
    --verbosity=1.

    Args:
      main: callable on the arguments that are no flags.
      uses: names of the shared flags that the program reads, for its --help.
      argv: list of str, or None for the process's.
    """
    app.run(
        lambda arguments: _guarded(main, arguments),
        argv,
        flags_parser=lambda arguments: _parse(arguments, uses),
    )


def _parse(argv, uses):
    if _HELP & set(argv[1:]):
        print(help_text(uses))
        sys.exit(0)
    try:
        rest = FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(FLAGS), n=1)
        hint = f"; did you mean --{near[0]}?" if near else "."
        _fail(f"unknown flag --{error.flagname}{hint} --help lists them")
    except flags.Error as error:
        _fail(error)
    if len(rest) > 1:
        _fail(f"unexpected argument {rest[1]!r}: flags look like --name=value")
    for name in _PATHS:
        if FLAGS[name].value is not None:
            FLAGS[name].value = os.path.expanduser(FLAGS[name].value)
    return rest


def help_text(uses):
    """What --help prints: what the program is for, and the flags that it reads."""
    main = sys.modules["__main__"]
    lines = [(main.__doc__ or "").strip(), ""]
    by_module = FLAGS.flags_by_module_dict()
    own = [
        flag
        for module, found in by_module.items()
        if module == sys.argv[0]
        or (module.startswith("experiments.") and module != _SHARED)
        for flag in found
    ]
    shared = {flag.name: flag for flag in by_module[_SHARED]}
    if own:
        lines += ["Flags of this program:", *map(_described, own), ""]
    if uses:
        lines.append("Flags that it shares with others:")
        lines += [_described(shared[name]) for name in dict.fromkeys(uses)]
        lines.append("")
    lines.append("--helpfull lists every flag, those of libraries too.")
    return "\n".join(lines)


def _described(flag):
    default = flag.default
    if isinstance(default, list):
        default = ",".join(map(str, default))
    default = "" if default in (None, "") else f" [{default}]"
    choices = getattr(flag.parser, "enum_values", None)
    what = " ".join(flag.help.split()) + (
        f" One of {', '.join(choices)}." if choices else ""
    )
    indent = " " * 6
    text = textwrap.fill(what, 80, initial_indent=indent, subsequent_indent=indent)
    return f"  --{flag.name}{default}\n{text}"


def import_user_code(path):
    """Imports a Python file, or those of a folder, which register what they define.

    A folder with an `__init__.py` is imported as a package, as Tensor2Tensor does; of
    another one each file is imported but for programs, such as figures, which have a
    line `if __name__ == "__main__":` and are run by their own name.
    """
    path = os.path.abspath(path)
    package = os.path.join(path, "__init__.py")
    if os.path.isfile(package):
        files = [package]
    elif os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if n.endswith(".py"))
        files = [os.path.join(path, name) for name in names]
        files = [file for file in files if not _is_program(file)]
    else:
        files = [path] if os.path.isfile(path) and path.endswith(".py") else []
    if not files:
        raise errors.UserError(
            "--t2t_usr_dir must be a Python file or a folder of Python files. "
            f"Received: {path}"
        )
    for file in files:
        folder = os.path.dirname(file)
        stem = os.path.basename(file).removesuffix(".py")
        name = os.path.basename(folder) if stem == "__init__" else stem
        # Packages import their own modules by name, and so may single files.
        parent = os.path.dirname(folder) if stem == "__init__" else folder
        if parent not in sys.path:
            sys.path.append(parent)
        if name not in sys.modules:
            importlib.import_module(name)


def _is_program(path):
    with open(path, encoding="utf-8") as file:
        return any(line.startswith("if __name__") for line in file)


def _guarded(main, arguments):
    try:
        if FLAGS.t2t_usr_dir:
            import_user_code(FLAGS.t2t_usr_dir)
        if FLAGS.registry_help:
            from experiments import sets, terminal

            print(terminal.listings(sets.describe()))
            sys.exit(0)
        return main(arguments)
    except KeyboardInterrupt:
        _fail("interrupted; --output_dir keeps what was saved", status=130)
    except Exception as error:
        told = _from_pipeline(error)
        users = isinstance(error, errors.UserError | data_errors.DataError | OSError)
        if not (told or users) or logging.get_verbosity() >= logging.DEBUG:
            raise
        _fail(told or error)


def _from_pipeline(error):
    """The line of an error of the user's that a tf.data function raised, which
    TensorFlow wraps into one of its own; "" for any other error."""
    found = re.search(
        r"^(?:data\.reading\.errors\.DataError|deltavae_tf\.errors\.UserError): (.*)$",
        str(error),
        re.MULTILINE,
    )
    return found[1] if found else ""


def _fail(error, status=1):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(status)
