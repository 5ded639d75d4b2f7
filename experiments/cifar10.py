r"""Trains a delta-VAE on CIFAR-10.

  python -m experiments.cifar10 --data_dir=~/data --output_dir=/tmp/cifar10 \
      --hparams_set=cifar10_small --eval_use_test_set

--data_dir holds the official archive (cifar-10-binary.tar.gz or
cifar-10-python.tar.gz), its record files, or what tensorflow_datasets prepared;
--generate_data downloads it. Sets: cifar10_small (a laptop's CPU), and the paper's
cifar10_ablation, cifar10_best and table6_... (a GPU or TPU); see --registry_help.
"""

from experiments import train

if __name__ == "__main__":
    train.alias("cifar10_small", iterations_per_loop=25)
