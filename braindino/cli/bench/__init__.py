"""The verb `bench`: its plan, its estimate of time, and its studies."""
