"""Baselines of a study: models of traits, other encoders, and networks without any encoder."""
