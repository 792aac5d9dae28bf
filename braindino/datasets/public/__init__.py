"""Public datasets in the layouts in which their owners publish them."""
