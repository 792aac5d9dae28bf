"""Datasets as their owners lay them out: manifests, splits by person, and data modules."""
