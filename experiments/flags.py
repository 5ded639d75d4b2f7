"""Tensor2Tensor's trainer flags, and how a binary starts and fails.

A binary imports this module, may choose other defaults with `defaults(...)`, and ends

    if __name__ == "__main__":
        flags.run(main)
"""

import difflib
import linecache
import re
import sys
import traceback

from absl import app, flags, logging

from experiments import hparams as registry

FLAGS = flags.FLAGS

# Tensor2Tensor's names, and its defaults unless the text says otherwise.
flags.DEFINE_string("problem", None, "The data set; by default the hparams set's own.")
flags.DEFINE_string("model", "delta_vae", "Kept for Tensor2Tensor's command lines.")
flags.DEFINE_string("hparams_set", None, "A set of numbers; see --registry_help.")
flags.DEFINE_string("hparams", "", "Changes to the set, such as 'dropout=0.1,beta=2'.")
flags.DEFINE_string("data_dir", None, "Where the data set is, or will be put.")
flags.DEFINE_string("tmp_dir", "/tmp/t2t_datagen", "For downloads.")
flags.DEFINE_string(
    "output_dir",
    None,
    "The run's folder. Given again with the same hyper-parameters, the run goes on "
    "from its last whole checkpoint; another run's folder is refused.",
)
flags.DEFINE_bool("generate_data", False, "Download and prepare the data set first.")
flags.DEFINE_integer(
    "train_steps",
    None,
    "Updates in total, those of a resumed run included. By default the hparams set's "
    "train_steps: 250000, Tensor2Tensor's default, unless the set is a small one.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "eval_steps",
    None,
    "Batches of each evaluation during training; by default the hparams set's. The "
    "evaluation at the end sees every example.",
    lower_bound=1,
)
flags.DEFINE_enum(
    "schedule",
    "train_and_evaluate",
    ["train_and_evaluate", "train", "evaluate"],
    "What to do.",
)
flags.DEFINE_integer(
    "local_eval_frequency",
    None,
    "Steps from one evaluation and checkpoint to the next; by default the hparams "
    "set's eval_every: 1000, as in Tensor2Tensor, unless the set is a small one.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "keep_checkpoint_max", 20, "Newest checkpoints to keep; 0 keeps all.", lower_bound=0
)
flags.DEFINE_integer(
    "save_checkpoints_secs",
    0,
    "Save a checkpoint every so many seconds too; 0: with each evaluation only.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "worker_gpu",
    1,
    "Replicas of MirroredStrategy: GPUs, or logical CPUs where there is none.",
    lower_bound=0,
)
flags.DEFINE_bool("use_tpu", False, "Train with TPUStrategy.")
flags.DEFINE_string("cloud_tpu_name", "", "The TPU to use; '' or 'local': this VM's.")
flags.DEFINE_integer("tpu_num_shards", 8, "TPU cores.", lower_bound=1)
flags.DEFINE_integer(
    "iterations_per_loop", 100, "Steps in one call of the device.", lower_bound=1
)
flags.DEFINE_bool(
    "xla_compile",
    False,
    "Compile the step with XLA. Pays on a GPU; on a CPU the plain graph is faster.",
)
flags.DEFINE_integer("random_seed", 0, "Of weights, data order and noise.")
flags.DEFINE_bool(
    "eval_use_test_set", False, "Evaluate on the test split, not on held-out training."
)
flags.DEFINE_string(
    "warm_start_from",
    None,
    "A checkpoint, or a run's folder, whose weights to start from at step 0.",
)
flags.DEFINE_bool("registry_help", False, "Print hparams sets and fields, and exit.")
flags.DEFINE_bool("raw_weights", False, "Read a run's raw weights, not their average.")
flags.DEFINE_string("decode_hparams", "", "Settings of decoding, as in --hparams.")
flags.DEFINE_string("decode_from_file", None, "What to decode.")
flags.DEFINE_string("decode_to_file", None, "Where to write what was decoded.")

_OURS = ("deltavae_tf", "data", "experiments")


def defaults(**values):
    """Other defaults for one binary: `defaults(hparams_set="digits")`."""
    for name, value in values.items():
        FLAGS.set_default(name, value)


def hparams():
    """The hyper-parameters that the command line asks for."""
    changes = {
        "problem": FLAGS.problem,
        "train_steps": FLAGS.train_steps,
        "eval_steps": FLAGS.eval_steps,
        "eval_every": FLAGS.local_eval_frequency,
    }
    if FLAGS.hparams_set is None:
        raise ValueError("--hparams_set is needed; --registry_help lists the sets")
    chosen = registry.hparams(FLAGS.hparams_set, FLAGS.hparams)
    given = {name: value for name, value in changes.items() if value is not None}
    return type(chosen).from_dict({**chosen.to_dict(), **given})


def as_text():
    """This module's flags, one a line: a run's `flags.txt`, fit for --flagfile."""
    ours = FLAGS.flags_by_module_dict()[__name__]
    return "".join(f"{flag.serialize()}\n" for flag in ours if flag.value is not None)


def run(main, argv=None):
    """Parses the flags and runs `main(argv)`; never returns.

    An error whose text is ours ends in that one line and exit status 1. Any other is
    a bug and keeps its stack trace, as does every one under --verbosity=1.
    """
    app.run(lambda arguments: _guarded(main, arguments), argv, flags_parser=_parse)


def _parse(argv):
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
    if FLAGS.registry_help:
        print(registry.describe())
        sys.exit(0)
    return rest


def _guarded(main, arguments):
    try:
        return main(arguments)
    except KeyboardInterrupt:
        _fail("interrupted; --output_dir keeps what was saved", status=130)
    except Exception as error:
        told = _from_pipeline(error)
        ours = told or _is_ours(error)
        if not ours or logging.get_verbosity() >= logging.DEBUG:
            raise
        _fail(told or error)


def _from_pipeline(error):
    """The line of a `DataError` that a tf.data function raised, which TensorFlow
    wraps into one of its own; "" for any other error."""
    found = re.search(
        r"^data\.reading\.errors\.DataError: (.*)$", str(error), re.MULTILINE
    )
    return found[1] if found else ""


def _is_ours(error):
    """Whether the text was written for the user: by the system, or by our `raise`."""
    if isinstance(error, OSError):
        return True
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    package = frame.f_globals.get("__name__", "").split(".")[0]
    source = linecache.getline(frame.f_code.co_filename, line)
    return package in (*_OURS, "__main__") and source.strip().startswith("raise ")


def _fail(error, status=1):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(status)
