"""Write sentences about a study's baselines: what the probe adds to each, and which are incomplete."""

from typing import Any

from braindino.analysis.formatting import format_difference, format_interval
from braindino.analysis.metrics.headlines import HEADLINES, heading

# What the difference to a control of a segmentation shows.
GAINS = {
    "untrained_encoder": "Pretraining adds over untrained_encoder",
    "no_tokens": "The encoder adds over no_tokens",
    "unet": "The probe less unet",
}


def baseline_notes(results: dict[str, Any]) -> list[str]:
    """Return the sentences about the baselines of a study.

    Args:
        results: content of results.json.
    """
    failed = [
        f"{'Incomplete' if name in results['baselines'] else 'No'} baseline {name}: {reason}"
        for name, reason in results.get("baselines_failed", {}).items()
    ]
    return [*failed, *(_gains(results) if results["task"] == "segmentation" else _unbeaten(results))]


def main_differences(results: dict[str, Any], baseline: str) -> list[dict[str, Any]]:
    """Return the differences to a baseline in the main metric, one per label fraction.

    Args:
        results: content of results.json.
        baseline: name of the baseline.
    """
    metric = HEADLINES[results["task"]][0]
    return [line for line in results["baselines"][baseline]["advantage"] if line["metric"] == metric]


def _gains(results: dict[str, Any]) -> list[str]:
    """Return what a segmentation adds to each of its controls, by label fraction."""
    notes = []
    for name in results["baselines"]:
        lines = main_differences(results, name)
        if not lines:
            continue
        metric = heading(lines[0]["metric"], results)
        parts = [f"{format_difference(line)} at {line['fraction']:.0%}" for line in lines]
        gain = GAINS.get(name, f"The probe less {name}")
        note = f"{gain}: test/{metric} {'; '.join(parts)} of the labels."
        lost = [line for line in lines if line["beaten"] is False]
        worse = [line for line in lost if line["high"] is not None and line["high"] < 0]
        note += _at(" No gain is shown at", [line for line in lost if line not in worse])
        note += _at(f" {name} is better at", worse)
        notes.append(note + _at(" There is no interval at", [line for line in lines if line["low"] is None]))
    return notes


def _at(sentence: str, lines: list[dict[str, Any]]) -> str:
    """Return the sentence with the label fractions of the lines, or nothing without lines."""
    fractions = [f"{line['fraction']:.0%}" for line in lines]
    return f"{sentence} {', '.join(fractions)}." if fractions else ""


def _unbeaten(results: dict[str, Any]) -> list[str]:
    """Return a sentence for every baseline and label fraction that the probe does not beat."""
    return [
        f"At {line['fraction']:.0%} of the labels the probe does not beat {name}: "
        f"difference in test/{heading(line['metric'], results)} {format_interval(line)}."
        for name in results["baselines"]
        for line in main_differences(results, name)
        if line["beaten"] is False
    ]
