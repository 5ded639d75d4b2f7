"""tf.data pipelines. Knows nothing of models; not installed."""
