"""Unlabelled data for pretraining: slices and volumes drawn from a store, and exclude lists."""
