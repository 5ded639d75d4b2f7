"""Models from hyper-parameters: every size of the paper builds."""

from types import SimpleNamespace

import numpy as np
import pytest

from data import dataset
from data.reading import errors as data_errors
from deltavae_tf import backend, units
from experiments import build, sets
from experiments.build import images as image_models
from experiments.figures import points


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
def test_every_size_of_the_paper_builds(
    monkeypatch, name, encoder_blocks, decoder_blocks
):
    h = sets.hparams(name)
    # As many weights as at 32.
    monkeypatch.setattr(
        type(h),
        "dataset",
        lambda self: SimpleNamespace(image_shape=(8, 8, 3), num_levels=256),
    )
    model = build.model(h)
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


def prior_of(hparams):
    """The prior of a set on its data set's images."""
    return hparams.component("prior").make(hparams, image_models.sizes(hparams))


def test_target_rate_sets_alpha():
    prior = prior_of(sets.hparams("digits_tiny", "target_rate_bits=20"))
    np.testing.assert_allclose(units.bits(prior.committed_rate()), 20, rtol=1e-5)
    with pytest.raises(ValueError, match="must be in"):
        prior_of(sets.hparams("digits_tiny", "target_rate_bits=1e9"))


def test_a_data_set_that_is_not_there_is_an_error():
    with pytest.raises(data_errors.DataError, match="did you mean 'digits'"):
        dataset.find("digit")


def test_the_seed_decides_the_weights():
    chosen = sets.hparams("digits_tiny")
    kernels = [np.array(build.model(chosen, seed).weights[1]) for seed in (0, 0, 1)]
    assert (kernels[0] == kernels[1]).all() and (kernels[0] != kernels[2]).any()


@pytest.mark.parametrize(
    "overrides, label",
    [
        ("", "delta-VAE"),
        ("method=vae", "VAE"),
        ("method=vae,encoder=non_causal", "VAE, non-causal"),
        ("method=beta_vae,beta=2", "beta-VAE"),
        ("objective=beta,beta=2", "delta-VAE, beta-VAE"),
        ("method=independent_delta_vae", "independent delta-VAE"),
        ("method=autoregressive,encoder=non_causal", "decoder alone"),
    ],
)
def test_labels(overrides, label):
    assert points.label(sets.hparams("digits", overrides).to_dict()) == label


def test_a_beta_vae_on_an_ar1_prior():
    """What no name of the paper's says: both dials of the rate at once."""
    h = sets.hparams("digits_tiny", "objective=beta,beta=0.5")
    model = build.model(h)
    assert model.objective.beta == 0.5 and model.committed_rate() > 1


def test_our_own_parts_are_traced_once_and_a_users_are_called(monkeypatch):
    import deltavae_tf

    seen = []
    call = deltavae_tf.DeltaVAE.call

    def noted(self, batch, *args, **kwargs):
        seen.append(backend.concrete(batch) is not None)
        return call(self, batch, *args, **kwargs)

    monkeypatch.setattr(deltavae_tf.DeltaVAE, "call", noted)
    model = build.model(sets.hparams("digits_tiny"))
    assert seen == [False] and model.built
    assert model.weights[-1].path.startswith("delta_vae/")
    seen.clear()

    class UsersDecoder(deltavae_tf.ImageDecoder):
        pass

    monkeypatch.setattr(deltavae_tf, "ImageDecoder", UsersDecoder)
    monkeypatch.setattr("deltavae_tf.models.image_decoder.ImageDecoder", UsersDecoder)
    build.model(sets.hparams("digits_tiny"))
    assert seen[-1], "what a user's part computes was not looked at"
