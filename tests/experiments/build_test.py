"""Models from hyper-parameters: every size of the paper builds."""

import numpy as np
import pytest

from deltavae_tf import units
from experiments import build, hparams


def count_stack(layers, width, filter_size, blocks, causal, cross=0, self_=True):
    """Weights of the shared blueprint, from its description; kernel 3x3, RGB."""
    rows, left = (2, 2) if causal else (3, 3)
    layer = (3 * rows + left) * width * 2 * width + 4 * width  # Two convolutions,
    layer += 4 * width**2 + 2 * width + width**2 + width  # two projections,
    layer += 4 * width  # and two layer norms.
    stem = (3 * rows + left) * 4 * width + 2 * width + width**2 + width
    attention = 4 * (width**2 + width) + 2 * width
    block = 2 * width * filter_size + filter_size + width + 2 * width
    block += attention * self_
    block += (cross * width + width + attention) if cross else 0
    return stem + layers * layer + blocks * block


@pytest.mark.parametrize(
    "name, encoder_blocks, decoder_blocks",
    [
        ("imagenet32_best", 2, 5),
        pytest.param("cifar10_best", 11, 16, marks=pytest.mark.slow),
        ("cifar10_ablation", 2, 2),
        ("table6_l6", 0, 2),  # The decoder's two are cross-attention alone.
        ("table6_l8_high_non_causal", 2, 2),
        pytest.param("table6_large", 6, 6, marks=pytest.mark.slow),
    ],
)
def test_every_size_of_the_paper_builds(name, encoder_blocks, decoder_blocks):
    h = hparams.hparams(name)
    model = build.image_model(h, (8, 8, 3), 256)  # As many weights as at 32.
    d, width = h.latent_channels, h.encoder_width
    encoder = count_stack(
        h.encoder_layers,
        width,
        h.encoder_filter,
        encoder_blocks,
        h.encoder == "anti_causal",
    )
    encoder += 2 * width + width * 2 * d + 2 * d
    width = h.decoder_width
    decoder = count_stack(
        h.decoder_layers,
        width,
        h.decoder_filter,
        decoder_blocks,
        causal=True,
        cross=d,
        self_=h.decoder_attention > 0,
    )
    decoder += 2 * width + (width + 1) * 10 * h.num_mixtures
    assert (model.encoder.count_params(), model.decoder.count_params()) == (
        encoder,
        decoder,
    )


def test_target_rate_sets_alpha():
    chosen = hparams.hparams("digits_tiny", "target_rate_bits=20")
    prior = build.prior(chosen, 8)
    np.testing.assert_allclose(units.bits(prior.committed_rate()), 20, rtol=1e-5)
    with pytest.raises(ValueError, match="must be in"):
        build.prior(hparams.hparams("digits_tiny", "target_rate_bits=1e9"), 8)


def test_a_problem_without_a_program_is_an_error():
    with pytest.raises(ValueError, match="'lm1b'.*cifar10"):
        build.problem("lm1b")


def test_the_seed_decides_the_weights():
    chosen = hparams.hparams("digits_tiny")
    kernels = [
        np.array(build.image_model(chosen, (8, 8, 1), 17, seed).weights[1])
        for seed in (0, 0, 1)
    ]
    assert (kernels[0] == kernels[1]).all() and (kernels[0] != kernels[2]).any()
