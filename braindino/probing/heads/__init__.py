"""Heads: from a pooled vector or a feature map to a prediction, its loss and its metrics."""
