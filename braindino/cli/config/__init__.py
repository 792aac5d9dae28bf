"""Configs of the Lightning verbs: shipped files, keys, arguments, parser and messages."""
