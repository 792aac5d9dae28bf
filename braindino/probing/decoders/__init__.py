"""Decoders of a segmentation probe: from patch tokens, and from pixels, to maps of a slice."""
