"""Text experiments: their hyper-parameters, and the sets of Table 5."""

import dataclasses

from data import lm1b_shards
from experiments import registry, training_fields

_IMAGES_ONLY = ("independent_delta_vae", "free_bits_per_channel", "geco")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextHparams(training_fields.TrainingHparams):
    """A delta-VAE of sentences; the defaults are those of Table 5."""

    problem: str = registry.architecture(
        "lm1b", "the data set", choices=("documents", "lm1b")
    )
    train_files: str = registry.training(
        lm1b_shards.TRAIN_FILES, "lm1b: pattern of the shards to train on"
    )
    eval_files: str = registry.training(
        lm1b_shards.TEST_FILES, "lm1b: pattern of the test shards"
    )
    vocabulary_size: int = registry.architecture(
        32_768, "subwords, bytes and PAD, EOS", low=260
    )
    layers: int = registry.architecture(4, "l, of encoder and decoder", low=1)
    width: int = registry.architecture(512, "h, channels", low=2)
    filter_size: int = registry.architecture(2048, "r, feed-forward width", low=1)
    num_heads: int = registry.architecture(8, "attention heads", low=1)
    latent_channels: int = registry.architecture(2, "z, latents of each token", low=1)
    alpha_min: float = registry.architecture(
        0.2, "AR(1) of the fastest latent", low=0, below=1
    )
    alpha_max: float = registry.architecture(
        0.4, "AR(1) of the slowest latent", low=0, below=1
    )
    auxiliary_units: int = registry.architecture(
        512, "h_aux, LSTM of the auxiliary prior", low=1
    )
    dropout: float = registry.training(0.1, "in the decoder", low=0, below=1)
    max_length: int = registry.training(
        256, "tokens of a training row, and of a sampled sentence", low=2
    )
    packed: bool = registry.training(False, "sentences on end fill a row, or one a row")
    batch_size: int = registry.training(
        64, "training rows a step, over all replicas", low=1
    )
    num_held_out: int = registry.training(
        1000, "training sentences kept for evaluation without the test set", low=1
    )
    eval_batch_size: int = registry.free(64, "rows of max_length tokens", low=1)

    def __post_init__(self):
        super().__post_init__()
        if self.method in _IMAGES_ONLY or self.trained_part != "all":
            raise ValueError(
                f"method={', '.join(_IMAGES_ONLY)} and trained_part=auxiliary_prior "
                "are there for images only. Received: "
                f"method={self.method}, trained_part={self.trained_part}"
            )
        if self.width % self.num_heads:
            raise ValueError(
                "'width' must be a multiple of 'num_heads'. "
                f"Received: {self.width} and {self.num_heads}"
            )
        if self.target_rate_bits:
            raise ValueError(
                "'target_rate_bits' has no meaning for sentences, whose committed rate "
                "grows with their length: set alpha_min and alpha_max. "
                f"Received: {self.target_rate_bits}"
            )

    @classmethod
    def problems(cls):
        """The names of the text data sets: tuple of str."""
        return cls.__dataclass_fields__["problem"].metadata["choices"]

    @property
    def decoder_width(self):
        """int, what the paper's learning-rate schedule calls h_d."""
        return self.width


@registry.register("lm1b")
def lm1b():
    """Table 5: LM1B, a sentence a row; 3.58 nats/token with the auxiliary prior."""
    return TextHparams(
        layers=4, width=512, filter_size=2048, num_heads=8, dropout=0.1,
        latent_channels=2, alpha_min=0.2, alpha_max=0.4,
        # Ours, since the paper has none: Tensor2Tensor's schedule (2 h^-.5 at a
        # warm-up of 8,000 steps) peaks at 1e-3; ours decays by a cosine.
        learning_rate_schedule="warmup_cosine", learning_rate=1e-3,
        warmup_steps=8000, decay_steps=250_000, ema_decay=0.9999,
        eval_batch_size=16, eval_steps=20,
    )  # fmt: skip


@registry.register("lm1b_packed")
def lm1b_packed():
    """Table 5: LM1B, rows of 256 tokens filled with sentences (T2T's `_packed`)."""
    return registry.based_on("lm1b", packed=True, batch_size=32)


@registry.register("lm1b_small")
def lm1b_small():
    """LM1B's first shard on a laptop's CPU: 1.7 M parameters, minutes. Ours."""
    return TextHparams(
        train_files="news.en-00001-of-00100", vocabulary_size=4096,
        layers=2, width=128, filter_size=512, num_heads=4, auxiliary_units=64,
        dropout=0.0, packed=True, max_length=128, batch_size=16,
        learning_rate_schedule="warmup_cosine", learning_rate=2e-3,
        warmup_steps=100, decay_steps=700, ema_decay=0.99,
        train_steps=700, eval_every=350, eval_steps=4, eval_batch_size=16,
    )  # fmt: skip


@registry.register("documents")
def documents():
    """Python's language reference, embedded: minutes on a laptop. Ours."""
    return registry.based_on(
        "lm1b_small",
        problem="documents", vocabulary_size=2048, batch_size=8, dropout=0.1,
        num_held_out=200, decay_steps=400, train_steps=400, eval_every=200,
    )  # fmt: skip


@registry.register("documents_tiny")
def documents_tiny():
    """Python's language reference for tests: seconds, no use otherwise. Ours."""
    return registry.based_on(
        "documents",
        vocabulary_size=512, layers=1, width=16, filter_size=32, num_heads=2,
        auxiliary_units=8, dropout=0.0, max_length=32, batch_size=4,
        eval_batch_size=4, warmup_steps=2, decay_steps=10, train_steps=10,
        eval_every=5, eval_steps=2,
    )  # fmt: skip


def _register_twins(name):
    @registry.register(f"{name}_standard_normal")
    def standard_normal():
        return registry.based_on(name, method="vae")

    @registry.register(f"{name}_no_latents")
    def no_latents():
        return registry.based_on(name, method="autoregressive")

    standard_normal.__doc__ = (
        f"{name} with a standard normal prior: the plain VAE. Ours."
    )
    no_latents.__doc__ = f"{name} without latents: the autoregressive twin. Ours."


for _name in ("lm1b", "lm1b_small", "documents"):
    _register_twins(_name)
