"""Write sentences about a study's results that a reader needs besides the numbers."""

from typing import Any

from braindino.analysis.formatting import UNDEFINED, format_interval, format_number, format_p_value
from braindino.analysis.leakage_notes import pretraining_notes
from braindino.analysis.metrics.estimates import MAX_REDRAWN
from braindino.analysis.metrics.headlines import heading, headlines
from braindino.analysis.metrics.segmentation import EMPTY_CASES
from braindino.analysis.metrics.subgroups import MIN_PEOPLE
from braindino.analysis.report.baseline_notes import baseline_notes

MAX_GROUPS = 6  # of a trait, in one sentence
MAX_REASONS = 3  # of dropped rows, in one sentence


def result_notes(results: dict[str, Any]) -> list[str]:
    """Return the sentences that stand below the table of a study.

    Args:
        results: content of results.json.
    """
    return [
        *_test_part(results),
        *_earlier_cells(results),
        *_dropped(results["dropped"]),
        *_shared_scans(results["audit"]["shared_scans_across_parts"]),
        *pretraining_notes(results["audit"]["pretraining"]),
        *_empty_truths(results["summary"][0]),
        *_undefined(results),
        *(f"WARNING: not trained: {error}" for error in results.get("failed", [])),
        *baseline_notes(results),
    ]


def _test_part(results: dict[str, Any]) -> list[str]:
    """Return the numbers of test cases, people, folds and seeds, and the kind of intervals."""
    test, seeds = results["summary"][0]["test"], results["summary"][0]["seeds"]
    enough = test["redrawn"] <= MAX_REDRAWN * (test["resamples"] + test["redrawn"])
    parts = [f"{test['cases']} test cases of {test['people']} people"]
    if results["folds"]:
        parts.append(f"each tested in one of {results['folds']} folds")
    if len(seeds) > 1:
        parts.append(f"mean of {len(seeds)} seeds")
    if test["resamples"] and enough:
        parts.append("95 % intervals from resampling people")
    notes = [f"{', '.join(parts)}."]
    if not enough:
        notes.append("No intervals: all test cases of a class are of one or two people, too few to resample.")
    if "TEST" in results["selection"]:
        notes.append(f"WARNING: {results['selection']}.")
    return notes


def _shared_scans(copies: int) -> list[str]:
    if not copies:
        return []
    return [f"WARNING: {copies} scans occur in several parts of the split; results.json lists them."]


def detail_notes(results: dict[str, Any]) -> list[str]:
    """Return sentences about subgroups and the kind of task, at the largest label fraction.

    Args:
        results: content of results.json.
    """
    line = results["summary"][-1]
    metric = heading(headlines(results["task"], results["classes"])[0], results)
    groups = (_subgroups(f"test/{metric}", trait, each) for trait, each in line["subgroups"].items())
    cells = [cell for cell in results["cells"] if cell["fraction"] == line["fraction"]]
    return [
        *(note for note in groups if note),
        *_age_bias(line.get("without_age_bias"), results.get("unit")),
        *_logrank(line.get("pooled", cells)),
        *_options_tried(cells),
    ]


def _age_bias(corrected: dict[str, Any] | None, unit: str | None) -> list[str]:
    """Return the error of brain age without its bias."""
    if not corrected:
        return []
    value = f"blank ({corrected.get('undefined')})"
    if corrected["metrics"] is not None:
        value = format_interval(corrected["metrics"]["mae"]) + (f" {unit}" if unit else "")
    return [f"Without the bias towards the mean age, as fitted on validation: test/mae {value}."]


def _logrank(tests: list[dict[str, Any]]) -> list[str]:
    """Return the p values of the log-rank test, one per seed."""
    values = []
    for test in tests:
        if "kaplan_meier" not in test:
            continue
        curves = test["kaplan_meier"]
        if curves["logrank"]:
            values.append(format_p_value(curves["logrank"]["p"]))
        elif "logrank_undefined" in curves:
            values.append(f"{UNDEFINED} ({curves['logrank_undefined']})")
        else:
            values.append(UNDEFINED)
    if not values:
        return []
    return [f"Above and below the training median risk: log-rank p {', '.join(values)} (each seed)."]


def _options_tried(cells: list[dict[str, Any]]) -> list[str]:
    """Return the validation metric of each option of a closed-form head, and the chosen ones."""
    choices = [cell["chosen"] for cell in cells if "chosen" in cell]
    if not choices:
        return []
    values: dict[str, dict[str, list[float]]] = {}
    for choice in choices:
        for metric in (name for name in choice if name.startswith("val/")):
            for option, value in choice[metric].items():
                defined = values.setdefault(metric, {}).setdefault(option, [])
                defined += [] if value is None else [value]
    (name,) = (key for key in choices[0] if not key.startswith("val/"))
    chosen = ", ".join(f"{choice[name]:g}" for choice in choices)
    notes = []
    for metric, options in values.items():
        means = ", ".join(
            f"{option} {format_number(sum(each) / len(each)) if each else UNDEFINED}"
            for option, each in sorted(options.items(), key=lambda item: float(item[0]))
        )
        notes.append(f"{metric} by {name}: {means}; chosen: {chosen}.")
    return notes


def _subgroups(metric: str, trait: str, groups: list[dict[str, Any]]) -> str:
    """Return a sentence about a trait; empty without two groups, or without a large one."""
    values = [
        f"{group['group']} {format_interval(next(iter(group['metrics'].values())))} of {group['people']}"
        for group in groups
        if group["metrics"] is not None
    ]
    if len(groups) < 2 or not values:
        return ""
    parts, more = values[:MAX_GROUPS], len(values) - MAX_GROUPS
    if more > 0:
        parts.append(f"{more} more in results.json")
    if small := sum(group["too_small"] for group in groups):
        parts.append(f"{small} groups of fewer than {MIN_PEOPLE} people")
    return f"{metric} by {trait}: {'; '.join(parts)}."


def _earlier_cells(results: dict[str, Any]) -> list[str]:
    """Return a sentence if cells that the last call did not request are included."""
    present = {(seed, line["fraction"]) for line in results["summary"] for seed in line["seeds"]}
    asked = {
        (seed, float(fraction))
        for seed in results["asked"]["seeds"]
        for fraction in results["asked"]["fractions"]
    }
    more = sorted(present - asked)
    if not more:
        return []
    seed, fraction = more[0]
    first = f"seed {seed} at {fraction:.0%} of the labels{', ...' if len(more) > 1 else ''}"
    return [f"{len(more)} results of earlier runs of this study in the same folder are included ({first})."]


def _dropped(dropped: dict[str, Any]) -> list[str]:
    """Return the number of scans and cases that are not used, with the most frequent reasons."""
    reasons = list(dropped["reasons"].items())
    if not reasons:
        return []
    parts = [f"{count} {reason}" for reason, count in reasons[:MAX_REASONS]]
    if len(reasons) > MAX_REASONS:
        parts.append(f"and {len(reasons) - MAX_REASONS} more reasons")
    return [
        f"Not used: {dropped['scans']} scans and {dropped['cases']} cases ({'; '.join(parts)}); "
        "dropped.csv lists them."
    ]


def _undefined(results: dict[str, Any]) -> list[str]:
    """Return the reasons why headline metrics have no value."""
    names = headlines(results["task"], results["classes"])
    reasons: dict[str, str] = {}
    for line in results["summary"]:
        for name, reason in line["test"].get("undefined", {}).items():
            if name in names:
                reasons.setdefault(name, reason)
    if not reasons:
        return []
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(f"test/{name}")
    parts = [f"{', '.join(metrics)} ({reason})" for reason, metrics in by_reason.items()]
    return [f"Undefined: {'; '.join(parts)}."]


def _empty_truths(line: dict[str, Any]) -> list[str]:
    """Return in how many test cases the true mask of a region is empty."""
    counts = {region: count for region, count in line.get("nothing_to_find", {}).items() if count}
    if not counts:
        return []
    parts = ", ".join(f"{region} in {count}" for region, count in counts.items())
    notes = [
        f"Empty true masks: {parts} of {line['test']['cases']} test cases; their Dice, NSD and lesion-wise "
        "measures are blank and excluded from the means."
    ]
    metrics = line["test"]["metrics"]
    for region in counts:
        specificity, volume = (metrics.get(f"{name}_{region}") for name in EMPTY_CASES)
        if specificity and volume:
            notes.append(
                f"Cases without {region}: share with an empty prediction {format_interval(specificity)}, "
                f"mean false-positive volume {format_interval(volume)} ml."
            )
    return notes
