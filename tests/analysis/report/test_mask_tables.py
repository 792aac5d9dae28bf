"""Test the tables, figures and sentences about masks in a report, also of runs of earlier versions."""

import numpy as np

from braindino.analysis.report.mask_tables import empty_tables, region_tables
from braindino.analysis.report.page import build_page, render
from braindino.analysis.runs import Run, runs_by_model
from braindino.probing.table import results_table
from tests.helpers.predictions import cells, classification, segmentation, write_run


def write(folder, name, **options):
    """Write a run with two regions in which every third case has no core; return its folder."""
    changes = {key: options.pop(key) for key in ("nsd_tolerance",) if key in options}
    table = cells(segmentation, cases=48, **{"seeds": (0,), **options}).assign(**changes)
    without = (table["region"] == "core") & (table["case"].str.slice(5, 8).astype(int) % 3 == 0)
    measures = [name for name in ("dice", "hd95", "nsd", "rq", "sq", "pq", "lesion_f1") if name in table]
    table.loc[without, measures] = np.nan
    table.loc[without, "true_ml"] = 0.0
    table.loc[without, "predicted_ml"] = np.arange(without.sum()) % 2 * 0.5
    return write_run(folder / "tumour" / name / "1", table, "segmentation", "mask")


def test_region_tables_have_all_metrics_of_every_region(tmp_path):
    run = Run(write(tmp_path, "new", counted=True))
    (table,) = region_tables({"new": run})
    assert table.columns == [
        *("model", "region", "dice", "nsd (2 mm)", "hd95 (mm)", "volume_error_ml"),
        *("lesion_f1", "lesion_count_error", "rq", "sq", "pq"),
    ]
    assert [row[:2] for row in table.rows] == [["new", "whole"], ["new", "core"]]
    metrics = run.results["summary"][0]["test"]["metrics"]
    shown = table.numbers[(table.numbers["region"] == "core") & (table.numbers["metric"] == "nsd")]
    assert shown["value"].tolist() == [metrics["nsd_core"]["value"]]
    other = classification(cases=60)
    write_run(tmp_path / "cls" / "new" / "1", other)
    assert region_tables({"new": Run(tmp_path / "cls" / "new" / "1")}) == []


def test_region_tables_leave_blank_what_an_earlier_version_did_not_measure(tmp_path):
    runs = {"new": Run(write(tmp_path, "new", counted=True)), "old": Run(write(tmp_path, "old"))}
    (table,) = region_tables(runs)
    cells_of = {(row[0], row[1]): dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert cells_of["old", "core"]["pq"] == ""
    assert cells_of["old", "core"]["nsd"] == ""
    assert cells_of["new", "core"]["nsd"].endswith("] at 2 mm")
    runs["strict"] = Run(write(tmp_path, "strict", counted=True, nsd_tolerance=1.0))
    assert region_tables(runs)[0].rows[-1][3].endswith("] at 1 mm")


def test_empty_tables_show_specificity_and_false_positive_volume(tmp_path):
    run = Run(write(tmp_path, "new", counted=True))
    (table,) = empty_tables({"new": run})
    whole, core = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert whole["case specificity"] == whole["false-positive volume (ml)"] == "every case has whole"
    assert core["case specificity"].startswith("0.5")
    assert core["false-positive volume (ml)"].startswith("0.25")
    assert f"share with an empty prediction {core['case specificity']}, mean" in results_table(run.results)


def test_build_page_draws_nsd_where_all_models_have_it(tmp_path):
    new, old = write(tmp_path, "new", counted=True), write(tmp_path, "old")
    for runs, drawn in (([new], True), ([new, old], False), ([old], False)):
        page = build_page(runs_by_model(runs), 20, "Masks")
        (section,) = page.sections
        titles = [figure.title for figure in section.figures]
        assert "Dice of every case" in titles
        assert ("NSD of every case" in titles) == drawn
        assert ("nsd (2 mm)" in section.tables[0].columns) == drawn
        assert "Every region" in render(page)
