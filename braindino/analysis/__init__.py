"""Analyse predictions: metrics with intervals, comparisons, figures, reports; without torch."""
