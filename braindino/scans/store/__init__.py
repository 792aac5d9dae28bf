"""The store of prepared scans: arrays and sidecars on disk, and the processes that fill it."""
