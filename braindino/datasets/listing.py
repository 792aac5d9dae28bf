"""Process-wide switch for listing files only, without importing Lightning (see `base`)."""

_lists_only = False


def list_only() -> None:
    """Switch to listing files only. Call this before a data module is imported."""
    global _lists_only
    _lists_only = True


def lists_only() -> bool:
    """Return whether `list_only` was called."""
    return _lists_only
