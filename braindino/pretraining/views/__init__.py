"""Views of a batch of slices: crops, intensity changes, masks and their random numbers."""
