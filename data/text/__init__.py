"""Text: corpora, vocabularies, encoded sentences and batches of them."""
