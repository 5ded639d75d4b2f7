r"""Trains a delta-VAE on scikit-learn's digits, 8x8 grey images of 17 levels.

  python -m experiments.digits --output_dir=/tmp/digits

Sets: digits, digits_standard_normal (the plain VAE), digits_no_latents (the
autoregressive twin), digits_tiny. `make demo` runs the first three side by side.
"""

from experiments import train

if __name__ == "__main__":
    train.alias("digits", iterations_per_loop=25)
