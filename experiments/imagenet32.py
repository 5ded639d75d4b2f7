r"""Trains a delta-VAE on ImageNet 32x32.

  python -m experiments.imagenet32 --data_dir=~/data --output_dir=/tmp/imagenet32 \
      --hparams_set=imagenet32_small --eval_use_test_set

--data_dir, or its downloads/manual, holds PixelRNN's archives train_32x32.tar and
valid_32x32.tar; they are streamed, not unpacked. Sets: imagenet32_small (a laptop's
CPU) and imagenet32_best (the paper's, batches of 1024 on 128 TPU cores). The sizes of
the splits are printed: 49,999 validation images are the paper's data set, 50,000 are
another one, whose numbers do not compare.
"""

from experiments import train

if __name__ == "__main__":
    train.alias("imagenet32_small", iterations_per_loop=25)
