"""Lists of settings that are trained side by side, named after what they show.

    sweeps.find("figure4").runs(seeds=[0])

A setting is an hparams set and changes to it. Those of the paper carry its table or
figure; ranges that we chose say "Ours".
"""

import dataclasses
from collections.abc import Iterable

from deltavae_tf import errors
from experiments import sets
from experiments.sets.run_hparams import Hparams

_SWEEPS: dict[str, "Sweep"] = {}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One point of a sweep: a name, an hparams set and changes to it; and the name of
    the setting that is the same decoder alone, over which its gain is told."""

    name: str
    hparams_set: str
    overrides: str = ""
    twin: str = "autoregressive"

    def hparams(self, changes: str = "") -> Hparams:
        """The hyper-parameters, with `changes` such as "train_steps=10" on top."""
        return sets.hparams(self.hparams_set, self.overrides).changed(changes)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Settings of one data set; `meaning` is a line for people."""

    name: str
    meaning: str
    settings: tuple[Setting, ...]

    @property
    def twins(self) -> dict[str, str]:
        """Of each setting that is no decoder alone the name of the one that is."""
        found = {setting.name: setting.twin for setting in self.settings}
        return {k: v for k, v in found.items() if k not in found.values()}

    def runs(self, seeds: Iterable[int]) -> list[tuple[str, Setting, int]]:
        """[(name of the run, `Setting`, seed)], all settings of a seed together."""
        return [
            (f"{setting.name}-seed{seed}", setting, seed)
            for seed in seeds
            for setting in self.settings
        ]


def after_twins(
    runs: list[tuple[str, Setting, int]],
) -> list[tuple[str, Setting, int]]:
    """The runs of `Sweep.runs`, each after its decoder alone."""
    named = {run[0]: run for run in runs}
    found = {}
    for name, setting, seed in runs:
        for each in (f"{setting.twin}-seed{seed}", name):
            if each in named:
                found[each] = named[each]
    return list(found.values())


def find(name: str) -> Sweep:
    """The sweep of a name; a UserError that lists the near ones if there is none."""
    if name not in _SWEEPS:
        raise errors.UserError(
            f"Unknown sweep {name!r}{errors.near(name, _SWEEPS)} "
            f"Known: {', '.join(sorted(_SWEEPS))}. Received: {name!r}"
        )
    return _SWEEPS[name]


def describe() -> list[tuple[str, list[tuple[str, str]]]]:
    """What --list prints: every sweep and, by name, what its settings are."""
    return [
        (
            f"{found.name}: {found.meaning}",
            [(s.name, f"{s.hparams_set} {s.overrides}") for s in found.settings],
        )
        for found in _SWEEPS.values()
    ]


def register(name: str, meaning: str, *settings: Setting) -> None:
    """Makes a sweep known under its name."""
    if name in _SWEEPS:
        raise errors.UserError(
            f"There is a sweep {name!r} already: choose another name. "
            f"Received: {name!r}"
        )
    known = [setting.name for setting in settings]
    if len(set(known)) != len(known):
        raise errors.UserError(
            f"Sweep {name!r} names a setting twice. Received: {known}"
        )
    _SWEEPS[name] = Sweep(name, meaning, settings)


def points(base: str, field: str, values: Iterable, prefix: str, **fixed) -> list:
    """A `Setting` for each value of one field."""
    return [
        Setting(
            f"{prefix}_{value:g}",
            base,
            ",".join(f"{k}={v}" for k, v in {**fixed, field: value}.items()),
        )
        for value in values
    ]


# Figures 4 and 6. alpha_max is Table 4's; the others' ranges are ours, for E.1's "rates
# between 25-100 bits per image". (An N(0, I) prior wants no more than that; what an
# AR(1) prior costs beyond it the auxiliary prior takes back.)
_ABLATION = "cifar10_ablation"
register(
    "figure4",
    "Figures 4 and 6: rate and distortion of delta-VAEs and of what they beat",
    *points(
        _ABLATION, "alpha_max", (0.68, 0.8, 0.88, 0.95, 0.97, 0.99), "delta_vae_alpha"
    ),
    *points(
        _ABLATION, "beta", (0.1, 0.2, 0.4, 0.6, 0.8, 0.9), "beta", method="beta_vae"
    ),
    *points(_ABLATION, "free_bits", (25, 50, 75, 100), "free_bits", method="free_bits"),
    *points(
        _ABLATION,
        "free_bits",
        (25, 50, 75, 100),
        "free_bits_per_channel",
        method="free_bits_per_channel",
    ),
    *points(
        _ABLATION,
        "anneal_steps",
        (10_000, 50_000, 100_000, 200_000),
        "annealing",
        method="kl_annealing",
    ),
    Setting("autoregressive", _ABLATION, "method=autoregressive"),
)
register(
    "collapse",
    "Section 4.3: both encoders without a committed rate, and with one",
    *[
        Setting(f"{name}_{encoder}", _ABLATION, f"encoder={encoder},method={method}")
        for method, name in (("vae", "vae"), ("delta_vae", "delta_vae"))
        for encoder in ("anti_causal", "non_causal")
    ],
)
register(
    "table3",
    "Table 3: independent and temporal delta-VAE at .08 bits/dim",
    Setting("independent", "table3_independent"),
    Setting("temporal", "table3_temporal"),
)
register(
    "table6",
    "Table 6: anti-causal and non-causal encoders at four sizes",
    *[
        Setting(f"{size}_{encoder}", f"table6_{size}{suffix}")
        for size in ("l6", "l8_low", "l8_high", "large")
        for encoder, suffix in (("anti_causal", ""), ("non_causal", "_non_causal"))
    ],
)

# Ours, for two CPU cores: committed rates in bits per image instead of alphas.
_DIGITS = "digits_sweep"
register(
    "digits",
    "sections 2 and 4.3 and appendix D on digits: what collapses, what does not. Ours",
    Setting("vae", _DIGITS, "method=vae"),
    Setting("vae_non_causal", _DIGITS, "method=vae,encoder=non_causal"),
    Setting("delta_vae_20", _DIGITS, "target_rate_bits=20"),
    Setting(
        "delta_vae_20_non_causal", _DIGITS, "target_rate_bits=20,encoder=non_causal"
    ),
    Setting(
        "independent_20", _DIGITS, "method=independent_delta_vae,target_rate_bits=20"
    ),
    Setting("beta_0.1", _DIGITS, "method=beta_vae,beta=0.1"),
    Setting("free_bits_15", _DIGITS, "method=free_bits,free_bits=15"),
)
register(
    "digits_more",
    "further points of the same, of one seed. Ours",
    Setting("delta_vae_10", _DIGITS, "target_rate_bits=10"),
    Setting("beta_0.3", _DIGITS, "method=beta_vae,beta=0.3"),
    Setting(
        "free_bits_per_channel_15",
        _DIGITS,
        "method=free_bits_per_channel,free_bits=15",
    ),
    Setting("annealing_200", _DIGITS, "method=kl_annealing,anneal_steps=200"),
    *points(_DIGITS, "geco_distortion_bpd", (1.8, 1.7), "geco", method="geco"),
    Setting("autoregressive", _DIGITS, "method=autoregressive"),
)
register(
    "digits_tiny",
    "for tests: seconds, no use otherwise. Ours",
    Setting("delta_vae", "digits_tiny"),
    Setting("autoregressive", "digits_tiny", "method=autoregressive"),
)
_SMALL = "cifar10_small"
_SHORT = "train_steps=400,decay_steps=400,warmup_steps=50,ema_decay=0.98,eval_every=400"
register(
    "cifar10_small",
    "the methods on real CIFAR-10, 4 minutes each on one core of a laptop. Ours",
    Setting("delta_vae", _SMALL, _SHORT),  # Commits the set's 79.4 bits.
    Setting("vae", _SMALL, f"{_SHORT},method=vae"),
    Setting("beta_0.1", _SMALL, f"{_SHORT},method=beta_vae,beta=0.1"),
    Setting("free_bits_80", _SMALL, f"{_SHORT},method=free_bits,free_bits=80"),
    Setting("independent", _SMALL, f"{_SHORT},method=independent_delta_vae"),
    Setting("autoregressive", _SMALL, f"{_SHORT},method=autoregressive"),
    Setting("annealing_200", _SMALL, f"{_SHORT},method=kl_annealing,anneal_steps=200"),
    Setting("delta_vae_non_causal", _SMALL, f"{_SHORT},encoder=non_causal"),
    Setting("vae_non_causal", _SMALL, f"{_SHORT},method=vae,encoder=non_causal"),
)
register(
    "cifar10_collapse",
    "both encoders with and without a committed rate, 2,000 steps. Ours",
    Setting("vae", _SMALL, "method=vae"),
    Setting("vae_non_causal", _SMALL, "method=vae,encoder=non_causal"),
    Setting("delta_vae", _SMALL),
    Setting("delta_vae_non_causal", _SMALL, "encoder=non_causal"),
)
_SLOW = "cifar10_slow"
register(
    "cifar10_slow",
    "CIFAR-10 for five epochs: slow latents, and what they cost. Ours",
    Setting("autoregressive", _SLOW, "method=autoregressive"),
    Setting("delta_vae", _SLOW),  # 16 slow channels: commits 249 bits.
    Setting("vae", _SLOW, "prior=standard_normal"),
)
register(
    "cifar10_slow_more",
    "the same of a non-causal encoder. Ours",
    Setting("delta_vae_non_causal", _SLOW, "encoder=non_causal"),
)
_LONG = "train_steps=31250,decay_steps=31250"
register(
    "cifar10_slow_long",
    "the pair of cifar10_slow for ten epochs. Ours",
    Setting("autoregressive", _SLOW, f"{_LONG},method=autoregressive"),
    Setting("delta_vae", _SLOW, f"{_LONG},anneal_steps=25000"),
)
register(
    "cifar10_slow_told",
    "the pair of cifar10_slow, each pixel told its row and column. Ours",
    Setting("autoregressive", _SLOW, "method=autoregressive,position_signal=true"),
    Setting("delta_vae", _SLOW, "position_signal=true"),
)

# Ours. The priors are chosen by the information frontier at n = 14: bits that cost .2
# bits of rate for one more are 69, 35 and 18 with 16, 8 and 4 slow channels, 4 and 7
# with 16 and 32 fast ones.
_FASHION = "fashion_14"
register(
    "fashion_14",
    "Fashion-MNIST at 14x14: what latents carry, slow and fast, and what they cost. "
    "Ours",
    Setting("autoregressive", _FASHION, "method=autoregressive"),
    Setting("delta_vae", _FASHION),  # 8 slow channels: commits 58 bits.
    Setting("vae", _FASHION, "method=vae"),
    Setting("delta_vae_elbo", _FASHION, "objective=elbo"),
)
register(
    "fashion",
    "the same at 28x28. Ours",
    Setting("autoregressive", "fashion", "method=autoregressive"),
    Setting("delta_vae", "fashion"),  # 8 slow channels: commits 110 bits.
    Setting("delta_vae_16", "fashion", "latent_channels=16,anneal_steps=7500"),
    Setting("vae", "fashion", "prior=standard_normal"),
)
register(
    "fashion_more",
    "at 28x28 a non-causal encoder. Ours",
    Setting("delta_vae_non_causal", "fashion", "encoder=non_causal"),
)
register(
    "fashion_14_more",
    "further priors and methods at 14x14, of one seed. Ours",
    Setting("autoregressive", _FASHION, "method=autoregressive"),
    Setting("delta_vae", _FASHION),
    Setting("delta_vae_annealed_longer", _FASHION, "anneal_steps=1000"),
    Setting("vae_annealed", _FASHION, "prior=standard_normal"),
    Setting("delta_vae_slow_low", _FASHION, "latent_channels=4"),
    Setting("delta_vae_slow_high", _FASHION, "latent_channels=16"),
    Setting(
        "delta_vae_fast_low",
        _FASHION,
        "alpha_min=0.3,alpha_max=0.7,latent_channels=16",
    ),
    Setting(
        "delta_vae_fast_high",
        _FASHION,
        "alpha_min=0.3,alpha_max=0.7,latent_channels=32",
    ),
    Setting("delta_vae_non_causal", _FASHION, "encoder=non_causal"),
    Setting("vae_non_causal", _FASHION, "prior=standard_normal,encoder=non_causal"),
    Setting(
        "independent",
        _FASHION,
        "prior=standard_normal,posterior=independent_delta",
    ),
    Setting("beta_0.3", _FASHION, "method=beta_vae,beta=0.3"),
    Setting("free_bits_12", _FASHION, "method=free_bits,free_bits=12"),
    Setting("geco_3.5", _FASHION, "method=geco,geco_distortion_bpd=3.5"),
)
_SIZES = {16: 12, 32: 24, 64: 48}  # Width of the decoder, of the encoder.


def _of_size(name, decoder, steps, more, **kwargs):
    encoder = _SIZES[decoder]
    return Setting(
        f"{name}_{decoder}_{steps}",
        _FASHION,
        f"decoder_width={decoder},decoder_filter={2 * decoder},"
        f"encoder_width={encoder},encoder_filter={2 * encoder},"
        f"train_steps={steps},decay_steps={steps},eval_every={steps},{more}",
        **kwargs,
    )


register(
    "fashion_14_scaling",
    "three widths and three lengths at 14x14: how what latents carry grows. Ours",
    *[
        setting
        for steps in (500, 1000, 2000)
        for width in _SIZES
        for setting in (
            _of_size("autoregressive", width, steps, "method=autoregressive"),
            _of_size(
                "delta_vae",
                width,
                steps,
                f"anneal_steps={steps // 4}",
                twin=f"autoregressive_{width}_{steps}",
            ),
        )
    ],
)
register(
    "lm1b_slow",
    "sentences of LM1B: slow latents, and what they cost. Ours",
    Setting("autoregressive", "lm1b_slow", "method=autoregressive"),
    Setting("delta_vae", "lm1b_slow"),
    Setting("vae", "lm1b_slow", "prior=standard_normal,latent_channels=4"),
)
