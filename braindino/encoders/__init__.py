"""Frozen encoders with the input contract that they were trained under, and their features."""
