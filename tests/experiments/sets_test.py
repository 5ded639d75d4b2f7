"""The registry: the paper's numbers, and errors that say what would do."""

import json
import math

import numpy as np
import pytest

from data.reading import errors as data_errors
from deltavae_tf import errors
from experiments import sets
from experiments.build import components
from experiments.build import images as image_models
from experiments.sets import fields, methods, registry, sweeps

ALL = sets.set_names()


def prior_of(hparams):
    """The prior of a set on its data set's images."""
    return hparams.component("prior").make(hparams, image_models.sizes(hparams))


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
    assert committed_bits(sets.hparams(name)) == pytest.approx(bits, abs=0.05)


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
        held = sets.hparams(name).to_dict()
        assert {c: held[c] for c in columns} == {
            c: float(v) for c, v in zip(columns, values, strict=True)
        }, name


def test_table_3():
    """.08 bits/dim: 245.76 bits an image, .1664 nats a latent; alpha_max .7622."""
    temporal, independent = (
        sets.hparams(f"table3_{name}") for name in ("temporal", "independent")
    )
    assert (temporal.method, independent.method) == (
        "delta_vae",
        "independent_delta_vae",
    )
    ablation = sets.hparams("cifar10_ablation").to_dict()
    for h in (temporal, independent):
        changed = {
            "target_rate_bits": pytest.approx(245.76),
            "prior": h.prior,
            "posterior": h.posterior,
        }
        assert h.to_dict() == {**ablation, **changed}
    alpha = prior_of(temporal).alpha
    assert len(alpha) == 32 and (alpha[0], alpha[-1]) == (
        0.5,
        pytest.approx(0.7622, abs=5e-5),
    )
    np.testing.assert_allclose(np.diff(alpha), (alpha[-1] - 0.5) / 31, rtol=1e-6)
    sizes = image_models.sizes(independent)
    posterior = independent.component("posterior").make(independent, sizes, None, None)
    assert posterior.rate == pytest.approx(0.1664, abs=5e-5)  # Nats per latent.
    assert (prior_of(independent).alpha == 0).all()


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
        row = {**sets.hparams(rest).to_dict(), **row}
        assert sets.hparams(name).to_dict() == row
        row["encoder"] = "non_causal"
        assert sets.hparams(f"{name}_non_causal").to_dict() == row


def test_sweeps_of_figures_4_and_6():
    """All on Table 4's row 3; alpha_max as there, the others' ranges of E.1."""
    ablation = sets.hparams("cifar10_ablation").to_dict()
    reads = {
        "delta_vae": "alpha_max",
        "beta_vae": "beta",
        "free_bits": "free_bits",
        "free_bits_per_channel": "free_bits",
        "kl_annealing": "anneal_steps",
    }
    points = {}
    for _, setting, _ in sweeps.find("figure4").runs([0]):
        h = setting.hparams()
        field = reads.get(h.method)
        values = h.to_dict()
        before = {**h.defaults(), **ablation}
        changed = {k for k, v in values.items() if before[k] != v}
        assert changed <= {*methods.ROLES, field}
        points.setdefault(h.method, []).append(field and values[field])
    assert set(points) == {*reads, "autoregressive"}
    alphas = points["delta_vae"]
    assert (alphas[0], alphas[-1]) == (0.68, 0.99) and alphas == sorted(alphas)
    for alpha_max, bits in ((0.68, 217.651), (0.99, 333.845)):
        h = sets.hparams("cifar10_ablation", f"alpha_max={alpha_max}")
        assert committed_bits(h) == pytest.approx(bits, abs=1e-3)
    assert all(0 < beta < 1 for beta in points["beta_vae"])
    for name in ("free_bits", "free_bits_per_channel"):
        assert (min(points[name]), max(points[name])) == (25, 100)
    assert len(points["kl_annealing"]) > 2
    both = {"anti_causal", "non_causal"}
    for name, known in (
        ("collapse", {"vae", "delta_vae"}),
        ("table6", {"delta_vae"}),
    ):
        runs = [s.hparams() for _, s, _ in sweeps.find(name).runs([0])]
        assert {h.encoder for h in runs} == both
        assert {h.method for h in runs} == known


def test_every_sweep_can_be_run_and_each_run_finds_its_decoder_alone():
    for title, _ in sweeps.describe():
        found = sweeps.find(title.split(":")[0])
        by_name = {setting.name: setting.hparams() for setting in found.settings}
        for name, twin in found.twins.items():
            if twin not in by_name:
                assert twin == "autoregressive", (found.name, name)
                continue
            assert by_name[twin].method == "autoregressive"
            own, alone = (by_name[n].to_dict() for n in (name, twin))
            same = {k for k in own if k.startswith("decoder_")}
            same |= {"train_steps", "position_signal", "normalization", "kernel_size"}
            assert all(own[k] == alone[k] for k in same & set(own)), (found.name, name)


def test_learning_rates_of_the_paper():
    image, cifar = (sets.hparams(n) for n in ("imagenet32_best", "cifar10_best"))
    assert (image.learning_rate_scale, image.warmup_steps) == (0.18, 4000)
    assert (cifar.learning_rate_scale, cifar.warmup_steps) == (0.36, 8000)
    ablation = sets.hparams("cifar10_ablation")
    assert (ablation.learning_rate_schedule, ablation.learning_rate) == (
        "constant",
        1e-4,
    )


@pytest.mark.parametrize("name", ALL)
def test_every_set(name):
    h = sets.hparams(name)
    again = sets.from_dict(json.loads(json.dumps(h.to_dict())))
    assert again == h and hash(again) == hash(h)
    text = ",".join(f"{key}={value}" for key, value in h.to_dict().items())
    assert sets.hparams(name, text) == h
    assert len(described()[name]) > 20


@pytest.mark.parametrize("name", ["digits", "documents", "lm1b_small", "lm1b"])
def test_twins_differ_in_their_method_alone(name):
    first = sets.hparams(name).to_dict()
    for twin, method in [("standard_normal", "vae"), ("no_latents", "autoregressive")]:
        other = sets.hparams(f"{name}_{twin}")
        assert other.method == method
        values = other.to_dict()
        different = {k for k in values if first[k] != values[k]}
        assert different <= {"prior", "posterior"}
        unread = {"alpha_min", "alpha_max", "target_rate_bits"}
        assert first.keys() - values.keys() == unread


def test_methods_are_combinations():
    """Each can be said by name or by its parts; any other combination by its parts."""
    needed = {
        "beta_vae": "beta=0.5",
        "free_bits": "free_bits=3",
        "free_bits_per_channel": "free_bits=3",
        "kl_annealing": "anneal_steps=7",
        "geco": "geco_distortion_bpd=2",
    }
    for method, parts in methods.METHODS.items():
        rest = needed.get(method, "")
        one = sets.hparams("digits", f"method={method},{rest}".rstrip(","))
        text = ",".join(f"{r}={p}" for r, p in zip(methods.ROLES, parts, strict=True))
        assert one == sets.hparams("digits", f"{text},{rest}".rstrip(","))
        assert one.method == method
    h = sets.hparams("digits", "objective=beta,beta=0.5")
    assert (h.prior, h.beta, h.method) == ("ar1", 0.5, "ar1+beta")
    # What a twin does not read is there again when its prior is.
    back = sets.hparams("digits_standard_normal").replace(method="delta_vae")
    assert back == sets.hparams("digits")


def test_table_5():
    for name in ("lm1b", "lm1b_packed"):
        h = sets.hparams(name)
        assert (h.layers, h.width, h.filter_size, h.num_heads) == (4, 512, 2048, 8)
        assert (h.dropout, h.latent_channels) == (0.1, 2)
        assert (h.alpha_min, h.alpha_max) == (0.2, 0.4)
        assert (h.vocabulary_size, h.max_length) == (32_768, 256)
    assert sets.hparams("lm1b_packed").packed
    with pytest.raises(ValueError, match="'width' must be a multiple of 'num_heads'"):
        sets.hparams("lm1b", "num_heads=7")
    with pytest.raises(ValueError, match="has no meaning for sentences"):
        sets.hparams("lm1b", "target_rate_bits=8")


def described():
    """{name: meaning} of all that --registry_help prints."""
    return {name: what for _, rows in sets.describe() for name, what in rows}


def test_every_field_and_part_is_described():
    found = described()
    declared = dict(fields.COMMON)
    for role in components.ROLES:
        for name, part in components.every(role).items():
            declared |= part.fields
            assert len(found[name]) > 15
    assert len(declared) > 40
    for name, field in declared.items():
        assert field.meaning in found[f"{name}: {field.type_name} = {field.default}"]


def test_overrides():
    h = sets.hparams(
        "digits",
        " latent_channels=4, dropout=1e-1 ,method=vae,clip_norm=2",
    )
    assert (h.latent_channels, h.dropout, h.method) == (4, 0.1, "vae")
    assert type(h.clip_norm) is float
    assert sets.hparams("digits_tiny", "eval_steps=none").eval_steps is None
    assert sets.hparams("digits_tiny", "eval_steps=3").eval_steps == 3
    assert sets.hparams("digits", "method=autoregressive").use_latents is False
    assert sets.hparams("digits", "") == sets.hparams("digits")


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
        ("beta=2", "'beta' is read by objective=beta only; this run has prior=ar1"),
        ("method=geco", "objective=geco needs 'geco_distortion_bpd'"),
        ("method=vae,target_rate_bits=9", "this run has prior=standard_normal"),
        ("method=vae,prior=ar1", "'method' says prior=standard_normal"),
        ("prior=none", "prior=none needs posterior=none: a decoder alone"),
        ("posterior=none", "posterior=none needs prior=none"),
        ("posterior=independent_delta", "needs prior=standard_normal: its rate"),
        ("objective=betta", "Unknown objective 'betta'; did you mean 'beta'?"),
        ("encoder=transformer", "for images there are anti_causal, non_causal"),
        ("problem=documents", "are for images, and 'documents' is text"),
        ("problem=digitz", "did you mean 'digits'?"),
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
        ("encoder=anti_casual", "'anti_casual'; did you mean 'anti_causal'?"),
        ("decay_steps=100", "'decay_steps' must exceed 'warmup_steps'"),
    ],
)
def test_errors(overrides, message):
    with pytest.raises((errors.UserError, data_errors.DataError)) as error:
        sets.hparams("digits", overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_set():
    with pytest.raises(ValueError, match="'cifar10_bst'; did you mean 'cifar10_best'"):
        sets.hparams("cifar10_bst")


def test_from_dict_refuses_unknown_and_wrongly_typed():
    with pytest.raises(errors.UserError, match="did you mean 'dropout'"):
        sets.from_dict({"problem": "digits", "dropuot": 1.0})
    with pytest.raises(errors.UserError, match="'batch_size' must be int.*True"):
        sets.from_dict({"problem": "digits", "batch_size": True})
    with pytest.raises(errors.UserError, match="needs a 'problem'"):
        sets.from_dict({"batch_size": 3})


def test_registered_twice():
    with pytest.raises(errors.UserError, match="an hparams set 'digits' already"):
        registry.register("digits")(lambda: None)
    with pytest.raises(errors.UserError, match="a prior 'ar1' already"):
        components.prior("ar1")(lambda hparams, sizes: None)
    with pytest.raises(errors.UserError, match="'alpha_max', which another part"):
        other = {"alpha_max": fields.training(0.3, "of something else")}
        components.objective("mine", fields=other)(lambda hparams, sizes: None)
    with pytest.raises(errors.UserError, match="a sweep 'digits' already"):
        sweeps.register("digits", "mine")


def test_what_a_resumed_run_may_change():
    h = sets.hparams("digits")
    free = h.may_change_on_resume()
    assert free == (
        *("train_steps", "eval_every", "eval_steps", "eval_batch_size"),
        "rematerialize",
    )
    training = """
      dropout batch_size learning_rate_schedule learning_rate
      learning_rate_floor learning_rate_scale warmup_steps decay_steps adam_beta_1
      adam_beta_2 adam_epsilon clip_norm ema_decay dtype
      trained_part num_held_out initial_loc_scale position_signal
    """.split()
    every = h.to_dict()
    later = ["auxiliary_covariance"]  # At its default: older checkpoints fit.
    rest = {k: v for k, v in every.items() if k not in (*training, *free, *later)}
    assert h.architecture() == rest
    changed = sets.hparams("digits", "auxiliary_covariance=full")
    assert changed.architecture() == {**rest, "auxiliary_covariance": "full"}
    assert {"decoder_width", "alpha_max", "prior", "problem"} < set(rest)
    for text, name in (("beta,beta=2", "beta"), ("free_bits,free_bits=1", "free_bits")):
        changed = sets.hparams("digits", f"objective={text}")
        assert name not in {*changed.architecture(), *changed.may_change_on_resume()}


def test_frozen():
    h = sets.hparams("digits")
    with pytest.raises(AttributeError):
        h.batch_size = 3
    with pytest.raises(AttributeError, match="no hyper-parameter 'beta'"):
        _ = h.beta


def test_the_schedules_named_here_exist():
    from deltavae_tf.training import schedules

    choices = fields.COMMON["learning_rate_schedule"].choices
    assert sorted(choices) == schedules.names()
