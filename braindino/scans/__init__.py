"""Scans on disk: reading them, preparing them by a contract, and the store of what was prepared."""
