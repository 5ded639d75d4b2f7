"""Names of the One Billion Word benchmark's shards.

Apart from `data.lm1b`, so that command lines know them before TensorFlow is imported.
"""

TRAIN_FILES = "news.en-000[0-9][0-9]-of-00100"
TEST_FILES = "news.en.heldout-00000-of-00050"
