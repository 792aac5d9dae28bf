"""Strip skulls by a command: cached, rejected on failure, run without a shell."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braindino.errors import BraindinoError, ScanError
from braindino.scans.contract import Preprocessing
from braindino.scans.reading import read_scan
from braindino.scans.skull_stripping import check_strip_cmd, strip_skull
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store

TOOL = """
import sys
import nibabel as nib
import numpy as np
source, target, what = sys.argv[2], sys.argv[4], sys.argv[5]
with open(sys.argv[6], "a") as log:
    log.write(source + "\\n")
image = nib.load(source)
data = np.asarray(image.dataobj).copy()
data[:4] = 0
if what == "fail":
    print("loading the network", file=sys.stderr)
    sys.exit("CUDA is not there")
if what == "crop":
    data = data[:-1]
if what == "garbage":
    open(target, "w").write("no image")
elif what != "nothing":
    nib.save(nib.Nifti1Image(data, image.affine), target)
"""


@pytest.fixture
def command(tmp_path: Path) -> Callable[[str], str]:
    """Return the command of a tool that sets the first four planes to 0, or fails as requested."""
    (tmp_path / "tool.py").write_text(TOOL)

    def make(what: str) -> str:
        return f"{sys.executable} {tmp_path}/tool.py -i {{in}} -o {{out}} {what} {tmp_path}/log.txt"

    return make


@pytest.fixture
def path(save: Callable[..., Path], head: Callable[..., np.ndarray]) -> Path:
    """Save a head under a name that a shell would split."""
    return save("scans/a head; rm $(x).nii.gz", head((12, 12, 12)) + 1)


def runs(tmp_path: Path) -> list[str]:
    """Return the files that the tool was run on."""
    log = tmp_path / "log.txt"
    return log.read_text().splitlines() if log.exists() else []


def test_fill_prepares_stripped_brain_and_runs_tool_once(
    tmp_path: Path, path: Path, command: Callable[[str], str]
) -> None:
    scan = read_scan(path)
    stripped = strip_skull(scan, command("well"), tmp_path / "cache")
    assert (stripped.data[:4] == 0).all()
    np.testing.assert_array_equal(stripped.data[4:], scan.data[4:])
    assert (stripped.sha256, stripped.path) == (scan.sha256, path)
    strip_skull(scan, command("well"), tmp_path / "cache")
    assert runs(tmp_path) == [str(path)]
    strip_skull(scan, command("well") + " again", tmp_path / "cache")
    assert len(runs(tmp_path)) == 2
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("fail", r"skull stripping failed \(exit code 1\): CUDA is not there"),
        ("nothing", "wrote nothing"),
        ("garbage", "unusable file: neither NIfTI"),
        ("crop", "changed the grid"),
    ],
)
def test_strip_skull_reports_failure(
    what: str, reason: str, tmp_path: Path, path: Path, command: Callable[[str], str]
) -> None:
    with pytest.raises(ScanError, match=reason) as caught:
        strip_skull(read_scan(path), command(what), tmp_path / "cache")
    assert caught.value.path == path


def test_store_records_command_and_separates_failures(
    tmp_path: Path, path: Path, save: Callable[..., Path], command: Callable[[str], str]
) -> None:
    contract = Preprocessing(depth=4, size=(8, 8))
    rows = pd.DataFrame({"path": [path]})
    store = Store.create(tmp_path / "store", contract, strip_cmd=command("well"))
    assert fill(store, rows, jobs=1, progress=False).prepared == 1
    assert fill(Store.open(store.path), rows, progress=False).present == 1
    whole = Store.create(tmp_path / "whole", contract)
    fill(whole, rows, progress=False)
    assert whole.index()["key"][0] != store.index()["key"][0]
    assert store.sidecar(store.index()["key"][0])["strip_cmd"] == command("well")
    failing = Store.create(tmp_path / "failing", contract, strip_cmd=command("fail"))
    assert fill(failing, rows, progress=False).rejected == 1
    assert failing.rejects()["reason"][0].startswith("skull stripping failed")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("hd-bet -i {in}", "expected {in} and {out}"),
        ("no-such-program -i {in} -o {out}", "no program 'no-such-program'"),
        ("hd-bet '{in} {out}", "No closing quotation"),
    ],
)
def test_check_strip_cmd_rejects_impossible_command(wrong: str, reason: str) -> None:
    with pytest.raises(BraindinoError, match=reason):
        check_strip_cmd(wrong)
