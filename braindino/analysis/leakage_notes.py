"""Write sentences about people whom an encoder has seen in pretraining."""

from typing import Any

from braindino.analysis.runs import ModelRuns, Run


def pretraining_notes(seen: dict[str, Any] | None, encoder: str = "the encoder") -> list[str]:
    """Return sentences about the people of a study whom an encoder has seen in pretraining.

    Args:
        seen: `pretraining` of an audit; None if the encoder does not record whom it was pretrained on.
        encoder: its name in the sentences.
    """
    subject = encoder[0].upper() + encoder[1:] if encoder.startswith("the ") else encoder
    if seen is None:
        return [f"{subject} does not record whom it was pretrained on."]
    notes = []
    if seen["people"]:
        note = f"{subject} was pretrained on {seen['people']} of these people, none of them in test"
        if seen["test"]:
            note = (
                f"WARNING: {encoder} was pretrained on {seen['people']} of these people, "
                f"{seen['test']} in test"
            )
        if name_only := seen.get("by_name_only", 0):
            note += f" ({name_only} by dataset and id only, with different scans)"
        notes.append(f"{note}.")
    if gaps := seen.get("gaps"):
        notes.append(
            f"The list of people that {encoder} was pretrained on is INCOMPLETE ({'; '.join(gaps)}): further "
            "people may have been seen."
        )
    return notes


def leakage_notes(models: ModelRuns) -> list[str]:
    """Return sentences about leakage in the runs of a comparison, with their tasks.

    Args:
        models: name of the model -> task -> its run.
    """
    tasks: dict[str, list[str]] = {}
    for model, runs in models.items():
        for task, run in runs.items():
            for note in _run_notes(model, run):
                tasks.setdefault(note, []).append(task)
    return [f"{', '.join(names)}: {note}" for note, names in tasks.items()]


def _run_notes(model: str, run: Run) -> list[str]:
    if run.audit is None:
        return [f"{model}: no leakage audit beside its predictions."]
    notes = pretraining_notes(run.audit.get("pretraining"), model)
    if copies := run.audit.get("shared_scans_across_parts"):
        notes.append(f"WARNING: {model}: {copies} scans occur in several parts of the split.")
    return notes
