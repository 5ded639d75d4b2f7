"""The registry: the paper's numbers, and errors that say what would do."""

import dataclasses
import json
import math

import numpy as np
import pytest

from experiments import build, sweeps
from experiments import hparams as registry
from experiments import registry as machinery

ALL = registry.names()


def committed_bits(hparams, rows=32):
    """Eq. 1 in float64, bits per image."""
    alpha = np.linspace(hparams.alpha_min, hparams.alpha_max, hparams.latent_channels)
    nats = (rows - 2) * np.log1p(alpha**2) - np.log1p(-(alpha**2))
    return 0.5 * nats.sum() / math.log(2)


@pytest.mark.parametrize(
    "name, bits",
    [
        ("imagenet32_best", 158.303),
        ("cifar10_best", 68.785),
        ("cifar10_ablation", 245.76),
        ("table6_l6", 79.447),
        ("table6_l8_low", 79.447),
        ("table6_l8_high", 666.629),
        ("table6_large_non_causal", 79.447),
        ("cifar10_small", 79.447),
    ],
)
def test_committed_rate_of_the_paper(name, bits):
    assert committed_bits(registry.hparams(name)) == pytest.approx(bits, abs=0.05)


def test_table_4():
    columns = (
        "encoder_layers decoder_layers encoder_width decoder_width auxiliary_units "
        "encoder_filter decoder_filter encoder_attention decoder_attention num_heads "
        "num_mixtures dropout latent_channels alpha_min batch_size"
    ).split()
    table = """
      imagenet32_best   6 20 128 512 1024 1024 2048  2  5 8 32 .3 16 .5 1024
      cifar10_best     20 30 128 256 1024 1024 1024 11 16 8 32 .5  8 .3   64
      cifar10_ablation  8  8 128 128 1024 1024 1024  2  2 2 32 .2 32 .5   64
    """
    for name, *values in (line.split() for line in table.strip().splitlines()):
        held = registry.hparams(name).to_dict()
        assert {c: held[c] for c in columns} == {
            c: float(v) for c, v in zip(columns, values, strict=True)
        }, name


def test_table_3():
    """.08 bits/dim: 245.76 bits an image, .1664 nats a latent; alpha_max .7622."""
    temporal, independent = (
        registry.hparams(f"table3_{name}") for name in ("temporal", "independent")
    )
    ablation = registry.hparams("cifar10_ablation").to_dict()
    for h, method in (
        (temporal, "delta_vae"),
        (independent, "independent_delta_vae"),
    ):
        changed = {"target_rate_bits": pytest.approx(245.76), "method": method}
        assert h.to_dict() == {**ablation, **changed}
    alpha = build.prior(temporal, 32).alpha
    assert len(alpha) == 32 and (alpha[0], alpha[-1]) == (
        0.5,
        pytest.approx(0.7622, abs=5e-5),
    )
    np.testing.assert_allclose(np.diff(alpha), (alpha[-1] - 0.5) / 31, rtol=1e-6)
    posterior = build.posterior(independent, None, 32)
    nats = posterior.rate
    assert nats == pytest.approx(0.1664, abs=5e-5)
    assert (build.prior(independent, 32).alpha == 0).all()


def test_table_6():
    columns = (
        "encoder_layers decoder_layers encoder_width decoder_width encoder_attention "
        "decoder_attention latent_channels alpha_min alpha_max"
    ).split()
    table = """
      table6_l6       6  6 128 128 0 0  8 .5 .95 cifar10_ablation
      table6_l8_low   8  8 128 128 2 2  8 .5 .95 cifar10_ablation
      table6_l8_high  8  8 128 128 2 2 64 .5 .99 cifar10_ablation
      table6_large   20 30 128 256 6 6  8 .5 .95 cifar10_best
    """
    for line in table.strip().splitlines():
        name, *values, rest = line.split()
        row = {c: float(v) for c, v in zip(columns, values, strict=True)}
        # What the table leaves out is Table 4's row of that size.
        row = {**registry.hparams(rest).to_dict(), **row}
        assert registry.hparams(name).to_dict() == row
        row["encoder"] = "non_causal"
        assert registry.hparams(f"{name}_non_causal").to_dict() == row


def test_sweeps_of_figures_4_and_6():
    """All on Table 4's row 3; alpha_max as there, the others' ranges of E.1."""
    ablation = registry.hparams("cifar10_ablation").to_dict()
    reads = {
        "delta_vae": "alpha_max",
        "beta_vae": "beta",
        "free_bits": "free_bits",
        "free_bits_per_channel": "free_bits",
        "kl_annealing": "anneal_steps",
    }
    points = {}
    for _, setting, _ in sweeps.sweep("figure4").runs([0]):
        h = setting.hparams().to_dict()
        field = reads.get(h["method"])
        changed = {k: v for k, v in h.items() if ablation[k] != v}
        assert set(changed) <= {"method", field}
        points.setdefault(h["method"], []).append(field and h[field])
    assert set(points) == {*reads, "autoregressive"}
    alphas = points["delta_vae"]
    assert (alphas[0], alphas[-1]) == (0.68, 0.99) and alphas == sorted(alphas)
    for alpha_max, bits in ((0.68, 217.651), (0.99, 333.845)):
        h = registry.hparams("cifar10_ablation", f"alpha_max={alpha_max}")
        assert committed_bits(h) == pytest.approx(bits, abs=1e-3)
    assert all(0 < beta < 1 for beta in points["beta_vae"])
    for name in ("free_bits", "free_bits_per_channel"):
        assert (min(points[name]), max(points[name])) == (25, 100)
    assert len(points["kl_annealing"]) > 2
    both = {"anti_causal", "non_causal"}
    for name, methods in (
        ("collapse", {"vae", "delta_vae"}),
        ("table6", {"delta_vae"}),
    ):
        runs = [s.hparams().to_dict() for _, s, _ in sweeps.sweep(name).runs([0])]
        assert {h["encoder"] for h in runs} == both
        assert {h["method"] for h in runs} == methods


def test_learning_rates_of_the_paper():
    image, cifar = (registry.hparams(n) for n in ("imagenet32_best", "cifar10_best"))
    assert (image.learning_rate_scale, image.warmup_steps) == (0.18, 4000)
    assert (cifar.learning_rate_scale, cifar.warmup_steps) == (0.36, 8000)
    ablation = registry.hparams("cifar10_ablation")
    assert (ablation.learning_rate_schedule, ablation.learning_rate) == (
        "constant",
        1e-4,
    )


@pytest.mark.parametrize("name", ALL)
def test_every_set(name):
    h = registry.hparams(name)
    again = type(h).from_dict(json.loads(json.dumps(h.to_dict())))
    assert again == h
    text = ",".join(f"{key}={value}" for key, value in h.to_dict().items())
    assert registry.hparams(name, text) == h
    line = next(x for x in registry.describe().splitlines() if x.split()[:1] == [name])
    assert len(line.split(maxsplit=1)[1]) > 20


@pytest.mark.parametrize("name", ["digits", "documents", "lm1b_small", "lm1b"])
def test_twins_differ_in_one_field(name):
    first = registry.hparams(name).to_dict()
    for twin, key in [("standard_normal", "method"), ("no_latents", "method")]:
        other = registry.hparams(f"{name}_{twin}").to_dict()
        assert [k for k in first if first[k] != other[k]] == [key]


def test_table_5():
    for name in ("lm1b", "lm1b_packed"):
        h = registry.hparams(name)
        assert (h.layers, h.width, h.filter_size, h.num_heads) == (4, 512, 2048, 8)
        assert (h.dropout, h.latent_channels) == (0.1, 2)
        assert (h.alpha_min, h.alpha_max) == (0.2, 0.4)
        assert (h.vocabulary_size, h.max_length) == (32_768, 256)
    assert registry.hparams("lm1b_packed").packed
    with pytest.raises(ValueError, match="'width' must be a multiple of 'num_heads'"):
        registry.hparams("lm1b", "num_heads=7")
    with pytest.raises(ValueError, match="has no meaning for sentences"):
        registry.hparams("lm1b", "target_rate_bits=8")


def test_every_field_is_described():
    text = registry.describe()
    for kind in (registry.ImageHparams, registry.TextHparams):
        part = text.split(f"Fields of {kind.__name__}")[1].split("Fields of")[0]
        for field in dataclasses.fields(kind):
            lines = part.splitlines()
            line = next(x for x in lines if x.startswith(f"  {field.name}: "))
            assert field.metadata["meaning"] in line
            assert str(field.default) in line


def test_overrides():
    h = registry.hparams(
        "digits",
        " latent_channels=4, dropout=1e-1 ,method=vae,clip_norm=2",
    )
    assert (h.latent_channels, h.dropout, h.method) == (4, 0.1, "vae")
    assert type(h.clip_norm) is float
    assert registry.hparams("digits_tiny", "eval_steps=none").eval_steps is None
    assert registry.hparams("digits_tiny", "eval_steps=3").eval_steps == 3
    assert registry.hparams("digits", "method=autoregressive").use_latents is False
    assert registry.hparams("digits", "") == registry.hparams("digits")


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            "latent_chanels=8",
            "Unknown hyper-parameter 'latent_chanels'; did you mean 'latent_channels'?",
        ),
        ("zzzz=8", "Unknown hyper-parameter 'zzzz'. --registry_help lists them"),
        ("batch_size=1.5", "'batch_size' must be int. Received: '1.5'"),
        ("dropout=high", "'dropout' must be float. Received: 'high'"),
        ("method=beta_vea", "did you mean 'beta_vae'?"),
        ("beta=2", "'beta' is read by method=beta_vae only. Received: beta=2.0 with"),
        ("method=geco", "method=geco needs 'geco_distortion_bpd'"),
        ("method=vae,target_rate_bits=9", "with method=vae"),
        ("free_bits=-1,method=free_bits", "'free_bits' must be >= 0"),
        ("eval_steps=x", "'eval_steps' must be int or none"),
        ("batch_size=none", "'batch_size' must be int"),
        ("batch_size=8,batch_size=9", "'batch_size' is given twice"),
        ("batch_size", "must look like 'a=1,b=2'. Received: 'batch_size'"),
        ("batch_size=", "must look like 'a=1,b=2'"),
        ("batch_size=8,,dropout=0", "Received: ''"),
        ("alpha_max=1", "'alpha_max' must be in [0, 1). Received: 1.0"),
        ("alpha_min=-0.1", "'alpha_min' must be in [0, 1)"),
        ("alpha_max=0.4", "'alpha_min' must not exceed 'alpha_max'"),
        ("dropout=1.0", "'dropout' must be in [0, 1)"),
        ("dropout=nan", "'dropout' must be finite"),
        ("learning_rate=inf", "'learning_rate' must be finite"),
        ("decoder_layers=0", "'decoder_layers' must be >= 1. Received: 0"),
        ("num_heads=5", "'encoder_width' must be a multiple of 'num_heads'"),
        ("encoder_attention=6", "'encoder_attention' is at most"),
        ("kernel_size=4", "'kernel_size' must be odd. Received: 4"),
        ("encoder=anti_casual", "anti_causal, non_causal; did you mean 'anti_causal'?"),
        ("decay_steps=100", "'decay_steps' must exceed 'warmup_steps'"),
    ],
)
def test_errors(overrides, message):
    with pytest.raises(ValueError) as error:
        registry.hparams("digits", overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_set():
    with pytest.raises(ValueError, match="'cifar10_bst'; did you mean 'cifar10_best'"):
        registry.hparams("cifar10_bst")


def test_from_dict_refuses_unknown_and_wrongly_typed():
    with pytest.raises(ValueError, match="did you mean 'dropout'"):
        registry.ImageHparams.from_dict({"dropuot": 1.0})
    with pytest.raises(ValueError, match="'batch_size' must be int. Received: True"):
        registry.ImageHparams.from_dict({"batch_size": True})


def test_registered_twice():
    with pytest.raises(ValueError, match="registered twice"):
        machinery.register("digits")(lambda: None)


def test_what_a_resumed_run_may_change():
    h = registry.hparams("digits")
    free = h.may_change_on_resume()
    assert free == (
        *("train_steps", "eval_every", "eval_steps", "eval_batch_size"),
        "rematerialize",
    )
    training = """
      dropout batch_size learning_rate_schedule learning_rate
      learning_rate_floor learning_rate_scale warmup_steps decay_steps adam_beta_1
      adam_beta_2 adam_epsilon clip_norm ema_decay dtype
      beta free_bits anneal_steps geco_distortion_bpd geco_speed trained_part
    """.split()
    every = h.to_dict()
    rest = {k: v for k, v in every.items() if k not in (*training, *free)}
    assert h.architecture() == rest
    assert {"decoder_width", "alpha_max", "method", "problem"} < set(rest)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        registry.hparams("digits").batch_size = 3


def test_the_schedules_named_here_exist():
    from deltavae_tf.training import schedules

    fields = {f.name: f for f in dataclasses.fields(registry.ImageHparams)}
    choices = fields["learning_rate_schedule"].metadata["choices"]
    assert sorted(choices) == schedules.names()
