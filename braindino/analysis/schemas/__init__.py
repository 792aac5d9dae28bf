"""Declared shapes of the JSON files in a run folder, one module per file, for `braindino.documents.check`."""
