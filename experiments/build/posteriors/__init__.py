"""Families of posteriors q(z|x), one a file; see `experiments.build.components`."""
