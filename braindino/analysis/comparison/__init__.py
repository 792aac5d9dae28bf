"""Paired comparisons of models on the same cases."""
