r"""Trains a delta-VAE on the One Billion Word Benchmark.

  python -m experiments.lm1b --hparams_set=lm1b_packed --data_dir=~/lm1b \
      --output_dir=/tmp/lm1b --eval_use_test_set

--data_dir holds shards (news.en-00001-of-00100, ...), or the benchmark's archive, or
what tensorflow_datasets prepared; --generate_data downloads it. The vocabulary and the
encoded text are put beside them, or in --tmp_dir where one may not write. The first
time takes as long as encoding does: some 30 million lines for the whole benchmark.

Sets: lm1b and lm1b_packed (Table 5); lm1b_small, one shard, minutes on a laptop, with
lm1b_small_standard_normal (the plain VAE) and lm1b_small_no_latents (the twin);
lm1b_slow, whose latents say something of the sentence. Other
shards, such as held-out ones:

  python -m experiments.lm1b --hparams_set=lm1b_small --data_dir=~/lm1b \
      --output_dir=/tmp/lm1b_small --eval_use_test_set \
      --hparams=train_files=news.en.heldout-0001[01]*,eval_files=news.en.heldout-00012*
"""

from experiments import train

if __name__ == "__main__":
    train.alias("lm1b_small", iterations_per_loop=10)
