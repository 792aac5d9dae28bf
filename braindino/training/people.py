"""Record in a checkpoint which people and scans its weights were trained on."""

from typing import Any

from braindino.scans.seen import Seen


def trained_on(trainer: Any) -> Seen:
    """Return the people and scans that a trainer's data module lists as trained on.

    Missing lists are named in the gaps of the result.
    """
    data = getattr(trainer, "datamodule", None)
    list_seen = getattr(data, "trained_on", None)
    if callable(list_seen):
        seen: Seen = list_seen()
        return seen
    name = "a data loader" if data is None else type(data).__name__
    people = getattr(data, "people", None)
    if callable(people):
        return Seen(frozenset(map(str, people()["group"])), gaps=(f"the scans of {name} are not recorded",))
    return Seen(gaps=(f"the people and scans of {name} are not recorded",))


def record_seen(checkpoint: dict[str, Any], trainer: Any, *earlier: Seen | None) -> None:
    """Add to a checkpoint the people and scans that its weights have seen.

    Args:
        checkpoint: entries that a callback has recorded in it stay.
        trainer: trainer of the run.
        earlier: people and scans of the weights that the run began with, or of the run before it was
            continued.
    """
    seen = trained_on(trainer)
    for before in earlier:
        seen |= before or Seen()
    if checkpoint.get("pretraining_people"):
        seen |= Seen(frozenset(map(str, checkpoint["pretraining_people"])))
    seen.into(checkpoint)


def unknown_start(source: str) -> Seen:
    """Return the record of weights that do not list what they were trained on."""
    name = source.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return Seen(gaps=(f"it started from {name}, which does not record what it was trained on",))


def seen_until(checkpoint: dict[str, Any]) -> Seen:
    """Return the people and scans that a run had seen when it wrote a checkpoint."""
    return Seen.of_checkpoint(checkpoint) or Seen(
        gaps=("it was continued from a checkpoint that does not record what it was trained on",)
    )
