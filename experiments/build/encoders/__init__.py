"""Encoders, one kind of network a file; see `experiments.build.components`."""
