"""The verbs of the command as typed functions that return results; `braindino.cli` parses, calls and prints."""
