"""Small corpora and vocabularies that several tests share."""

import functools
import random

from data.text import corpora, vocabulary

WORDS = "the a cat dog sat ran on over mat , and then it slept . who knows ? Ü".split()


def lines(count=400, seed=0):
    """Sentences of 1 to 30 words, list of str."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 30))) for _ in range(count)]


@functools.cache
def small_vocabulary(size=300, seed=0):
    return vocabulary.build(lines(seed=seed), size, progress=False)


def corpus(raw, name="fake/train", **kwargs):
    """A corpus of bytes, str or both."""
    raw = [x.encode() if isinstance(x, str) else x for x in raw]
    return corpora.Corpus(name=name, chunks=lambda: iter([raw]), **kwargs)
