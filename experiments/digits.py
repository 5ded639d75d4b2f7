r"""Trains a delta-VAE on scikit-learn's digits, 8x8 grey images of 17 levels.

  python -m experiments.digits --output_dir=/tmp/digits

Sets: digits, digits_standard_normal (the plain VAE), digits_no_latents (the
autoregressive twin), digits_tiny. `make demo` runs the first three side by side.
"""

from experiments import flags, image_program

if __name__ == "__main__":
    flags.defaults(hparams_set="digits", iterations_per_loop=25)
    flags.run(lambda _: image_program.main("digits"))
