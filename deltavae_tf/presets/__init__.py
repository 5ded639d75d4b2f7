"""Trained models that come with the library: a folder each, read by `loading`."""
