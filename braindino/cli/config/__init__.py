"""Find, check and parse configs of the Lightning verbs."""
