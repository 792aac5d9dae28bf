"""Test the sentences about baselines."""

from braindino.analysis.report.baseline_notes import baseline_notes


def line(fraction: float, value: float, low: float | None, metric: str = "dice") -> dict[str, object]:
    high = None if low is None else 2 * value - low
    beaten = None if low is None else low > 0
    return {
        "fraction": fraction,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "beaten": beaten,
    }


def test_baseline_notes_give_the_gain_over_each_control() -> None:
    gains = [line(0.1, 0.012, 0.003), line(0.1, 0.5, 0.4, "dice_core"), line(1.0, 0.001, -0.004)]
    results = {
        "task": "segmentation",
        "baselines": {"no_tokens": {"advantage": gains}, "unet": {"advantage": [line(1.0, 0.02, None)]}},
        "baselines_failed": {"unet": "seed 0, fraction 0.1: no epoch", "untrained_encoder": "all failed"},
    }
    assert baseline_notes(results) == [
        "Incomplete baseline unet: seed 0, fraction 0.1: no epoch",
        "No baseline untrained_encoder: all failed",
        "The encoder adds over no_tokens: test/dice +0.012 [+0.003, +0.021] at 10%; +0.001 [-0.004, +0.006] "
        "at 100% of the labels. No gain is shown at 100%.",
        "The probe less unet: test/dice +0.020 at 100% of the labels. There is no interval at 100%.",
    ]


def test_baseline_notes_name_the_fractions_at_which_a_baseline_is_better() -> None:
    lines = [line(0.1, -0.02, -0.05), line(0.5, -0.1, -0.15), line(1.0, -0.2, -0.3)]
    results = {"task": "segmentation", "baselines": {"unet": {"advantage": lines}}}
    (note,) = baseline_notes(results)
    assert note.endswith("of the labels. No gain is shown at 10%. unet is better at 50%, 100%.")


def test_baseline_notes_of_other_tasks_are_about_baselines_that_are_not_beaten() -> None:
    lines = [line(0.1, 0.2, 0.1, "auroc"), line(1.0, 0.01, -0.1, "auroc")]
    results = {"task": "classification", "classes": ["CN", "AD"], "baselines": {"x": {"advantage": lines}}}
    assert baseline_notes(results) == [
        "At 100% of the labels the probe does not beat x: difference in test/auroc 0.010 [-0.100, 0.120]."
    ]
