"""Metrics of predictions, with confidence intervals from resampling people."""
