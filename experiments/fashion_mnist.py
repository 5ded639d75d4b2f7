r"""Trains a delta-VAE on Fashion-MNIST: the size at which two cores see what it is for.

  python -m experiments.fashion_mnist --data_dir=~/data --output_dir=/tmp/fashion \
      --eval_use_test_set

--data_dir holds the four official files (train-images-idx3-ubyte.gz, ..., packed or
not; Debian's package dataset-fashion-mnist has them), or what tensorflow_datasets
prepared; --generate_data downloads it. Sets: fashion_14 (images averaged to 14x14, two
minutes of one core), fashion_small and fashion (28x28, ten minutes and half an hour),
and of each ..._vae (the plain VAE), ..._autoregressive (the decoder alone),
..._non_causal and ..._vae_non_causal.
"""

from experiments import train

if __name__ == "__main__":
    train.alias("fashion_14", iterations_per_loop=25)
