r"""What an hparams set will cost on a machine, before anybody pays for one.

  python -m experiments.plan --hparams_set=cifar10_best --tpu_num_shards=8
  python -m experiments.plan --hparams_set=imagenet32_best --tpu_num_shards=128 \
      --hparams=dtype=mixed_bfloat16 --peak_tflops=400 --memory_gbs=3000
  python -m experiments.plan --hparams_set=cifar10_small --here

Prints parameters, operations and bytes of a training step, the memory that one core
needs, and bounds on the time of a step, for accelerators whose published peak rates are
known or for --peak_tflops and --memory_gbs. The batch is divided among
--tpu_num_shards cores (or GPUs). Everything is counted from the step's graph; nothing
is run, and no accelerator is needed.

--here runs the step as well, on the machine at hand: it measures what products,
convolutions and memory reach here, and prints the step beside its floor. A minute;
leave the machine alone meanwhile.
"""

import dataclasses
import json

from experiments import flags

FLAGS = flags.FLAGS
_PEAK = flags.flags.DEFINE_float(
    "peak_tflops", None, "Operations a second of one core, 1e12; with --memory_gbs."
)
_MEMORY = flags.flags.DEFINE_float(
    "memory_gbs", None, "Memory bandwidth of one core, 1e9 bytes a second."
)
_JSON = flags.flags.DEFINE_bool("as_json", False, "Print one JSON object instead.")
_HERE = flags.flags.DEFINE_bool(
    "here", False, "Measure this machine, and the step on it, beside the floor."
)

# One core each: bfloat16 operations a second, bytes of memory a second, bytes of
# memory. Google's documentation of Cloud TPU; the H100's are rates that large products
# reach, its published peaks are 989 TFLOP/s and 3.35 TB/s.
RATES = {
    "TPU v3 core": (61.5e12, 450e9, 16e9),
    "TPU v4 chip": (275e12, 1200e9, 32e9),
    "TPU v5e chip": (197e12, 819e9, 16e9),
    "H100": (400e12, 3000e9, 80e9),
}


def count(hparams, num_cores):
    """The costs of a step of a set on one of `num_cores` cores."""
    from deltavae_tf import errors

    if hparams.batch_size % num_cores:
        raise errors.UserError(
            "--tpu_num_shards must divide the batch. "
            f"Received: batch_size={hparams.batch_size}, {num_cores} cores"
        )
    from deltavae_tf.layers import attention_core
    from experiments.runs import costs

    model, spec = model_and_spec(hparams, num_cores)
    with attention_core.computing_again():
        return costs.of_step(model, spec, has_average=hparams.ema_decay > 0)


def model_and_spec(hparams, num_cores=1):
    """The model of a set; the `tf.TensorSpec`s of a batch on one of `num_cores`."""
    import tensorflow as tf

    from experiments import build
    from experiments.runs import data
    from experiments.runs.options import Options

    spec = data.of(hparams, Options(output_dir="")).batch_spec(
        hparams.batch_size // num_cores
    )
    return build.model(hparams), {
        name: tf.TensorSpec(*shape_and_type) for name, shape_and_type in spec.items()
    }


def here(hparams):
    """The step of a set on this machine, beside its floor: a JSON-able dict."""
    from deltavae_tf.training import run_folder, tensorflow_engine
    from experiments.runs import costs, machine

    tensorflow_engine.Engine().prepare()  # As training does.
    model, spec = model_and_spec(hparams)
    counted = costs.of_step(model, spec, has_average=False)
    rates, seconds = machine.measure(hparams.dtype, machine.step(model, spec))
    return {
        "hardware": run_folder.hardware(),
        "rates": dataclasses.asdict(rates),
        "floor": machine.floor(counted, rates, seconds),
    }


def text_here(name, hparams, found):
    """What `here` found, for the terminal."""
    from experiments import terminal

    rates = found["rates"]
    rows = [
        {"of a step": name, "": f"{value:,.4g}{'' if '/' in name else ' ms'}"}
        for name, value in found["floor"].items()
    ]
    return "\n".join(
        [
            f"{name} ({hparams.dtype}), {hparams.batch_size} examples, on "
            f"{found['hardware']}",
            f"Measured here: products {rates['product_flops'] / 1e9:,.0f} GFLOP/s and "
            f"convolutions {rates['convolution_flops'] / 1e9:,.0f} ({rates['dtype']}), "
            f"memory {rates['bytes_per_second'] / 1e9:,.1f} GB/s",
            "",
            terminal.rows(rows),
        ]
    )


def report(found, rates):
    """The numbers of a plan: dict of what is printed.

    Args:
      found: `costs.Costs`.
      rates: dict from a name to (operations/s, bytes/s, bytes of memory or None).
    """
    times = {}
    for name, (flops, bandwidth, memory) in rates.items():
        needed = found.state_bytes + found.activation_bytes
        times[name] = {
            "ms_fused": 1e3 * found.seconds(flops, bandwidth),
            "ms_unfused": 1e3 * found.seconds(flops, bandwidth, fused=False),
            "fits": None if memory is None else needed < memory,
        }
    return {
        "parameters": found.parameters,
        "matrix_operations": found.flops(matrix=True),
        "other_operations": found.flops(matrix=False),
        "matrix_bytes": found.bytes(matrix=True),
        "other_bytes": found.bytes(matrix=False),
        "update_bytes": found.update_bytes,
        "state_bytes": found.state_bytes,
        "activation_bytes": found.activation_bytes,
        "step": times,
    }


def text(name, hparams, num_cores, plan):
    """The plan for the terminal."""
    from experiments import terminal

    size = hparams.batch_size // num_cores
    state, activations = plan["state_bytes"], plan["activation_bytes"]
    counts = [
        (
            "operations",
            f"{plan['matrix_operations'] / 1e9:,.1f} GFLOP in products and "
            f"convolutions, {plan['other_operations'] / 1e9:,.1f} elsewhere",
        ),
        (
            "bytes",
            f"{plan['matrix_bytes'] / 1e9:,.2f} GB for these, "
            f"{plan['update_bytes'] / 1e9:,.2f} GB for the update of the weights, "
            f"{plan['other_bytes'] / 1e9:,.2f} GB elsewhere if nothing is fused",
        ),
        (
            "memory",
            f"{(state + activations) / 1e9:,.2f} GB: "
            f"{state / 1e9:,.2f} of weights, gradients, moments and average, "
            f"{activations / 1e9:,.2f} of activations",
        ),
        ("all-reduce", f"{4 * plan['parameters'] / 1e9:,.2f} GB of gradients"),
    ]
    rows = [
        {
            "at peak rates": device,
            "ms, all fused": times["ms_fused"],
            "ms, nothing fused": times["ms_unfused"],
            "fits": {None: "?", True: "yes", False: "no"}[times["fits"]],
        }
        for device, times in plan["step"].items()
    ]
    return f"""\
{name} ({hparams.dtype}): {plan["parameters"]:,} parameters
A step on one of {num_cores} cores, {size} of {hparams.batch_size} examples:
{terminal.listing(counts)}

{terminal.rows(rows)}

Lower bounds: no device reaches its peak rates, and neither the all-reduce nor the \
data pipeline is in them."""


def main(_):
    """Counts and prints."""
    from deltavae_tf import errors
    from experiments import quiet

    if (_PEAK.value is None) != (_MEMORY.value is None):
        raise errors.UserError(
            "--peak_tflops and --memory_gbs go together: give both. "
            f"Received: {_PEAK.value} and {_MEMORY.value}"
        )
    rates = RATES
    if _PEAK.value is not None:
        if not (_PEAK.value > 0 and _MEMORY.value > 0):
            raise errors.UserError(
                "--peak_tflops and --memory_gbs must be above 0. "
                f"Received: {_PEAK.value} and {_MEMORY.value}"
            )
        rates = {"given rates": (_PEAK.value * 1e12, _MEMORY.value * 1e9, None)}
    hparams = flags.hparams()
    quiet.libraries(info=False)
    asked = {
        "hparams_set": FLAGS.hparams_set or FLAGS.problem,
        "dtype": hparams.dtype,
        "batch_size": hparams.batch_size,
        "cores": 1 if _HERE.value else FLAGS.tpu_num_shards,
    }
    if _HERE.value:
        if FLAGS["tpu_num_shards"].present and FLAGS.tpu_num_shards != 1:
            raise errors.UserError(
                "--here measures a whole batch on the machine at hand: leave out "
                f"--tpu_num_shards. Received: {FLAGS.tpu_num_shards}"
            )
        plan = here(hparams)
        words = text_here(asked["hparams_set"], hparams, plan)
    else:
        plan = report(count(hparams, asked["cores"]), rates)
        words = text(asked["hparams_set"], hparams, asked["cores"], plan)
    print(json.dumps({**asked, **plan}, indent=1) if _JSON.value else words)


if __name__ == "__main__":
    flags.run(main, (*flags.CHOICE, "tpu_num_shards"))
