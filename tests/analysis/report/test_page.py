"""Test that the page is complete, self-contained, safe for any data, and correct in a real browser."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from braindino.analysis.report.figures import joined_runs
from braindino.analysis.report.page import build_page, render, table_files
from braindino.analysis.runs import Run, runs_by_model
from tests.helpers.browser import find_browser
from tests.helpers.predictions import cells, classification, regression, segmentation, survival, write_run

EVIL = "<script>document.title='owned'</script>"


class Resources(HTMLParser):
    """Everything a page would load or run."""

    def __init__(self):
        super().__init__()
        self.tags, self.sources = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.sources += [
            value for name, value in attrs if name in ("src", "href", "data", "action", "poster")
        ]
        assert not [name for name, _ in attrs if name.startswith("on")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two encoders on four kinds of task; names of classes, cases and an encoder are scripts."""
    root = tmp_path_factory.mktemp("runs")
    classes = ("CN", EVIL, "$AD$")
    for encoder, signal in (("braindino", 1.5), ("scratch & co", 0.5)):
        table = cells(classification, signal=signal, fractions=(0.5, 1.0), classes=classes)
        table["case"] = table["case"].replace("made:004:0", EVIL)
        weak = cells(classification, signal=0.1, fractions=(0.5, 1.0), classes=classes)
        weak["case"] = weak["case"].replace("made:004:0", EVIL)
        run = write_run(root / "adni_cls" / encoder / "1", table, baseline=weak, reasons={"empty file": 1})
        dropped = pd.DataFrame({"path": ["a.nii"], "subject": [EVIL], "case": [""], "reason": ["empty file"]})
        dropped.to_csv(run / "dropped.csv", index=False)
        write_run(root / "age" / encoder / "1", cells(regression, noise=4 / signal), "regression", "age")
        write_run(root / "cox" / encoder / "1", cells(survival, signal=signal), "survival", "days")
        write_run(
            root / "seg" / encoder / "1",
            cells(segmentation, level=0.5 + 0.2 * signal, regions=("whole", EVIL)),
            "segmentation",
            "mask",
        )
    square = np.zeros((3, 2, 16, 16), bool)
    square[:, :, 4:9, 4:9] = True
    cell = root / "seg" / "braindino" / "1" / "cells" / "seed0_fraction1.0"
    cell.mkdir(parents=True)
    np.savez(
        cell / "examples.npz",
        place=["best", "median", "worst"],
        case=["made:001:0", EVIL, "c"],
        dice=[0.9, 0.5, 0.1],
        image=np.zeros((3, 16, 16), np.uint8),
        truth=square,
        answer=~square,
        regions=["whole", EVIL],
    )
    rng = np.random.default_rng(0)
    np.savez(
        root / "age" / "braindino" / "1" / "patches.npz",
        case=[EVIL, "b"],
        slice=[3, 4],
        image=rng.normal(size=(2, 16, 16)).astype(np.float16),
        held=np.ones((2, 2, 2), bool),
        colours=rng.random((2, 2, 2, 3)).astype(np.float16),
        upright=True,
    )
    Image.new("RGB", (20, 10), "red").save(root / "age" / "braindino" / "1" / "maps.png")
    return root


@pytest.fixture(scope="module")
def page(runs):
    return build_page(runs_by_model([runs]), 50, f"Report {EVIL}")


@pytest.fixture(scope="module")
def html(page, tmp_path_factory):
    file = tmp_path_factory.mktemp("html") / "report.html"
    file.write_text(render(page), encoding="utf-8")
    return file


def test_build_page_has_all_tables_figures_and_details(page, html):
    titles = {section.name: [table.title for table in section.tables] for section in page.sections}
    assert titles["adni_cls"] == [
        *("Results on the test part", "Models against each other", "Further tests, and by age"),
        *("Against baselines", "Subgroups"),
    ]
    assert "Without the age bias" in titles["age"]
    figures = {section.name: [figure.title for figure in section.figures] for section in page.sections}
    assert figures == {
        "adni_cls": ["Metric by number of labels", "Calibration", "ROC curves", "Confusion matrix"],
        "age": ["Prediction by truth", "PCA maps, braindino"],
        "cox": ["Kaplan-Meier curves"],
        "seg": ["Dice of every case", "Best, median and worst case, braindino", "Examples, scratch & co"],
    }
    text = html.read_text()
    for wanted in (
        *(
            "The run has no saved slices of test cases.",
            "95 % interval",
            "Leakage audit",
            "empty file",
            "torch 2.8.0",
            "picture 1",
        ),
        "braindino probe --config adni_cls.yaml --data.root &#39;my scans&#39;",
    ):
        assert wanted in text, wanted
    values = [row[-1] for row in page.overview.rows]
    assert len(values) == 8
    assert all(re.fullmatch(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]|\d+\.\d+ \[.*\]", value) for value in values)


def test_render_shows_ids_and_paths_only_with_identify(runs, html):
    shared = html.read_text()
    drawn = [base64.b64decode(each).decode() for each in re.findall(r"svg\+xml;base64,([\w+/=]+)", shared)]
    identified = render(build_page(runs_by_model([runs]), 20, "Mine", identify=True))
    for name in ("cd /home/user", "maps.png", str(runs)):
        assert name in identified
        assert name not in shared
    assert not any("made:001:0" in text for text in (shared, *drawn))
    assert len(re.findall(r"id-[0-9a-f]{8}", shared)) >= 1
    assert f".../{'/'.join((runs / 'age' / 'braindino' / '1').parts[-3:])}" in shared


def test_build_page_hides_training_and_dropped_people_in_sentences(runs, tmp_path):
    run = tmp_path / "age" / "enc" / "1"
    shutil.copytree(runs / "age" / "braindino" / "1", run)
    (run / "cases.csv").write_text("case,group,split\nTRAIN-77:1,made:TRAIN-77,train\n")
    (run / "dropped.csv").write_text(
        "path,subject,case,reason\na.nii,GONE-12,,the scan of GONE-12 is empty\n"
    )
    results = json.loads((run / "results.json").read_text())
    results["failed"] = ["seed 1: TRAIN-77, in /data/secret/TRAIN-77.csv"]
    (run / "results.json").write_text(json.dumps(results))
    shown = render(build_page(runs_by_model([tmp_path]), 5, "x"))
    assert "WARNING: not trained: seed 1: id-" in shown
    for secret in ("TRAIN-77", "GONE-12", "/data/secret"):
        assert secret not in shown
    assert "TRAIN-77" in render(build_page(runs_by_model([tmp_path]), 5, "x", identify=True))


def test_build_page_shows_no_picture_that_is_a_link_or_no_png(runs, tmp_path):
    run = tmp_path / "age" / "enc" / "1"
    shutil.copytree(runs / "age" / "braindino" / "1", run)
    secret = tmp_path / "secret.png"
    secret.write_bytes((run / "maps.png").read_bytes())
    (run / "link.png").symlink_to(secret)
    (run / "linked").symlink_to(tmp_path)
    (run / "text.png").write_text("root:x:0:0")
    (run / "half.png").write_bytes((run / "maps.png").read_bytes()[:40])
    figures = build_page(runs_by_model([run]), 5, "x", identify=True).sections[0].runs[0].pictures
    assert {figure.title: (bool(figure.source), figure.caption) for figure in figures} == {
        "maps.png": (True, ""),
        "half.png": (False, "Not shown: not a PNG."),
        "link.png": (False, "Not shown: a link, which is not followed."),
        "linked/secret.png": (False, "Not shown: a link, which is not followed."),
        "text.png": (False, "Not shown: not a PNG."),
    }


@pytest.mark.parametrize("name", ["config.yaml", "dropped.csv", "environment.json", "results.json"])
def test_build_page_follows_no_link_out_of_a_run_folder(name, runs, tmp_path):
    run = tmp_path / "age" / "enc" / "1"
    shutil.copytree(runs / "age" / "braindino" / "1", run)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match=rf"{name}: a link that leads out of the run folder"):
        build_page(runs_by_model([run]), 5, "x")


def test_render_loads_nothing_and_runs_no_script(html):
    seen = Resources()
    seen.feed(html.read_text())
    assert not {"script", "iframe", "object", "embed", "link", "form"} & seen.tags
    assert seen.sources
    assert all(source.startswith(("data:image/", "#")) for source in seen.sources)
    assert EVIL not in html.read_text()
    for source in seen.sources:
        if source.startswith("data:image/svg+xml;base64,"):
            drawn = base64.b64decode(source.partition(",")[2]).decode()
            assert "<script" not in drawn
            links = re.findall(r'(?:xlink:)?href="([^"]*)"', drawn)
            assert all(link.startswith(("#", "data:image/png")) for link in links)


def test_table_files_are_csv_and_latex(page):
    files = table_files(page)
    assert {"overview.csv", "overview.tex", "adni_cls_results_on_the_test_part.csv"} <= set(files)
    tex = files["adni_cls_against_baselines.tex"]
    assert tex.startswith("\\begin{tabular}{llllrrrr}\n\\toprule")
    assert "age\\_sex\\_site" in tex
    assert "scratch \\& co" in tex
    assert "100\\%" in tex
    sites = [line for line in files["adni_cls_results_on_the_test_part.csv"].splitlines() if "auroc" in line]
    assert len(sites) == 4


def test_build_page_of_a_single_run_has_no_comparison(runs):
    (section,) = build_page(runs_by_model([runs / "age" / "braindino"]), 50, "One").sections
    assert [table.title for table in section.tables] == [
        "Results on the test part",
        "Without the age bias",
        "Subgroups",
    ]


def test_build_page_joins_runs_of_one_label_fraction_each_into_a_curve(tmp_path):
    """As few-shot training leaves them: `<root>/<config>/<id>`, a run per fraction."""
    few_shot = {"ours_all": (1.0, 0.8), "ours_quarter": (0.25, 0.7), "random_quarter": (0.25, 0.5)}
    runs = []
    for name, (fraction, level) in few_shot.items():
        table = cells(segmentation, seeds=(0,), fractions=(fraction,), level=level, counted=True)
        run = write_run(tmp_path / "runs" / "brats" / name, table, "segmentation", "mask")
        model = {"init_args": {"init_from": name.partition("_")[0]}}
        data = {"init_args": {"fraction": fraction, "missing": "drop", "batch_size": int(4 * fraction)}}
        config = {"run": {"name": "brats"}, "model": model, "data": data}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        runs.append(run)
    page = build_page(runs_by_model(runs), 50, "Few-shot")
    (section,) = page.sections
    results, compared, *_ = section.tables
    assert [row[:2] for row in results.rows] == [
        *(["ours_all", "100%"], ["ours_quarter", "25%"], ["random_quarter", "25%"])
    ]
    assert [row[:2] for row in compared.rows] == [["ours_quarter less random_quarter", "25%"]]
    assert [line.partition(",")[0] for line in page.notes] == [
        "brats: ours_all and ours_quarter are not compared",
        "brats: ours_all and random_quarter are not compared",
    ]
    assert page.notes[1].endswith("; random_quarter is compared with ours_quarter.")
    assert "lesion_f1" in set(section.tables[2].numbers["metric"])
    assert section.figures[0].title == "Metric by number of labels"
    names = joined_runs({run.name: Run(run) for run in runs})
    assert names == [["ours_all", "ours_quarter"], ["random_quarter"]]
    assert page.notes[0].replace("&", "") in render(page)
    alone = build_page(runs_by_model(runs[:2]), 50, "Nothing to compare")
    assert [table.title for table in alone.sections[0].tables][:2] == [
        *("Results on the test part", "Every region")
    ]
    assert len(alone.notes) == 1
    assert alone.sections[0].figures[0].title == "Metric by number of labels"


def test_joined_runs_does_not_join_runs_of_different_data(tmp_path):
    by_name = {}
    for name, modalities in (("all", None), ("t1", ["T1w"])):
        table = cells(segmentation, seeds=(0,), fractions=(1.0 if name == "all" else 0.5,))
        run = write_run(tmp_path / "brats" / name, table, "segmentation", "mask")
        data = {"init_args": {"cases": {"init_args": {"modalities": modalities}}}}
        (run / "config.yaml").write_text(yaml.safe_dump({"data": data}))
        by_name[name] = Run(run)
    assert joined_runs(by_name) == [["all"], ["t1"]]
    (section,) = build_page(runs_by_model([run.path for run in by_name.values()]), 50, "Points").sections
    assert section.figures[0].title == "Metric by number of labels"
    assert section.figures[0].caption.endswith("differ in more than the label fraction are not joined.")


def test_render_in_a_browser(html, tmp_path):
    browser = find_browser(tmp_path)
    text = browser.text(html)
    assert "<title>Report &lt;script&gt;" in text  # unchanged: no script ran
    assert "Metric by number of labels" in text
    picture = tmp_path / "page.png"
    browser.picture(html, picture, (1200, 3000))
    with Image.open(picture) as opened:
        pixels = np.asarray(opened.convert("RGB"), dtype=int)
    assert pixels.shape == (3000, 1200, 3)
    assert (np.abs(pixels[5, 5] - [11, 61, 102]) < 3).all()  # the header's blue: styles are applied
    # The first series' colour: the curves, which are pictures inside the page, were drawn.
    assert (np.abs(pixels - [0, 114, 178]).sum(axis=2) < 12).sum() > 500
