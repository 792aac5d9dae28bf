"""Prediction of new scans with a finished probe."""
