"""The verbs of the command as typed functions that return results; `braindino.cli` calls them and prints."""
