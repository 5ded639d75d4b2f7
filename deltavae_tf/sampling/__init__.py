"""Cached samplers, one position at a time."""
