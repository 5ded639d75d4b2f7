"""Runs: from hyper-parameters to a folder, and back."""
