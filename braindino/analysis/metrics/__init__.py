"""Metrics of each task, with confidence intervals from resampling people."""
