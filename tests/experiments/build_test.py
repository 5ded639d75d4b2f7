"""Models from hyper-parameters: every size of the paper builds."""

import numpy as np
import pytest

from deltavae_tf import units
from experiments import build, hparams

# Weights of the encoder and of the decoder, in millions.
_PAPER = {
    "imagenet32_best": (2.8, 162.7),
    "cifar10_best": (12.2, 53.7),
    "cifar10_ablation": (3.5, 3.7),
    "table6_l6": (2.1, 2.7),
    "table6_l8_high_non_causal": (5.3, 3.7),
    "table6_large": (9.3, 46.4),
}


@pytest.mark.parametrize("name", _PAPER)
def test_every_size_of_the_paper_builds(name):
    chosen = hparams.hparams(name)
    model = build.image_model(chosen, (32, 32, 3), 256)
    counts = [
        sum(np.prod(v.shape) for v in part.trainable_variables) / 1e6
        for part in (model.encoder, model.decoder)
    ]
    print(name, counts)
    np.testing.assert_allclose(counts, _PAPER[name], atol=0.06)


def test_target_rate_sets_alpha():
    chosen = hparams.hparams("digits_tiny", "target_rate_bits=20")
    prior = build.prior(chosen, 8)
    np.testing.assert_allclose(units.bits(prior.committed_rate()), 20, rtol=1e-5)
    with pytest.raises(ValueError, match="reach"):
        build.prior(hparams.hparams("digits_tiny", "target_rate_bits=1e9"), 8)


def test_a_problem_without_a_program_is_an_error():
    with pytest.raises(ValueError, match="'imagenet32'.*cifar10"):
        build.problem("imagenet32")


def test_the_seed_decides_the_weights():
    chosen = hparams.hparams("digits_tiny")
    kernels = [
        np.array(build.image_model(chosen, (8, 8, 1), 17, seed).weights[1])
        for seed in (0, 0, 1)
    ]
    assert (kernels[0] == kernels[1]).all() and (kernels[0] != kernels[2]).any()
