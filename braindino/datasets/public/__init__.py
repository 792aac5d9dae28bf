"""Public datasets, read in the layouts in which their owners publish them."""
