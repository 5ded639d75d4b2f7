"""Encoders, decoders, the auxiliary prior and the delta-VAE itself."""
