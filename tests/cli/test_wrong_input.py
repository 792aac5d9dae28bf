"""Give wrong input to `index`, `check`, `prepare` and `synth`: exit code 2 and a clear message."""

from pathlib import Path

import pytest

from braindino.cli.main import main

# The command with {c}, the folder of the cohort, and {t}, an empty one; a piece of what is expected.
WRONG = [
    ("index {t}/no", "no such folder"),
    ("index {c}/ADNI --dataset adnl", "Did you mean 'adni'?"),
    ("index {c}/ADNI --dataset adni --out {t}", "exists and is not a manifest"),
    ("index {c}/ADNI --dataset adni --out /dev/null/m.csv", "/dev/null"),
    ("index {c}/ADNI --dataset adni --options.max_dais 3", "Did you mean 'max_days'?"),
    ("index {c}/ADNI --dataset adni --options.max_days soon", "options: max_days: expected int, got 'soon'"),
    ("index {c}/ADNI --dataset adni --options.use_group maybe", "use_group: expected bool"),
    ("index {c}/ADNI --dataset folder --options.dicom [1]", "folder, options: dicom: expected"),
    ("index {c}/ADNI --dataset bids --options.suffixes T2w", "suffixes: expected tuple"),
    ("index {c}/ADNI --dataset bids --options.suffixes [T2w]", "_..._T2w.nii.gz; found ADNI/"),
    ("index {c}/ADNI --dataset ixi --options.sequence T9", "sequence: expected one of 'T1w', 'T2w'"),
    ("check {t}/no.csv", "no such file"),
    ("check {t}", "a folder, not a file; expected a table"),
    ("check {c}/adni.csv --label age --between [9,1]", "expected the lower number first"),
    ("check {c}/adni.csv --label agee", "no label column 'agee'. Did you mean 'age'?"),
    ("check {c}/adni.csv --split {t}/no.csv", "no.csv: cannot be read"),
    ("check {c}/adni.csv --store {t}", "no store there"),
    ("check {c}/adni.csv --out {t}", "{t}: is a folder"),
    ("prepare {c}/adni.csv --store {c}/adni.csv", "neither empty nor a store"),
    ("prepare {c}/adni.csv --store {t} --jobs 0", "--jobs 0: expected 1 or more"),
    ("prepare {c}/adni.csv --store {t} --shard 4/4", "expected i/n"),
    ("prepare {c}/adni.csv --store {t} --size 0", "size is (0, 0), expected"),
    ("prepare {c}/adni.csv --store {t} --cluster {{'timeout_min':3}}", "give --submit JOBS as well"),
    ("prepare {c}/adni.csv --store {t} --strip-cmd hd-bet", "expected {{in}} and {{out}}"),
    ("synth {t}/a --seed -1", "seed: -1 is too small"),
    ("synth {t}/a --shape [4,9,9]", "shape: 4 is too small"),
    ("synth {t}/a --shape [9,9]", "shape: expected tuple with 3 elements"),
    ("synth {c}", "is not an empty folder"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "expected"), WRONG)
def test_main_reports_wrong_input(
    command: str, expected: str, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = {"c": cohort, "t": tmp_path}
    capsys.readouterr()
    assert main([word.format(**where) for word in command.split(" ")]) == 2
    message = capsys.readouterr().err
    assert expected.format(**where) in message
    assert message.startswith("braindino: error: ")
    assert message.count("\n") <= 3
