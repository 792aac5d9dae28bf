"""Frozen networks with the input contract they were made for, and the features they give."""
