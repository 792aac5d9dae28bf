"""Test that a user's script is checked against the types of the public names (`py.typed`)."""

from pathlib import Path

import pytest
from mypy import api

SCRIPT = """\
from pathlib import Path

import pandas as pd

import braindino

manifest: braindino.Manifest = braindino.index("data/ADNI", dataset="adni", progress=False)
runs = braindino.find_runs(Path("runs"))
table: pd.DataFrame = runs[0].predictions
comparison = braindino.compare([run.path for run in runs], resamples=100)
best = comparison.table.sort_values("difference").iloc[0]
notes: list[str] = comparison.notes + comparison.leakage
page: Path = braindino.report("runs", "report.html", tables="tables").page
scan: braindino.Scan = braindino.read_scan("scan.nii.gz")
space = braindino.space("features.parquet", method="pca")
coordinates = space.table[list(space.coordinates)]
"""
MISTAKES = {
    'braindino.compare("runs", resample=100)': 'Unexpected keyword argument "resample" for "compare"',
    'braindino.compare("runs").notes.strip()': '"list[str]" has no attribute "strip"',
    'page: str = braindino.report("runs").page': 'expression has type "Path", variable has type "str"',
    'braindino.space("a.parquet", method="tnse")': 'Argument "method" to "space" has incompatible type',
    "braindino.raed_scan": 'Module has no attribute "raed_scan"; maybe "read_scan"?',
}
# Large packages are not read, so that this takes seconds; what depends on their types is not checked.
CONFIG = """\
[mypy]
strict = True
follow_imports = silent

[mypy-torch.*,torchvision.*,torchmetrics.*,lightning.*,timm.*,monai.*,matplotlib.*,scipy.*,sklearn.*,sksurv.*,\
statsmodels.*,nibabel.*,jsonargparse.*,safetensors.*,isal.*,yaml.*,tqdm.*,PIL.*,jinja2.*]
follow_imports = skip
ignore_missing_imports = True
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a config of mypy, and with its cache after the first script."""
    folder = tmp_path_factory.mktemp("script")
    (folder / "mypy.ini").write_text(CONFIG)
    return folder


def check(script: str, folder: Path) -> list[str]:
    """Return the errors that mypy reports for a script."""
    file = folder / "script.py"
    file.write_text(script)
    options = ["--config-file", str(folder / "mypy.ini"), "--cache-dir", str(folder / "cache")]
    stdout, stderr, _ = api.run([*options, "--no-error-summary", "--hide-error-context", str(file)])
    assert stderr == ""
    return [line for line in stdout.splitlines() if " error: " in line]


@pytest.mark.timeout(120)
def test_user_script_is_typed(folder: Path) -> None:
    assert check(SCRIPT, folder) == []


@pytest.mark.timeout(120)
def test_user_script_mistakes_are_reported(folder: Path) -> None:
    errors = check("\n".join(["import braindino", *MISTAKES]) + "\n", folder)
    assert [int(error.split(":")[1]) for error in errors] == list(range(2, 2 + len(MISTAKES)))
    for error, message in zip(errors, MISTAKES.values(), strict=True):
        assert message in error
