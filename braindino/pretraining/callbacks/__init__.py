"""Callbacks of pretraining: collapse, throughput, nearest neighbours, images, non-finite steps."""
