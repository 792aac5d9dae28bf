"""Figures of predictions, slices, patch maps and feature spaces."""
