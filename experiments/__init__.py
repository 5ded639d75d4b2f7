"""Programs that train, evaluate and sample; not installed."""
