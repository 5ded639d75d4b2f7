"""Sets of hyper-parameters for text: Table 5, and small ones."""

from experiments.sets import fields, registry, run_hparams

run_hparams.add_kind(
    run_hparams.Kind(
        "text",
        fields={
            "max_length": fields.training(
                256, "tokens of a training row, and of a sampled sentence", low=2
            ),
            "packed": fields.training(
                False, "sentences on end fill a row, or one a row"
            ),
        },
        # Defaults of all else are those of Table 5.
        defaults={
            "prior": "ar1",
            "posterior": "mean_field",
            "objective": "elbo",
            "encoder": "transformer",
            "decoder": "transformer",
            "num_heads": 8,
            "latent_channels": 2,
            "alpha_min": 0.2,
            "alpha_max": 0.4,
            "auxiliary_units": 512,
            "dropout": 0.1,
        },
    )
)


@registry.register("lm1b")
def lm1b():
    """Table 5: LM1B, a sentence a row; 3.58 nats/token with the auxiliary prior."""
    return run_hparams.make(
        "lm1b",
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
    return run_hparams.make(
        "lm1b",
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


def _register_slow(name, base, num_steps):
    @registry.register(name)
    def slow():
        # As for images: slow latents carry information at a low price, large means at
        # the start let the decoder meet it early, and a rate that counts little at
        # first leaves it time to learn what they say.
        return registry.based_on(
            base,
            latent_channels=2, alpha_min=0.9, alpha_max=0.99, initial_loc_scale=10.0,
            objective="kl_annealing", anneal_steps=num_steps // 4,
            decay_steps=num_steps, train_steps=num_steps, eval_every=500,
        )  # fmt: skip

    slow.__doc__ = f"{base} with slow latents, which can say something. Ours."


_register_slow("lm1b_slow", "lm1b_small", 3000)
_register_slow("documents_slow", "documents", 1000)


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
