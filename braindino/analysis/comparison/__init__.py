"""Paired comparisons of models on the same test cases."""
