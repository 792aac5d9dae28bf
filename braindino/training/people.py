"""Record in a checkpoint which people and scans its weights were trained on."""

from typing import Any

from braindino.scans.seen import Seen


def trained_on(trainer: Any) -> Seen:
    """Return the people and scans that a trainer's data module trains on, as far as it lists them."""
    data = getattr(trainer, "datamodule", None)
    listed = getattr(data, "trained_on", None)
    if callable(listed):
        seen: Seen = listed()
        return seen
    name = "a data loader" if data is None else type(data).__name__
    people = getattr(data, "people", None)
    if callable(people):
        return Seen(frozenset(map(str, people()["group"])), gaps=(f"the scans of {name} are not recorded",))
    return Seen(gaps=(f"the people and scans of {name} are not recorded",))


def record_seen(checkpoint: dict[str, Any], trainer: Any, *earlier: Seen | None) -> None:
    """Put into a checkpoint what its weights have seen: in this run, and before.

    Args:
        checkpoint: what a callback has recorded in it stays.
        trainer: of the run.
        earlier: what the weights had seen when the run began, or before it was continued.
    """
    seen = trained_on(trainer)
    for before in earlier:
        seen |= before or Seen()
    if checkpoint.get("pretraining_people"):
        seen |= Seen(frozenset(map(str, checkpoint["pretraining_people"])))
    seen.into(checkpoint)


def unknown_start(source: str) -> Seen:
    """Return what weights have seen that do not say so."""
    name = source.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return Seen(gaps=(f"it started from {name}, which does not record what it was trained on",))


def seen_until(checkpoint: dict[str, Any]) -> Seen:
    """Return what a run had seen when it wrote the checkpoint that it now continues from."""
    return Seen.of_checkpoint(checkpoint) or Seen(
        gaps=("it was continued from a checkpoint that does not record what it was trained on",)
    )
