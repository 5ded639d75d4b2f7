"""Distributions of delta-VAEs. All densities and divergences are in nats."""
