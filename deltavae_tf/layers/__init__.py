"""Keras layers: causal, with a cached one-position form for sampling."""
