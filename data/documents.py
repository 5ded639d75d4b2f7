"""Python's own language reference, embedded in its standard library: text that needs
no download.
"""

import platform
import re

import numpy as np

from data import dataset
from data.text import corpora

_NUM_TEST = 300
# Not after "e.g." and "i.e.", and only where a sentence can begin.
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)\s+(?=[\"*(A-Z])")
_SENTENCE = re.compile(r"[\"*(]*[A-Z](?:.*[a-z].*)[.!?]\)?")


def load(split: str, **where) -> corpora.Corpus:
    """The prose of `pydoc_data.topics`: what `help("FLOAT")` and the like print.

    Paragraphs are joined and split into sentences; headings, grammar, tables and code
    are left out, since they are no sentences, and so are repetitions (topics share
    sections), which would put test sentences into training. The text is that of the
    running Python, whose version stands in the note. The order is permuted by
    `np.random.RandomState(0)`, a stream that NumPy has frozen; the last 300 sentences
    are the test split.

    Args:
      split: "train" or "test".
      **where: not used: the text is embedded.

    Returns:
      `corpora.Corpus`.
    """
    dataset.check_split(split)
    del where
    found = sentences()
    order = np.random.RandomState(0).permutation(len(found))
    chosen = order[:-_NUM_TEST] if split == "train" else order[-_NUM_TEST:]
    lines = [found[i].encode() for i in chosen]
    return corpora.Corpus(
        name=f"documents/{split}",
        note=f"the language reference of Python {platform.python_version()}",
        chunks=lambda: iter([lines]),
    )


def sentences() -> list[str]:
    """All different sentences, a list of str in the order of the topics."""
    from pydoc_data import topics  # Half a megabyte that images never need.

    found = {}
    for name in sorted(topics.topics):
        for paragraph in re.split(r"\n\s*\n", topics.topics[name]):
            text = " ".join(paragraph.split())
            for sentence in _BETWEEN_SENTENCES.split(text):
                prose = _SENTENCE.fullmatch(sentence) and "| |" not in sentence
                if prose and len(sentence.split()) > 2:
                    found[sentence] = None
    return list(found)


DATASET = dataset.TextDataset(
    name="documents",
    loader=load,
    num_held_out=200,
    source="embedded in Python: the language reference that `help()` prints",
    paper_split="ours: the last 300 sentences of a fixed random order are the test's",
)
