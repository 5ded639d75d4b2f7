"""tf.data pipelines. Knows nothing of models; not installed."""

from data.reading.errors import DataError, DataNotFoundError

__all__ = ["DataError", "DataNotFoundError"]
