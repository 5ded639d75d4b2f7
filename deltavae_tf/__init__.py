"""delta-VAEs: variational autoencoders whose rate cannot fall below delta."""
