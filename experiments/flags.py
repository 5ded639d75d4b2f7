"""Tensor2Tensor's trainer flags, and what programs make of them.

A program imports this module, may choose other defaults with `defaults(...)`, and ends

    if __name__ == "__main__":
        flags.run(main, flags.TRAINING)

where the second argument names the shared flags that it reads, for its --help. Nothing
here imports TensorFlow: a program does so in `main`, once its flags are known to be
right.
"""

from absl import flags

from data import dataset
from deltavae_tf import errors
from experiments import program
from experiments.program import define_path as define_path
from experiments.program import run as run

FLAGS = flags.FLAGS

# Tensor2Tensor's names, and its defaults unless the text says otherwise.
flags.DEFINE_string("problem", None, "The data set; by default the hparams set's own.")
flags.DEFINE_string("model", "delta_vae", "Kept for Tensor2Tensor's command lines.")
flags.DEFINE_string("hparams_set", None, "A set of numbers; see --registry_help.")
flags.DEFINE_string("hparams", "", "Changes to the set, such as 'dropout=0.1,beta=2'.")
program.define_path("data_dir", None, "Where the data set is, or will be put.")
program.define_path("tmp_dir", "/tmp/t2t_datagen", "For downloads.")
program.define_path(
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
program.define_path(
    "warm_start_from",
    None,
    "A checkpoint, or a run's folder, whose weights to start from at step 0.",
)
flags.DEFINE_bool("registry_help", False, "Print hparams sets and fields, and exit.")
flags.DEFINE_bool("raw_weights", False, "Read a run's raw weights, not their average.")
program.define_path(
    "decode_from_file", None, "A text file, a sentence a line: what to decode."
)
program.define_path("decode_to_file", None, "Where to write what was decoded.")
program.define_path(
    "t2t_usr_dir",
    None,
    "Your own data sets, priors, posteriors, objectives, encoders, decoders, metrics, "
    "sets and sweeps: a Python file, or a folder of them, imported first.",
)

# Which of these flags a kind of program reads.
DATA = ("data_dir", "tmp_dir", "generate_data", "t2t_usr_dir")
CHOICE = ("problem", "hparams_set", "hparams", "registry_help", "t2t_usr_dir")
TRAINED = ("output_dir", "raw_weights", "t2t_usr_dir")
DEVICES = (
    *("worker_gpu", "use_tpu", "cloud_tpu_name", "tpu_num_shards"),
    *("iterations_per_loop", "xla_compile"),
)
TRAINING = (
    *CHOICE,
    *DATA,
    *("output_dir", "train_steps", "eval_steps", "schedule", "local_eval_frequency"),
    *("keep_checkpoint_max", "save_checkpoints_secs", "random_seed"),
    *("eval_use_test_set", "warm_start_from"),
    *DEVICES,
)


def defaults(**values):
    """Other defaults for one program: `defaults(hparams_set="digits")`."""
    for name, value in values.items():
        FLAGS.set_default(name, value)


def hparams():
    """The hyper-parameters that the command line asks for."""
    from experiments import sets

    chosen = sets.hparams(_set_name(), FLAGS.hparams)
    changes = {
        "problem": FLAGS.problem,
        "train_steps": FLAGS.train_steps,
        "eval_steps": FLAGS.eval_steps,
        "eval_every": FLAGS.local_eval_frequency,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return chosen.replace(**given)


def _set_name():
    """--hparams_set, or the smallest set that is named after --problem."""
    from experiments import sets

    if FLAGS.hparams_set is not None:
        return FLAGS.hparams_set
    if FLAGS.problem is not None:
        dataset.find(FLAGS.problem)  # Names the nearest if there is none.
    for name in (FLAGS.problem, f"{FLAGS.problem}_small"):
        if name in sets.set_names():
            return name
    raise errors.UserError(
        "--hparams_set is needed, or a --problem that has a set of its own name; "
        f"--registry_help lists them. Received: --problem={FLAGS.problem}"
    )


def options(**changes):
    """The `runs.options.Options` of the command line, on its devices."""
    from deltavae_tf.training import engines
    from experiments.runs.options import Options

    found = {
        "output_dir": FLAGS.output_dir,
        "seed": FLAGS.random_seed,
        "data_dir": FLAGS.data_dir,
        "tmp_dir": FLAGS.tmp_dir,
        "download": FLAGS.generate_data,
        "use_test_set": FLAGS.eval_use_test_set,
        "iterations_per_loop": FLAGS.iterations_per_loop,
        "save_seconds": FLAGS.save_checkpoints_secs,
        "keep_max": FLAGS.keep_checkpoint_max,
        "jit_compile": FLAGS.xla_compile,
        "flags_text": as_text(),
        "warm_start_from": FLAGS.warm_start_from,
        **changes,
    }
    if not found["output_dir"]:
        raise errors.UserError(
            "--output_dir is needed: the folder that receives the run. Received: none"
        )
    if "engine" not in found:
        found["engine"] = engines.make(
            FLAGS.use_tpu, FLAGS.cloud_tpu_name, FLAGS.tpu_num_shards, FLAGS.worker_gpu
        )
    return Options(**found)


def trained(path=None, **changes):
    """The trained run in --output_dir (or in `path`), as the flags say."""
    from experiments.runs import load

    found = {
        "use_average": not FLAGS.raw_weights,
        "data_dir": FLAGS.data_dir,
        "tmp_dir": FLAGS.tmp_dir,
        "download": FLAGS.generate_data,
        **changes,
    }
    return load.load(path or FLAGS.output_dir, **found)


def as_text():
    """This module's flags, one a line: a run's `flags.txt`, fit for --flagfile."""
    ours = FLAGS.flags_by_module_dict()[__name__]
    return "".join(f"{flag.serialize()}\n" for flag in ours if flag.value is not None)
