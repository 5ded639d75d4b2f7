"""Decoders, one a file; see `experiments.build.components`."""
