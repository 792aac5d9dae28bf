"""Segmentation: a decoder of patch tokens, its head, slices with masks, masks in the scan's own space."""
