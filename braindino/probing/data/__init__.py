"""Data of a probe: cached features, the encoder in the loop, or slices with masks."""
