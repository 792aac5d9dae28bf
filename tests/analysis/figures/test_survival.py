"""Test that Kaplan-Meier curves are drawn without events."""

from braindino.analysis.figures.survival import kaplan_meier_figure
from braindino.analysis.metrics.survival import kaplan_meier_by_risk
from tests.helpers.data_uris import decode_svg
from tests.helpers.predictions import survival


def test_kaplan_meier_figure_without_events_or_groups_is_drawn():
    table = survival().assign(event=0, risk=0.0)
    test, train = (table.query(f"split == '{part}'") for part in ("test", "train"))
    assert "<svg" in decode_svg(kaplan_meier_figure({"none": kaplan_meier_by_risk(test, train)}, ""))
