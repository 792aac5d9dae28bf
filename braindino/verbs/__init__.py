"""The verbs of the command as typed functions that return results and print nothing."""
