"""Checks of manifests, files, masks and splits."""
