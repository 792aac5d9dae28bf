"""Whether this process only lists files: data modules are then made without Lightning (see `base`)."""

_lists_only = False


def list_only() -> None:
    """Declare that this process trains nothing; call it before a data module is imported."""
    global _lists_only
    _lists_only = True


def lists_only() -> bool:
    """Return whether `list_only` was called."""
    return _lists_only
