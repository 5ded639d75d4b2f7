"""Command lines as a user types them, in a process of their own."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

ROOT = str(pathlib.Path(__file__).parents[2])

BINARY = """
    import json, sys
    from deltavae_tf import errors
    from experiments import flags

    flags.defaults(hparams_set="digits_tiny")

    def main(_):
        h = flags.hparams()
        if flags.FLAGS.decode_from_file == "bug":
            int("x")
        if flags.FLAGS.decode_from_file == "theirs":
            json.loads("")  # Raised by a `raise` of theirs.
        if flags.FLAGS.decode_from_file == "value":
            raise ValueError("Written by us, and a bug all the same")
        if flags.FLAGS.decode_from_file == "ours":
            raise errors.NotFiniteError("Not finite at step 3:\\nrate_nats=nan")
        if flags.FLAGS.decode_from_file == "disk":
            open("/nonexistent/file")
        if flags.FLAGS.decode_from_file == "interrupt":
            raise KeyboardInterrupt
        if flags.FLAGS.decode_from_file == "flags":
            print(flags.as_text())
        print(h.batch_size, h.train_steps, h.eval_every, h.problem, h.eval_steps)
        print("tensorflow" in sys.modules)

    if __name__ == "__main__":
        flags.run(main)
"""


@pytest.fixture
def binary(tmp_path):
    script = tmp_path / "binary.py"
    script.write_text(textwrap.dedent(BINARY))

    def run(*arguments):
        return subprocess.run(
            [sys.executable, script, *arguments],
            env={**os.environ, "PYTHONPATH": ROOT},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_defaults_and_overrides(binary):
    done = binary()
    assert done.stdout.split() == ["8", "10", "5", "digits", "2", "False"]
    done = binary(
        "--hparams=batch_size=3", "--train_steps=7", "--local_eval_frequency=2"
    )
    assert done.stdout.split()[:3] == ["3", "7", "2"]
    assert binary("--hparams_set", "cifar10_best").stdout.split()[1] == "250000"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--hparams=batchsize=3"], "'batchsize'; did you mean 'batch_size'?"),
        (["--hparams_set=digit"], "did you mean 'digits'?"),
        (["--trian_steps=3"], "unknown flag --trian_steps; did you mean --train_steps"),
        (["--zzzzzz=3"], "unknown flag --zzzzzz. --help lists them"),
        (["--train_steps=three"], "--train_steps=three"),
        (["--train_steps=0"], "--train_steps=0"),
        (["--schedule=dance"], "--schedule=dance"),
        (["train_steps=3"], "unexpected argument 'train_steps=3'"),
        (["--decode_from_file=ours"], "Not finite at step 3: rate_nats=nan"),
        (["--decode_from_file=disk"], "'/nonexistent/file'"),
        (["--problem=digit"], "did you mean 'digits'"),
    ],
)
def test_an_error_is_one_line(binary, arguments, message):
    done = binary(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize("which", ["bug", "theirs", "value"])
def test_a_bug_keeps_its_stack_trace(binary, which):
    done = binary(f"--decode_from_file={which}")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_verbosity_shows_where(binary):
    done = binary("--decode_from_file=ours", "--verbosity=1")
    assert "Traceback" in done.stderr


def test_interrupted(binary):
    done = binary("--decode_from_file=interrupt")
    assert (done.returncode, len(done.stderr.splitlines())) == (130, 1)


def test_registry_help(binary):
    done = binary("--registry_help")
    assert done.returncode == 0
    assert "cifar10_ablation" in done.stdout
    lines = done.stdout.splitlines()
    assert any(line.startswith("  eval_batch_size: int") for line in lines)


def test_flags_as_text_can_be_given_back(binary, tmp_path):
    arguments = ["--decode_from_file=flags", "--hparams=batch_size=3", "--use_tpu"]
    text = binary(*arguments).stdout.split("\n\n")[0]
    assert "--hparams=batch_size=3\n" in text and "--use_tpu\n" in text
    assert "--decode_from_file=flags" in text
    (tmp_path / "flags.txt").write_text(text)
    again = binary(f"--flagfile={tmp_path / 'flags.txt'}")
    assert again.stdout.split("\n\n")[0] == text


def test_paths_may_begin_at_home(binary, tmp_path):
    done = binary("--decode_from_file=flags", "--output_dir=~/runs", "--data_dir=~")
    home = os.path.expanduser("~")
    assert f"--output_dir={home}/runs\n" in done.stdout
    assert f"--data_dir={home}\n" in done.stdout


def test_help_has_the_programs_own_words(tmp_path):
    script = tmp_path / "own.py"
    script.write_text(
        '"""Does what its name says."""\n'
        "from experiments import flags\n"
        "flags.flags.DEFINE_integer('apples', 3, 'How many apples.')\n"
        "flags.run(print, ('output_dir',))\n"
    )
    done = subprocess.run(
        [sys.executable, script, "--help"],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "Does what its name says."
    assert lines.index("  --apples [3]") < lines.index("  --output_dir")
    assert "      How many apples." in lines and "--use_tpu" not in done.stdout


@pytest.mark.parametrize("where", ["", "nothing.py", "empty"])
def test_no_code_of_the_users(binary, tmp_path, where):
    (tmp_path / "empty").mkdir()
    done = binary(f"--t2t_usr_dir={tmp_path / where if where else '/nowhere'}")
    assert "must be a Python file or a folder of Python files" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_tensor2tensors_names_and_defaults():
    from experiments import flags

    expected = """
      problem model hparams_set hparams data_dir tmp_dir output_dir generate_data
      train_steps eval_steps schedule local_eval_frequency keep_checkpoint_max
      save_checkpoints_secs worker_gpu use_tpu cloud_tpu_name tpu_num_shards
      iterations_per_loop random_seed eval_use_test_set warm_start_from registry_help
      decode_from_file decode_to_file t2t_usr_dir
    """.split()
    expected += """
      raw_weights xla_compile
    """.split()
    defined = flags.FLAGS.flags_by_module_dict()["experiments.flags"]
    assert sorted(f.name for f in defined) == sorted(expected)
    defaults = {f.name: f.default for f in defined}
    assert defaults["keep_checkpoint_max"] == 20
    assert (defaults["worker_gpu"], defaults["tpu_num_shards"]) == (1, 8)
    assert (defaults["iterations_per_loop"], defaults["xla_compile"]) == (100, False)


def test_an_error_of_a_pipeline_is_one_line():
    import tensorflow as tf

    from data.reading import errors
    from experiments import program

    def broken(i):
        raise errors.DataError(f"image {i} is damaged")

    dataset = tf.data.Dataset.range(1).map(
        lambda i: tf.numpy_function(broken, [i], tf.int64)
    )
    with pytest.raises(tf.errors.OpError) as error:
        list(dataset)
    assert program._from_pipeline(error.value) == "image 0 is damaged"
    assert program._from_pipeline(ValueError("DataError: no")) == ""
