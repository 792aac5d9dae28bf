"""Callbacks of pretraining: monitors, online probes, images, non-finite steps."""
