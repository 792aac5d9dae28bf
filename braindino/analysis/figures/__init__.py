"""Matplotlib figures of results, of slices and of feature spaces."""
