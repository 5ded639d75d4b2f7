"""Priors p(z), one a file; see `experiments.build.components`."""
