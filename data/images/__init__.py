"""Images: splits in memory, and batches of them for each backend."""
