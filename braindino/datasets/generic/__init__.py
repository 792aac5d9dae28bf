"""Datasets in general layouts: BIDS, folders, tables and nnU-Net folders."""
