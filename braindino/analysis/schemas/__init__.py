"""Declare the shapes of the JSON files in a run folder, for `braindino.documents.check_document`."""
