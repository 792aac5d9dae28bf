"""Write sentences about people whom an encoder has seen in pretraining."""

from collections.abc import Mapping
from typing import Any

from braindino.analysis.runs import Run


def pretraining_notes(seen: dict[str, Any] | None, encoder: str = "the encoder") -> list[str]:
    """The sentences about people whom an encoder has seen in pretraining.

    Args:
        seen: `pretraining` of an audit; None where the encoder does not record whom it has seen.
        encoder: what the sentences call it.
    """
    name = encoder[0].upper() + encoder[1:] if encoder.startswith("the ") else encoder
    if seen is None:
        return [f"{name} does not record whom it was pretrained on."]
    lines = []
    if seen["people"]:
        line = f"{name} was pretrained on {seen['people']} of these people, none of them in test"
        if seen["test"]:
            line = (
                f"WARNING: {encoder} was pretrained on {seen['people']} of these people, "
                f"{seen['test']} in test"
            )
        if alone := seen.get("by_name_only", 0):
            line += f" ({alone} by dataset and id only, with other scans)"
        lines.append(f"{line}.")
    if gaps := seen.get("gaps"):
        lines.append(
            f"The list of whom {encoder} was pretrained on is INCOMPLETE ({'; '.join(gaps)}): further people "
            "may have been seen."
        )
    return lines


def leakage_notes(sides: Mapping[str, Mapping[str, Run]]) -> list[str]:
    """The sentences about people whom the models of a comparison have seen in pretraining.

    A sentence that is the same of several tasks comes once, after their names.

    Args:
        sides: name of the model -> task -> run.
    """
    tasks: dict[str, list[str]] = {}
    for model, runs in sides.items():
        for task, run in runs.items():
            for line in _leakage_of_run(model, run):
                tasks.setdefault(line, []).append(task)
    return [f"{', '.join(names)}: {line}" for line, names in tasks.items()]


def _leakage_of_run(model: str, run: Run) -> list[str]:
    if run.audit is None:
        return [f"{model}: no leakage audit beside its predictions."]
    lines = pretraining_notes(run.audit.get("pretraining"), model)
    if copies := run.audit.get("shared_scans_across_parts"):
        lines.append(f"WARNING: {model}: {copies} scans occur in several parts of the split.")
    return lines
