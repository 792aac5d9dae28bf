"""Every verb shows people seen in pretraining, even under other tables, ids and file names."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from braindino.cli.main import main
from braindino.datasets import SliceDataModule
from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.export import export_encoder
from braindino.encoders.vit import ViTEncoder
from braindino.files import read_json
from braindino.scans.seen import Seen
from tests.helpers.tiny_vit import checkpoint_of

TINY = str(Path(__file__).parent.parent / "conf" / "tiny_fit.yaml")


def sees(encoder: Path, seen: Seen, out: Path) -> Path:
    """The encoder's weights as exported by a run that was trained on these people."""
    network = load_encoder(str(encoder))
    assert isinstance(network, ViTEncoder)
    content = checkpoint_of(network)
    seen.into(content)
    torch.save(content, out.with_suffix(".ckpt"))
    export_encoder(out.with_suffix(".ckpt"), out)
    return out


@pytest.fixture(scope="module")
def study(cohort: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`outcome.csv` of copies of scans, one per person, and encoders trained on all or none."""
    folder = tmp_path_factory.mktemp("study")
    table = pd.read_csv(cohort / "adni.csv").drop_duplicates("group", ignore_index=True)
    lines = ["id,path,label"]
    for number, row in table.iterrows():
        shutil.copy(cohort / row["path"], folder / f"x{number}.nii.gz")
        lines.append(f"x{number},x{number}.nii.gz,{row['diagnosis']}")
    (folder / "outcome.csv").write_text("\n".join(lines) + "\n")
    data = SliceDataModule(cohort / "store", batch_size=2, num_workers=0)
    data.setup()
    sees(encoder, data.trained_on(), folder / "leaky")
    sees(encoder, Seen(gaps=("stage 1 is not recorded",)), folder / "gap")
    index = ["index", str(folder / "outcome.csv"), "--dataset", "cohort", "--out", str(folder / "m.csv")]
    assert main(index) == 0
    size = ("--depth", "8", "--size", "16")
    assert main(["prepare", str(folder / "m.csv"), "--store", str(folder / "store"), *size]) == 0
    return folder


@pytest.fixture(scope="module")
def runs(study: Path) -> Path:
    """Probes of both encoders."""
    for name in ("leaky", "gap"):
        command = [
            *("probe", "--config", "cohort_cls.yaml", "--data.root", str(study / "outcome.csv")),
            *("--data.store", str(study / "store"), "--model.encoder", str(study / name)),
            *("--run.root", str(study / "runs"), "--run.id", "a", "--probe.seeds", "[0]"),
            *("--probe.max_epochs", "1", "--probe.resamples", "0", "--probe.baselines", "false"),
            *("--trainer.accelerator", "cpu"),
        ]
        assert main(command) == 0
    return study / "runs" / "cohort_cls"


def test_probe_counts_people_by_their_scans(runs: Path) -> None:
    results = read_json(runs / "leaky" / "a" / "results.json")
    seen, counts = results["audit"]["pretraining"], results["cases"]
    assert seen["people"] == sum(part["people"] for part in counts.values()) == 17
    assert (seen["test"], seen["by_name_only"], seen["gaps"]) == (counts["test"]["people"], 0, [])
    other = read_json(runs / "gap" / "a" / "results.json")["audit"]["pretraining"]
    assert (other["people"], other["gaps"]) == (0, ["stage 1 is not recorded"])


def test_report_and_compare_show_leakage(study: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = study / "r.html"
    assert main(["report", str(runs), "--out", str(page), "--resamples", "10"]) == 0
    text = page.read_text()
    assert re.search(r"pretrained on</dt><dd>17, of these \d+ in test", text)
    assert "the list is INCOMPLETE: stage 1 is not recorded" in text
    capsys.readouterr()
    both = [str(runs / "leaky"), str(runs / "gap")]
    assert main(["compare", *both, "--resamples", "10", "--out", str(study / "c")]) == 0
    shown = capsys.readouterr().out
    assert "cohort_cls: WARNING: leaky was pretrained on 17 of these people" in shown
    assert "cohort_cls: The list of people that gap was pretrained on is INCOMPLETE" in shown
    leakage = json.loads((study / "c" / "compare.json").read_text())["leakage"]
    assert len(leakage) == 2


def test_knn_and_check_show_leakage(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [*("--target", "label", "--store", str(study / "store"), "--out", str(study / "knn"), "--k", "1")]
    encoders = ["--encoder", str(study / "leaky"), "--encoder", str(study / "gap")]
    assert main(["knn", str(study / "m.csv"), *encoders, *given, "--device", "cpu", "--resamples", "0"]) == 0
    shown = capsys.readouterr().out
    assert "WARNING: leaky was pretrained on 17 of these people" in shown
    assert "The list of people that gap was pretrained on is INCOMPLETE" in shown
    audit = read_json(study / "knn" / "leaky_k1" / "leakage.json")["audit"]["pretraining"]
    assert audit["people"] == 17
    tables = [str(study / "knn" / f"{name}_k1") for name in ("leaky", "gap")]
    main(["compare", *tables, "--resamples", "10"])
    for source in ("leaky", "leaky/pretraining_people.txt", "leaky.ckpt"):
        assert main(["check", str(study / "m.csv"), "--pretraining", str(study / source), "--strict"]) == 1
        assert "17  seen in pretraining" in capsys.readouterr().out
    assert main(["check", str(study / "m.csv"), "--pretraining", str(study / "gap")]) == 0
    shown = capsys.readouterr().out
    assert "seen in pretraining" not in shown
    assert "beyond its list (stage 1 is not recorded)" in shown


def test_predict_warns_about_scans_that_were_trained_on(study: Path, runs: Path) -> None:
    run = runs / "gap" / "a"
    cases = pd.read_csv(run / "cases.csv")
    given = ["--probe", str(run), "--out", str(study / "new"), "--device", "cpu"]
    main(["predict", *[str(study / f"{name.split(':')[1]}.nii.gz") for name in cases["group"]], *given])
    table = pd.read_csv(study / "new" / "predictions.csv", keep_default_na=False)
    warned = {
        Path(row["scans"]).name.partition(".")[0]
        for row in table.to_dict("records")
        if "seen: the probe was trained on this scan" in row["warnings"]
    }
    assert warned == set(cases.loc[cases["split"] == "train", "group"].str.removeprefix("outcome:"))


def test_fit_excludes_by_content_and_rejects_a_list_that_matches_no_one(
    cohort: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = runs / "leaky" / "a" / "cases.csv"
    command = ["fit", "--config", "pretrain.yaml", "--config", TINY, f"--data.store={cohort / 'store'}"]
    command += ["--run.root", str(tmp_path), "--data.exclude"]
    assert main([*command, str(cases), "--run.id", "a"]) == 0
    held_out = int(pd.read_csv(cases)["split"].isin(["val", "test"]).sum())
    assert (
        f"of {held_out} people, {held_out} of them by the content of their scans" in capsys.readouterr().out
    )
    pd.read_csv(cases)[["case", "group", "split"]].to_csv(tmp_path / "old.csv", index=False)
    assert main([*command, str(tmp_path / "old.csv"), "--run.id", "b"]) == 2
    error = capsys.readouterr().err
    assert "is a person or a scan of" in error
    assert "remove data.exclude" in error


def test_prepare_rejects_two_tables_of_one_name_in_one_store(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for site, first in (("siteA", 0), ("siteB", 5)):
        (tmp_path / site).mkdir()
        lines = [f"{i},{study / f'x{first + i}.nii.gz'},{i % 2}" for i in range(5)]
        (tmp_path / site / "patients.csv").write_text("\n".join(["id,path,label", *lines]) + "\n")
        table, out = str(tmp_path / site / "patients.csv"), str(tmp_path / f"{site}.csv")
        assert main(["index", table, "--dataset", "cohort", "--out", out]) == 0
    store = ["--store", str(tmp_path / "store")]
    assert main(["prepare", str(tmp_path / "siteA.csv"), *store, "--depth", "8", "--size", "16"]) == 0
    capsys.readouterr()
    assert main(["prepare", str(tmp_path / "siteB.csv"), *store]) == 2
    assert "5 people of both have the same key" in capsys.readouterr().err
    again = ["index", str(tmp_path / "siteB" / "patients.csv"), "--dataset", "cohort"]
    assert main([*again, "--options.dataset", "siteB", "--out", str(tmp_path / "siteB.csv")]) == 0
    assert main(["prepare", str(tmp_path / "siteB.csv"), *store]) == 0
