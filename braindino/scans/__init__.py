"""Scans: reading one from disk, preparing it by a contract, and the store of prepared scans."""
