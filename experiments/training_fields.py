"""The hyper-parameters that every experiment has: latents, optimizer, how long."""

import dataclasses

from experiments import registry

# The methods, and the fields of the objective that each of them needs.
_READS = {
    "delta_vae": (),
    "independent_delta_vae": (),
    "vae": (),
    "beta_vae": ("beta",),
    "free_bits": ("free_bits",),
    "free_bits_per_channel": ("free_bits",),
    "kl_annealing": ("anneal_steps",),
    "geco": ("geco_distortion_bpd",),
    "autoregressive": (),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingHparams(registry.Hparams):
    """Latents and their priors, the optimizer, lengths; a kind of data adds a model."""

    method: str = registry.architecture(
        "delta_vae",
        "the delta-VAE, or what it is compared with",
        choices=tuple(_READS),
    )
    latent_channels: int = registry.architecture(32, "z, latents of each row", low=1)
    alpha_min: float = registry.architecture(
        0.5, "AR(1) of the fastest latent", low=0, below=1
    )
    alpha_max: float = registry.architecture(
        0.7622, "AR(1) of the slowest latent", low=0, below=1
    )
    target_rate_bits: float = registry.architecture(
        0.0,
        "> 0: commit to these bits per example, by solving alpha_max; the independent "
        "delta-VAE, which has no alpha, otherwise commits what alpha would",
        low=0,
    )
    auxiliary_units: int = registry.architecture(
        1024, "h_aux, LSTM of the auxiliary prior", low=1
    )

    beta: float = registry.training(1.0, "beta_vae: the rate's weight", low=0)
    free_bits: float = registry.training(
        0.0, "free_bits, ..._per_channel: bits per example that cost nothing", low=0
    )
    anneal_steps: int = registry.training(
        0, "kl_annealing: the step where the rate has weight 1", low=0
    )
    geco_distortion_bpd: float = registry.training(
        0.0, "geco: the distortion to reach, bits/dim of training images", low=0
    )
    geco_speed: float = registry.training(
        0.1, "geco: of the multiplier; see objectives.GECO", low=0
    )

    trained_part: str = registry.training(
        "all",
        "auxiliary_prior: encoder and decoder stay as they are",
        choices=("all", "auxiliary_prior"),
    )
    dropout: float = registry.training(0.2, "in the decoder", low=0, below=1)
    batch_size: int = registry.training(
        64, "training examples a step, over all replicas", low=1
    )
    learning_rate_schedule: str = registry.training(
        "constant",
        "see training/schedules.py",
        choices=("constant", "paper", "paper_continuous", "warmup_cosine"),
    )
    learning_rate: float = registry.training(
        1e-4, "constant and warmup_cosine: the (highest) rate", low=0
    )
    learning_rate_floor: float = registry.training(
        0.0, "warmup_cosine: the last rate", low=0
    )
    learning_rate_scale: float = registry.training(
        0.36, "paper: the factor in front", low=0
    )
    warmup_steps: int = registry.training(8000, "all but constant", low=0)
    decay_steps: int = registry.training(
        250_000, "warmup_cosine: the step of the floor", low=1
    )
    adam_beta_1: float = registry.training(0.9, "Adam", low=0, below=1)
    adam_beta_2: float = registry.training(0.98, "Adam", low=0, below=1)
    adam_epsilon: float = registry.training(1e-9, "Adam", low=0)
    clip_norm: float = registry.training(0.0, "of the whole gradient; 0 is off", low=0)
    ema_decay: float = registry.training(
        0.999, "of the average of weights; 0 is off", low=0, below=1
    )
    dtype: str = registry.training(
        "float32",
        "of the computation; weights are float32",
        choices=("float32", "mixed_bfloat16"),
    )

    train_steps: int = registry.free(250_000, "unless --train_steps says", low=1)
    eval_every: int = registry.free(
        1000, "steps, unless --local_eval_frequency says", low=1
    )
    eval_steps: int | None = registry.free(
        None, "batches of an evaluation during training; none: all", low=1
    )
    eval_batch_size: int = registry.free(64, "examples", low=1)

    def __post_init__(self):
        super().__post_init__()
        if self.alpha_min > self.alpha_max and not self.target_rate_bits:
            raise ValueError(
                "'alpha_min' must not exceed 'alpha_max'. "
                f"Received: {self.alpha_min} and {self.alpha_max}"
            )
        self._check_method()
        cosine = self.learning_rate_schedule == "warmup_cosine"
        if cosine and self.decay_steps <= self.warmup_steps:
            raise ValueError(
                "'decay_steps' must exceed 'warmup_steps'. "
                f"Received: {self.decay_steps} and {self.warmup_steps}"
            )

    def _check_method(self):
        """A number that the method needs or does not read is a mistake: say so."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in sorted({name for names in _READS.values() for name in names}):
            readers = [method for method, names in _READS.items() if name in names]
            value, given = getattr(self, name), getattr(self, name) != defaults[name]
            if given and self.method not in readers:
                raise ValueError(
                    f"{name!r} is read by method={' and '.join(readers)} only. "
                    f"Received: {name}={value} with method={self.method}"
                )
            if not given and self.method in readers and name != "beta":
                raise ValueError(
                    f"method={self.method} needs {name!r}. Received: {value}"
                )
        commits = self.method in ("delta_vae", "independent_delta_vae")
        if self.target_rate_bits and not commits:
            raise ValueError(
                "'target_rate_bits' is what a delta-VAE commits. Received: "
                f"target_rate_bits={self.target_rate_bits} with method={self.method}"
            )

    @property
    def use_latents(self):
        """bool, False for the decoder alone."""
        return self.method != "autoregressive"
