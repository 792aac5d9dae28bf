"""Callbacks of pretraining: collapse, throughput, neighbours, online probes, images, non-finite steps."""
