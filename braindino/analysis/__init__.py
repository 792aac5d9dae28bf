"""Analyse predictions: metrics with intervals, comparisons of models, figures and reports; without torch."""
