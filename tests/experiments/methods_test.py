"""Each method of the paper: what one hyper-parameter builds."""

import numpy as np
import pytest

from experiments import build, sets

METHODS = {
    "vae": ("ELBO", ""),
    "beta_vae": ("BetaVAE", "beta=0.3"),
    "free_bits": ("FreeBits", "free_bits=9"),
    "free_bits_per_channel": ("FreeBits", "free_bits=9"),
    "kl_annealing": ("KLAnnealing", "anneal_steps=7"),
    "geco": ("GECO", "geco_distortion_bpd=2"),
    "independent_delta_vae": ("ELBO", "target_rate_bits=9"),
    "autoregressive": ("ELBO", ""),
}


@pytest.mark.parametrize("method", METHODS)
def test_one_hyper_parameter_chooses_the_method(method):
    """That a step's loss is the objective's is in tests/objectives_test.py."""
    name, numbers = METHODS[method]
    chosen = sets.hparams("digits_tiny", f"method={method},{numbers}".rstrip(","))
    model = build.model(chosen)
    assert type(model.objective).__name__ == name
    bits = 9 if method == "independent_delta_vae" else 0
    np.testing.assert_allclose(model.committed_rate() / np.log(2), bits, rtol=1e-6)
    if method != "autoregressive":
        assert (model.prior.alpha == 0).all()


def test_annealing_that_starts_late():
    chosen = sets.hparams(
        "digits_tiny",
        "objective=kl_annealing,anneal_steps=7,anneal_start=3,anneal_weight=.25",
    )
    expected = {"num_steps": 7, "start_step": 3, "initial_weight": 0.25}
    assert build.model(chosen).objective.get_config() == expected


def test_independent_posteriors_commit_what_the_ar1_of_their_alphas_would():
    """Without target_rate_bits: Equation 1."""
    chosen = sets.hparams(
        "digits_tiny", "method=independent_delta_vae,alpha_min=.5,alpha_max=.9"
    )
    alpha = np.array([0.5, 0.9])
    delta = 0.5 * np.sum(6 * np.log1p(alpha**2) - np.log1p(-(alpha**2)))
    np.testing.assert_allclose(build.model(chosen).committed_rate(), delta, rtol=1e-6)
