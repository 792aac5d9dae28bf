"""Data of the user's own: BIDS, folders, tables and nnU-Net folders."""
