"""Our latent-free image decoder as one would write it in PyTorch, for the benchmark.

Activations are `[B, H, W, C]` throughout, so that convolutions see them channels last.
Modules are named as our layers are: `copy_weights` finds each by its path. It shares no
code with `deltavae_tf`.
"""

import torch
from torch import nn
from torch.nn import functional

MIN_LOG_SCALE, MAX_LOG_SCALE = -7.0, 20.0


class Conv(nn.Module):
    """A convolution whose window ends at its own row, or at its own pixel."""

    def __init__(self, inputs, outputs, window, padding):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, window)
        self.padding = (0, 0, *padding)  # Of the last axis first: C, then W, then H.

    def forward(self, x):
        """`[B, H, W, inputs]` -> `[B, H, W, outputs]`."""
        x = functional.pad(x, self.padding)
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def vertical(inputs, outputs):
    """The row above and its own, three pixels wide."""
    return Conv(inputs, outputs, (2, 3), (1, 1, 1, 0))


def horizontal(inputs, outputs):
    """The pixel to the left and its own."""
    return Conv(inputs, outputs, (1, 2), (1, 0, 0, 0))


def norm(width):
    """Layer norm with the epsilon of ours."""
    return nn.LayerNorm(width, eps=1e-6)


def gate(x):
    """tanh(a) * sigmoid(b) of the halves of the last axis."""
    a, b = x.chunk(2, dim=-1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    """Vertical stack feeds horizontal stack."""

    def __init__(self, width):
        super().__init__()
        self.vertical_norm, self.horizontal_norm = norm(width), norm(width)
        self.vertical = vertical(width, 2 * width)
        self.horizontal = horizontal(width, 2 * width)
        self.across = nn.Linear(2 * width, 2 * width)
        self.project = nn.Linear(width, width)

    def forward(self, v, h):
        """Both stacks, `[B, H, W, width]` each."""
        rows = self.vertical(self.vertical_norm(v))
        pixels = self.horizontal(self.horizontal_norm(h))
        return gate(rows), h + self.project(gate(pixels + self.across(rows)))


class Attention(nn.Module):
    """Causal self-attention; queries and keys know their places."""

    def __init__(self, width, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, keyed, values):
        """`[B, K, width]`, `[B, K, width]` -> `[B, K, width]`."""
        heads = [
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.query(keyed), self.key(keyed), self.value(values))
        ]
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Self-attention and a feed-forward network, each followed by layer norm."""

    def __init__(self, width, filter_size, num_heads, signal):
        super().__init__()
        self.register_buffer("signal", signal)
        self.self_attention = Attention(width, num_heads)
        self.self_norm, self.forward_norm = norm(width), norm(width)
        self.expand = nn.Linear(width, filter_size)
        self.contract = nn.Linear(filter_size, width)

    def forward(self, h):
        """`[B, H, W, width]` -> the same."""
        shape = h.shape
        h = h.flatten(1, 2)
        h = self.self_norm(h + self.self_attention(h + self.signal.to(h.dtype), h))
        h = self.forward_norm(h + self.contract(functional.relu(self.expand(h))))
        return h.view(shape)


class Stack(nn.Module):
    """Gated convolutions with blocks of attention before the layers of `blocks`."""

    def __init__(self, num_layers, width, channels, blocks):
        super().__init__()
        self.vertical_stem = vertical(channels + 1, width)
        self.horizontal_stem = horizontal(channels + 1, width)
        self.across = nn.Linear(width, width)
        self.num_layers = num_layers
        for i in range(num_layers):
            setattr(self, f"layer_{i}", GatedLayer(width))
        for place, block in blocks.items():
            setattr(self, f"block_{place}", block)

    def forward(self, x):
        """Image in [-1, 1], `[B, H, W, C]` -> `[B, H, W, width]`."""
        image = functional.pad(x, (0, 1), value=1.0)
        rows = functional.pad(image, (0, 0, 0, 0, 1, 0))[:, :-1]
        pixels = functional.pad(image.flatten(1, 2), (0, 0, 1, 0))[:, :-1]
        v = self.vertical_stem(rows)
        h = self.horizontal_stem(pixels.reshape(image.shape)) + self.across(v)
        for i in range(self.num_layers + 1):
            if hasattr(self, f"block_{i}"):
                h = getattr(self, f"block_{i}")(h)
            if i < self.num_layers:
                v, h = getattr(self, f"layer_{i}")(v, h)
        return h


class Decoder(nn.Module):
    """log p(x) of images of three channels and 256 levels.

    Args:
      num_layers: int.
      width: int.
      filter_size: int.
      num_mixtures: int.
      num_heads: int.
      signals: dict: place of an attention block -> float `[H * W, width]`, where its
        pixels are.
      dtype: torch.float32, or torch.bfloat16 for autocast.
    """

    def __init__(
        self, num_layers, width, filter_size, num_mixtures, num_heads, signals, dtype
    ):
        super().__init__()
        blocks = {
            place: Block(width, filter_size, num_heads, torch.tensor(signal))
            for place, signal in signals.items()
        }
        self.dtype, self.num_mixtures = dtype, num_mixtures
        self.stack = Stack(num_layers, width, 3, blocks)
        self.norm = norm(width)
        self.head = nn.Linear(width, 10 * num_mixtures)
        self.to(memory_format=torch.channels_last)

    def forward(self, x):
        """uint8 `[B, H, W, 3]` -> -log p, float32 `[B]`, nats."""
        values = x.float() - 127.5
        with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
            h = self.stack(values / 127.5)
        parameters = self.head(self.norm(h.float()))
        return -log_prob(parameters, values, self.num_mixtures).sum(dim=(1, 2))


def log_prob(parameters, values, num_mixtures):
    """Discretized mixture of logistics (PixelCNN++): float32 `[B, H, W]`, nats.

    Args:
      parameters: float32 `[B, H, W, 10 K]`: logits, means, scales, coefficients.
      values: float32 `[B, H, W, 3]`, pixels less 127.5.
      num_mixtures: int, K.
    """
    k = num_mixtures
    logits, *blocks = parameters.split([k, 3 * k, 3 * k, 3 * k], dim=-1)
    loc, log_scale, coefficients = (x.unflatten(-1, (3, k)) for x in blocks)
    weights = torch.tanh(coefficients)
    x = values[..., None]
    red, green = x[..., 0, :], x[..., 1, :]
    shift = [
        torch.zeros_like(loc[..., 0, :]),
        weights[..., 0, :] * red,
        weights[..., 1, :] * red + weights[..., 2, :] * green,
    ]
    mean = 127.5 * loc + torch.stack(shift, dim=-2)
    width = torch.exp(-log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)) / 127.5
    z = (x - mean) * width
    below_top, above_bottom = (x < 127.5).float(), (x > -127.5).float()
    log_mass = (
        torch.log(-torch.expm1(-width)) * (below_top * above_bottom)
        - functional.softplus(-(z + 0.5 * width)) * below_top
        - functional.softplus(z - 0.5 * width) * above_bottom
    )
    weighed = torch.log_softmax(logits, dim=-1) + log_mass.sum(dim=-2)
    return torch.logsumexp(weighed, dim=-1)


_NAMES = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}


def parameter(decoder, path):
    """The parameter that a Keras variable's path names, from behind `decoder/`."""
    *parts, kind = [part for part in path.split("/") if part != "weights"]
    module = decoder.get_submodule(".".join(parts))
    return getattr(module.conv if isinstance(module, Conv) else module, _NAMES[kind])


def turned(array):
    """A Keras kernel as PyTorch has it, and back: NumPy."""
    axes = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[array.ndim]
    return array.transpose(axes)


def copy_weights(decoder, weights):
    """Sets every parameter.

    Args:
      decoder: `Decoder`.
      weights: dict: path of a Keras variable -> NumPy array.
    """
    left = {name for name, _ in decoder.named_parameters()}
    names = {id(p): name for name, p in decoder.named_parameters()}
    with torch.no_grad():
        for path, array in weights.items():
            found = parameter(decoder, path)
            found.copy_(torch.from_numpy(turned(array).copy()))
            left.remove(names[id(found)])
    if left:
        raise ValueError(f"No weights for {sorted(left)}")


def train_step(decoder, images, optimizer, compiled):
    """A function to time: forward, backward and the optimizer; gives the loss, nats."""
    forward = torch.compile(decoder) if compiled else decoder

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = forward(images).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
