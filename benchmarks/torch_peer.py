r"""Our training step beside the same decoder in PyTorch.

  taskset -c 1 python -m benchmarks.torch_peer      # one core
  python -m benchmarks.torch_peer --models attention_small --parts step

Parts:
  step       a training step of the latent-free decoder (forward, backward, fused Adam)
             in PyTorch, eager and by torch.compile, float32 and bfloat16 (autocast),
             channels last; ours in float32 and mixed_bfloat16. The weights are
             copied, and log-likelihoods and gradients in float32 must agree first.
  attention  causal attention alone, forward and backward, ours and PyTorch's
             scaled_dot_product_attention, beside its products with nothing between.
             `again`: ours when it computes its weights again for the gradient; `wide`:
             when it also has them in float32 whatever the dtype (a step too).

All of a table are called in turn. Both sides have as many threads as this process has
cores. Leave the machine alone meanwhile. Needs benchmarks/requirements.txt.
"""

import contextlib
import os
import time
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks import command, ours, timing
from deltavae_tf import backend
from deltavae_tf.layers import attention as attention_layers
from deltavae_tf.layers import attention_core
from deltavae_tf.training import run_folder

MODELS = ("cifar10_small", "attention_small")
PARTS = ("step", "attention")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
TOLERANCE = 1e-4  # Relative, of log-likelihoods; of gradients ten times that.


@contextlib.contextmanager
def form(name):
    """Context in which attention is traced in one of its forms.

    Args:
      name: "ours", as it is here; "again" and "wide", see above.
    """
    with contextlib.ExitStack() as stack:
        if name != "ours":
            stack.enter_context(attention_core.computing_again())
        if name == "wide":
            patch = mock.patch.object(backend, "has_narrow_softmax", lambda: False)
            stack.enter_context(patch)
        yield


def make(name, image_shape, dtype="float32"):
    """Our latent-free model, every weight moved from where it starts.

    Gains that start at 1 and biases that start at 0 would hide a wrong copy.
    """
    model = ours.make(name, image_shape, method="autoregressive", dtype=dtype)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        noise = 0.05 * rng.normal(size=variable.shape)
        variable.assign(variable + noise.astype("float32"))
    return model


def weights_of(model):
    """dict: path behind `decoder/` -> NumPy array."""
    return {_path(v): np.asarray(v) for v in model.trainable_variables}


def _path(variable):
    return variable.path.partition("decoder/")[2]


def translated(name, model, dtype="float32"):
    """The PyTorch decoder with the weights of ours."""
    import torch

    from benchmarks import torch_decoder

    hparams = ours.settings(name)
    signals = {
        place: block._pixel_signal.reshape((-1, hparams.decoder_width))
        for place, block in model.decoder.stack.blocks.items()
    }
    decoder = torch_decoder.Decoder(
        hparams.decoder_layers,
        hparams.decoder_width,
        hparams.decoder_filter,
        hparams.num_mixtures,
        hparams.num_heads,
        signals,
        getattr(torch, dtype),
    )
    torch_decoder.copy_weights(decoder, weights_of(model))
    return decoder


def compare(model, decoder, images):
    """How far our model and its translation are apart: a dict of floats.

    Returns:
      `log_likelihood`, the largest relative difference of an image; `gradient`, that of
      a weight's gradient by its Euclidean norm; `bits_per_dim` of both.
    """
    import torch

    from benchmarks import torch_decoder

    def loss():
        nats = model({"image": images}, training=True)["distortion"]
        return backend.ops.mean(nats), nats

    _, found, nats = backend.graph(
        lambda: backend.value_and_gradients(
            loss, model.trainable_variables, model.non_trainable_variables
        )
    )()
    decoder.zero_grad(set_to_none=True)
    theirs = decoder(torch.from_numpy(images))
    theirs.mean().backward()
    whole, gaps = float(backend.norm(found)), []
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        there = torch_decoder.parameter(decoder, _path(variable)).grad.numpy()
        here = torch_decoder.turned(np.asarray(gradient))
        # That of a key's bias is 0 but for rounding.
        size = max(np.linalg.norm(here), 1e-3 * whole)
        gaps.append(np.linalg.norm(here - there) / size)
    nats, theirs = np.asarray(nats), theirs.detach().numpy()
    per_dim = np.log(2) * np.prod(images.shape[1:])
    return {
        "log_likelihood": float(np.max(np.abs(nats - theirs) / nats)),
        "gradient": float(max(gaps)),
        "bits_per_dim": {
            "ours": float(nats.mean() / per_dim),
            "torch": float(theirs.mean() / per_dim),
        },
    }


def check(apart):
    """Refuses to go on if what is to be timed is not the same model."""
    gaps = {"log_likelihood": TOLERANCE, "gradient": 10 * TOLERANCE}
    for key, most in gaps.items():
        if not apart[key] <= most:
            raise ValueError(
                f"Ours and PyTorch's differ: `{key}` must be at most {most}. "
                f"Received: {apart[key]}"
            )


def steps(name, image_shape, batch_size, rounds, clock=time.perf_counter):
    """Times of training steps: a dict, of which `check` has approved."""
    import torch

    from benchmarks import torch_decoder

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, *image_shape), "uint8")
    found, functions = {"differences": {}}, {}
    for dtype, policy in DTYPES.items():
        model = make(name, image_shape, policy)
        decoder = translated(name, model, dtype)
        apart = compare(model, decoder, images)
        if dtype == "float32":
            check(apart)
        found["differences"][dtype] = apart
        found["num_parameters"] = ours.num_parameters(model)
        has_attention = bool(model.decoder.num_attention)
        for kind in ("ours", "wide") if has_attention else ("ours",):
            functions[f"{kind}_{dtype}"] = _our_step(model, images, kind)
        for kind in ("eager", "compiled"):
            decoder = translated(name, model, dtype)
            hparams = ours.settings(name)
            optimizer = torch.optim.Adam(
                decoder.parameters(),
                betas=(hparams.adam_beta_1, hparams.adam_beta_2),
                eps=hparams.adam_epsilon,
                fused=True,
            )
            functions[f"torch_{kind}_{dtype}"] = torch_decoder.train_step(
                decoder, torch.from_numpy(images), optimizer, kind == "compiled"
            )
    seconds = timing.in_turn(functions, rounds, clock)
    found |= {key: timing.summary(value) for key, value in seconds.items()}
    for dtype in DTYPES:
        here = found[f"ours_{dtype}"]
        peers = [found[f"torch_{kind}_{dtype}"] for kind in ("eager", "compiled")]
        best = min(peers, key=lambda x: x["median_s"])
        found[f"ours_over_torch_{dtype}"] = timing.ratio(here, best)
        if has_attention:
            found[f"ours_over_wide_{dtype}"] = timing.ratio(
                here, found[f"wide_{dtype}"]
            )
    found["ours_bfloat16_over_float32"] = timing.ratio(
        found["ours_bfloat16"], found["ours_float32"]
    )
    return found


def _our_step(model, images, kind="ours"):
    """As the loop compiles it."""
    model.optimizer.build(model.trainable_variables)
    step = backend.graph(model.train_step)
    batch = {"image": backend.ops.convert_to_tensor(images)}
    with form(kind):
        step(batch)  # Traces.
    return lambda: float(step(batch)["loss"])


def attention(
    num_pixels, batch_size, num_heads, width, rounds, clock=time.perf_counter
):
    """Times of causal attention, forward alone and with its gradient: a dict.

    Args:
      num_pixels: int, queries and keys.
      batch_size: int.
      num_heads: int.
      width: int, channels of a head.
      rounds: int.
      clock: as for `timing.measure`.
    """
    import tensorflow as tf
    import torch

    layer = attention_layers.MultiHeadAttention(
        num_heads, num_heads * width, causal=True
    )
    rng = np.random.default_rng(0)
    # As projections give them: heads beside each other in the last axis.
    arrays = rng.normal(size=(4, batch_size, num_pixels, num_heads * width))
    functions = {}

    def ours_at(dtype, kind):
        tensors = [tf.cast(tf.constant(x, "float32"), dtype) for x in arrays]

        def forward(q, k, v):
            heads = [
                tf.reshape(x, (batch_size, num_pixels, num_heads, width))
                for x in (q, k, v)
            ]
            return tf.reshape(layer._attend(*heads, None, None), q.shape)

        @tf.function(autograph=False)
        def both(q, k, v, upstream):
            with tf.GradientTape() as tape:
                tape.watch((q, k, v))
                mixed = forward(q, k, v)
            return tape.gradient(mixed, (q, k, v), upstream)

        alone = tf.function(forward, autograph=False)
        with form(kind):
            alone(*tensors[:3]), both(*tensors)  # Traces.
        functions[f"{kind}_forward_{dtype}"] = lambda: alone(*tensors[:3]).numpy()
        functions[f"{kind}_both_{dtype}"] = lambda: both(*tensors)[0].numpy()

    def torch_at(dtype):
        tensors = [torch.tensor(x, dtype=getattr(torch, dtype)) for x in arrays]

        def forward(*qkv):
            heads = [x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in qkv]
            mixed = torch.nn.functional.scaled_dot_product_attention(
                *heads, is_causal=True
            )
            return mixed.transpose(1, 2).flatten(2)

        def alone():
            with torch.no_grad():
                forward(*tensors[:3])

        leaves = [x.clone().requires_grad_() for x in tensors[:3]]
        functions[f"torch_forward_{dtype}"] = alone
        functions[f"torch_both_{dtype}"] = lambda: torch.autograd.grad(
            forward(*leaves), leaves, tensors[3]
        )

    for dtype in DTYPES:
        for kind in ("ours", "again", "wide"):
            ours_at(dtype, kind)
        torch_at(dtype)
        alone, both = _products(num_pixels, batch_size * num_heads, width, dtype)
        functions[f"products_forward_{dtype}"] = alone
        functions[f"products_both_{dtype}"] = both
    seconds = timing.in_turn(functions, rounds, clock)
    found = {key: timing.summary(value) for key, value in seconds.items()}
    for kind in ("forward", "both"):
        for dtype in DTYPES:
            here, end = found[f"ours_{kind}_{dtype}"], f"{kind}_{dtype}"
            for name in ("torch", "products", "wide"):
                found[f"ours_over_{name}_{end}"] = timing.ratio(
                    here, found[f"{name}_{end}"]
                )
    # Two products forward, four more with the gradient; a query looks at half of the
    # keys on average.
    product = num_heads * width * batch_size * num_pixels * (num_pixels + 1)
    found["products_flop"] = {"forward": 2 * product, "both": 6 * product}
    return found


def _products(num_pixels, num_matrices, width, dtype):
    """Functions of nothing but the products of attention in our pieces."""
    import tensorflow as tf

    rng = np.random.default_rng(0)

    def numbers(*shape):
        return tf.cast(tf.constant(rng.normal(size=shape), "float32"), dtype)

    size = max(1, attention_core.WEIGHTS_PER_PIECE // num_pixels)
    ends = [*range(size, num_pixels, size), num_pixels]
    heads = [numbers(num_matrices, num_pixels, width) for _ in range(2)]
    pieces = [
        (numbers(num_matrices, end - first, end), first, end)
        for first, end in zip([0, *ends], ends, strict=False)
    ]

    def compute(gradient):
        a, b = heads
        found = []
        for weights, first, end in pieces:
            rows, seen = a[:, first:end], b[:, :end]
            # For outputs; queries, keys and values.
            found.append(tf.matmul(rows, seen, transpose_b=True))
            found.append(tf.matmul(weights, seen))
            if gradient:
                found.append(tf.matmul(rows, a[:, :end], transpose_b=True))
                found.append(tf.matmul(weights, a[:, :end]))
                found.append(tf.einsum("bqk,bqw->bkw", weights, rows))
                found.append(tf.einsum("bqk,bqw->bkw", weights, b[:, first:end]))
        # Waits for all, and reads a number of each.
        return tf.add_n([tf.reshape(x, [-1])[0] for x in found])

    functions = [
        tf.function(lambda gradient=gradient: compute(gradient), autograph=False)
        for gradient in (False, True)
    ]
    return [lambda f=f: float(f()) for f in functions]


def table(found):
    """The lines that a person reads."""
    rows = {k: v for k, v in found.items() if isinstance(v, dict)}
    shown = {k: v for k, v in rows.items() if "median_s" in v or "median" in v}
    width = max(map(len, shown))
    return "\n".join(
        f"  {key.ljust(width)}  {timing.sentence(row)}" for key, row in shown.items()
    )


def main(arguments=None):
    """Measures, prints, writes."""
    parser = command.parser("torch_peer", __doc__.partition("\n")[2])
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--models", nargs="+", choices=sorted(ours.MODELS), default=list(MODELS))
    add("--image_size", type=int, default=32, help="smaller for a quick try")
    add("--batch_size", type=int, default=16)
    add("--pixels", nargs="+", type=int, default=[784, 1024], help="of attention")
    add("--rounds", type=int, default=11, help="of which the median counts")
    add(
        "--clock",
        choices=sorted(CLOCKS),
        default="wall",
        help="cpu: processor seconds, where one core is not free",
    )
    add("--output", default="benchmarks/results/torch_peer.json")
    options = parser.parse_args(arguments)
    sizes = [options.image_size, options.batch_size, options.rounds, *options.pixels]
    if min(sizes) < 1:
        parser.error(f"sizes and rounds must be at least 1. Received: {sizes}")
    found = measure(options)
    if options.output:
        command.write(options.output, found)


def measure(options):
    """All that was asked for: a JSON-able dict."""
    import torch

    from deltavae_tf.training import tensorflow_engine

    tensorflow_engine.Engine().prepare()
    clock = CLOCKS[options.clock]
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    found = {
        "torch": torch.__version__,
        "git_commit": run_folder.versions()["git_commit"],
        "cores": cores,
        "clock": options.clock,
        "batch_size": options.batch_size,
        "image_shape": [options.image_size, options.image_size, 3],
    }
    for part in options.parts:
        found[part] = {}
        if part == "step":
            for name in options.models:
                sizes = tuple(found["image_shape"]), options.batch_size
                row = steps(name, *sizes, options.rounds, clock)
                found[part][name] = row
                print(f"{name}, {row['num_parameters']:,} parameters")
                print(table(row), flush=True)
        else:
            for pixels in options.pixels:
                row = attention(
                    pixels, options.batch_size, 4, 16, options.rounds, clock
                )
                found[part][f"pixels_{pixels}"] = row
                print(f"causal attention, {pixels} pixels, 4 heads of 16 channels")
                print(table(row), flush=True)
    return found


if __name__ == "__main__":
    main()
