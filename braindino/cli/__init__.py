"""The command: verbs, their arguments, and errors that a person can read."""
