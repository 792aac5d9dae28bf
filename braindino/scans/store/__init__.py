"""Store prepared scans: arrays and sidecars on disk, and the processes that fill the store."""
