r"""Trains a delta-VAE on sentences that every Python has: its language reference.

  python -m experiments.documents --output_dir=/tmp/documents

Sets: documents, documents_standard_normal (the plain VAE), documents_no_latents (the
autoregressive twin), documents_slow (slow latents), documents_tiny. Needs no data;
--eval_use_test_set evaluates on the 300 test sentences. Then see what it learned:

  python -m experiments.sample --output_dir=/tmp/documents --kind=interpolation
"""

from experiments import train

if __name__ == "__main__":
    train.alias("documents", iterations_per_loop=10)
