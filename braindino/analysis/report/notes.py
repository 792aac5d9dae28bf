"""What a reader of a study's results must know besides the numbers, a sentence each."""

from typing import Any

from braindino.analysis.formatting import UNDEFINED, format_interval, format_number, format_p_value
from braindino.analysis.metrics.estimates import MAX_REDRAWN
from braindino.analysis.metrics.headlines import heading, headlines
from braindino.analysis.metrics.subgroups import MIN_PEOPLE
from braindino.analysis.report.leakage_notes import pretraining_notes

MAX_GROUPS = 6


def result_notes(results: dict[str, Any]) -> list[str]:
    """The sentences about results.json that stand below its table."""
    test, seeds = results["summary"][0]["test"], results["summary"][0]["seeds"]
    enough = test["redrawn"] <= MAX_REDRAWN * (test["resamples"] + test["redrawn"])
    said = [
        f"{test['cases']} test cases of {test['people']} people"
        + (f", each tested in one of {results['folds']} folds" if results["folds"] else "")
        + (f", mean of {len(seeds)} seeds" if len(seeds) > 1 else "")
        + (", 95 % intervals from resampling people." if test["resamples"] and enough else ".")
    ]
    if not enough:
        said.append("No intervals: one or two test people carry a whole class, too few to resample.")
    if "TEST" in results["selection"]:
        said.append(f"WARNING: {results['selection']}.")
    said += _repeats(results) + _dropped(results["dropped"])
    if copies := results["audit"]["shared_scans_across_parts"]:
        said.append(f"WARNING: {copies} scans occur in several parts of the split; results.json lists them.")
    said += pretraining_notes(results["audit"]["pretraining"])
    said += _empty(results["summary"][0]) + _undefined(results)
    said += [f"No baseline {name}: {why}" for name, why in results.get("baselines_failed", {}).items()]
    said += [f"WARNING: not trained: {error}" for error in results.get("failed", [])]
    for name, baseline in results["baselines"].items():
        for line in baseline["advantage"]:
            if line["beaten"] is False:
                said.append(
                    f"At {line['fraction']:.0%} of the labels the probe does not beat {name}: "
                    f"difference in test/{heading(line['metric'], results)} {format_interval(line)}."
                )
    return said


def detail_notes(results: dict[str, Any]) -> list[str]:
    """The first headline by sex, age band, site and dataset at the most labels; what belongs to the task."""
    line = results["summary"][-1]
    name = heading(headlines(results["task"], results["classes"])[0], results)
    said = [
        told
        for trait, groups in line["subgroups"].items()
        if (told := _groups(f"test/{name}", trait, groups))
    ]
    unit = f" {results['unit']}" if results.get("unit") else ""
    if corrected := line.get("without_age_bias"):
        value = f"blank ({corrected.get('undefined')})"
        if corrected["metrics"] is not None:
            value = f"{format_interval(corrected['metrics']['mae'])}{unit}"
        said.append(f"Without the bias towards the mean age, as fitted on validation: test/mae {value}.")
    curves = [
        cell["kaplan_meier"]
        for cell in line.get("pooled", results["cells"])
        if cell.get("fraction", line["fraction"]) == line["fraction"] and "kaplan_meier" in cell
    ]
    if curves:
        values = ", ".join(
            format_p_value(curve["logrank"]["p"])
            if curve["logrank"]
            else " ".join(
                [UNDEFINED, *(f"({why})" for key, why in curve.items() if key == "logrank_undefined")]
            )
            for curve in curves
        )
        said.append(f"Above and below the training median risk: log-rank p {values} (each seed).")
    return said + _tried([cell for cell in results["cells"] if cell["fraction"] == line["fraction"]])


def _tried(cells: list[dict[str, Any]]) -> list[str]:
    """Of a closed-form head: what each option gave on validation (mean over cells), and which were taken."""
    chosen = [cell["chosen"] for cell in cells if "chosen" in cell]
    found: dict[str, dict[str, list[float]]] = {}
    for each in chosen:
        for metric in (name for name in each if name.startswith("val/")):
            for option, value in each[metric].items():
                found.setdefault(metric, {}).setdefault(option, []).extend([] if value is None else [value])
    said = []
    for metric, options in found.items():
        (name,) = (key for key in chosen[0] if not key.startswith("val/"))
        values = ", ".join(
            f"{option} {format_number(sum(each) / len(each)) if each else UNDEFINED}"
            for option, each in sorted(options.items(), key=lambda item: float(item[0]))
        )
        taken = ", ".join(f"{each[name]:g}" for each in chosen)
        said.append(f"{metric} by {name}: {values}; taken {taken}.")
    return said


def _groups(metric: str, trait: str, groups: list[dict[str, Any]]) -> str:
    """One line for a trait, or nothing where all cases are alike or no group has people enough."""
    told = [
        f"{group['group']} {format_interval(next(iter(group['metrics'].values())))} of {group['people']}"
        for group in groups
        if group["metrics"] is not None
    ]
    if len(groups) < 2 or not told:
        return ""
    small = sum(group["too_small"] for group in groups)
    told, more = told[:MAX_GROUPS], len(told) - MAX_GROUPS
    rest = [f"{more} more in results.json"] if more > 0 else []
    rest += [f"{small} groups of fewer than {MIN_PEOPLE} people"] if small else []
    return f"{metric} by {trait}: {'; '.join([*told, *rest])}."


def _repeats(results: dict[str, Any]) -> list[str]:
    """Cells of earlier calls are counted; who asked for fewer is told."""
    found = sorted({(seed, line["fraction"]) for line in results["summary"] for seed in line["seeds"]})
    asked = [
        (seed, float(part)) for seed in results["asked"]["seeds"] for part in results["asked"]["fractions"]
    ]
    more = [cell for cell in found if cell not in asked]
    if not more:
        return []
    first = f"seed {more[0][0]} at {more[0][1]:.0%} of the labels"
    return [
        f"{len(more)} results of earlier runs of this study in the same folder are counted as well ({first}"
        + (", ...)." if len(more) > 1 else ").")
    ]


def _dropped(dropped: dict[str, Any]) -> list[str]:
    """How much is not used and why, the three most frequent reasons."""
    reasons = dropped["reasons"]
    if not reasons:
        return []
    named = [f"{count} {reason}" for reason, count in list(reasons.items())[:3]]
    named += [f"and {len(reasons) - 3} more reasons"] if len(reasons) > 3 else []
    return [
        f"Not used: {dropped['scans']} scans and {dropped['cases']} cases ({'; '.join(named)}); "
        "dropped.csv lists them."
    ]


def _undefined(results: dict[str, Any]) -> list[str]:
    """The reasons of headlines without a value."""
    names = headlines(results["task"], results["classes"])
    told: dict[str, str] = {}
    for line in results["summary"]:
        given = line["test"].get("undefined", {})
        told |= {name: given[name] for name in names if name in given and name not in told}
    if not told:
        return []
    by_reason: dict[str, list[str]] = {}
    for name, reason in told.items():
        by_reason.setdefault(reason, []).append(f"test/{name}")
    listed = [f"{', '.join(metrics)} ({reason})" for reason, metrics in by_reason.items()]
    return [f"Undefined: {'; '.join(listed)}."]


def _empty(line: dict[str, Any]) -> list[str]:
    """How often a segmentation had nothing to find, where Dice is blank."""
    counts = {name: count for name, count in line.get("nothing_to_find", {}).items() if count}
    if not counts:
        return []
    told = ", ".join(f"{name} in {count}" for name, count in counts.items())
    return [
        f"Nothing to find: {told} of {line['test']['cases']} test cases; Dice and lesion F1 are blank there "
        "and have no part in the means."
    ]
