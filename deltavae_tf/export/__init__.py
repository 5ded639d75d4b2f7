"""Trained models for others: SavedModel, Keras and weight files."""
