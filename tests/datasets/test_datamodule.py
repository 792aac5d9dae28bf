from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.generic.bids import BIDS
from braindino.datasets.manifest import Manifest, ManifestBuilder
from braindino.datasets.public.adni import ADNI
from braindino.errors import BraindinoError, DatasetError
from braindino.scans.contract import Preprocessing
from braindino.scans.store.store import Store
from braindino.synthetic.adni import write_adni
from braindino.synthetic.files import save_mask, save_nifti
from braindino.synthetic.rendering import Lesion, SyntheticHead, render

SMALL = Preprocessing(depth=8, size=(16, 16))


def ready(module: ScanDataModule, contract: Preprocessing = SMALL) -> Any:
    module.use_contract(contract)
    module.prepare = True
    module.prepare_data()
    module.setup("fit")
    return module


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("adni")
    write_adni(root, people=18, shape=(10, 12, 10))
    return root


def test_datamodule_splits_sessions_by_person(root: Path) -> None:
    data = ready(ADNI(root, root / "store"))
    cases = data.cases
    assert cases["case"].is_unique
    assert list(cases.columns[:6]) == ["case", "dataset", "subject", "session", "group", "site"]
    assert cases.groupby("group")["split"].nunique().max() == 1
    for split in ("train", "val", "test"):
        assert set(cases.loc[cases["split"] == split, "target"]) == {0, 1, 2}
    assert (cases["target"] == cases["diagnosis"].map({"CN": 0, "MCI": 1, "AD": 2})).all()
    assert (cases["key_T1w"] != "").all()
    again = ready(ADNI(root, root / "store"))
    assert again.cases.equals(cases)
    other = ready(ADNI(root, root / "store", split_seed=1))
    assert not other.cases["split"].equals(cases["split"])


def test_datamodule_batches_contain_whole_cases(root: Path) -> None:
    data = ready(ADNI(root, root / "store", batch_size=3))
    batch = next(iter(data.val_dataloader()))
    assert batch["slices"].shape == (3, 1, 8, 16, 16)
    assert batch["slices"].dtype == torch.uint8
    assert batch["scale"].shape == batch["zero_point"].shape == batch["present"].shape == (3, 1)
    assert batch["target"].dtype == torch.int64
    store = Store.open(root / "store")
    for b in range(3):
        case = data.cases.loc[int(batch["case"][b])]
        assert case["split"] == "val"
        assert case["target"] == batch["target"][b]
        assert np.array_equal(batch["slices"][b, 0], store.slices(case["key_T1w"]))
    seen = torch.cat([batch["case"] for batch in data.train_dataloader()])
    assert sorted(seen.tolist()) == data.cases.index[data.cases["split"] == "train"].tolist()


def test_datamodule_accepts_a_manifest_as_root_and_folds(root: Path) -> None:
    ADNI(root).index(root).write(root / "adni.csv")
    modules = [ready(ADNI(root / "adni.csv", root / "store", folds=3, fold=fold)) for fold in range(3)]
    tests = [set(module.cases.loc[module.cases["split"] == "test", "case"]) for module in modules]
    assert sum(map(len, tests)) == len(set.union(*tests)) == len(modules[0].cases)
    for module in modules:
        assert set(module.cases["split"]) == {"train", "val", "test"}
    for options, message in (
        ({"fold": 1}, "give data.folds as well"),
        ({"folds": 3, "split_file": "a"}, "give one"),
    ):
        with pytest.raises(DatasetError, match=message):
            ADNI(root / "adni.csv", root / "store", **options)
    with pytest.raises(DatasetError, match="fold 3"):
        ready(ADNI(root / "adni.csv", root / "store", folds=3, fold=3))


def test_datamodule_follows_a_split_file(root: Path) -> None:
    first = ready(ADNI(root, root / "store"))
    swapped = first.cases.assign(split=first.cases["split"].replace({"train": "test", "test": "train"}))
    swapped[["case", "group", "split"]].to_csv(root / "split.csv", index=False)
    data = ready(ADNI(root, root / "store", split_file=root / "split.csv"))
    assert data.cases["split"].tolist() == swapped["split"].tolist()


def test_datamodule_refuses_a_store_with_a_different_contract(root: Path) -> None:
    ready(ADNI(root, root / "store"))
    with pytest.raises(BraindinoError, match="depth"):
        ready(ADNI(root, root / "store"), SMALL.replace(depth=9))


def test_datamodule_drops_unreadable_scans_with_a_reason(tmp_path: Path) -> None:
    write_adni(tmp_path, people=18, shape=(10, 12, 10))
    broken = ADNI(tmp_path).index(tmp_path).table["path"][0]
    Path(broken).write_bytes(Path(broken).read_bytes()[:1500])
    data = ready(ADNI(tmp_path, tmp_path / "store"))
    assert broken in set(data.dropped["path"])
    assert (data.dropped.loc[data.dropped["path"] == broken, "reason"] != "").all()
    assert len(data.cases) == len(data.manifest.table) - 1


def test_datamodule_without_labels_raises(tmp_path: Path) -> None:
    save_nifti(tmp_path / "sub-1" / "anat" / "sub-1_T1w.nii", render(SyntheticHead(0), shape=(10, 12, 10)))
    with pytest.raises(DatasetError, match="no labels"):
        ready(BIDS(tmp_path, tmp_path / "store"))


class Tumours(ScanDataModule):
    """Two sequences and a mask per case, a survival time and an event; every third case lacks FLAIR."""

    name = "tumours"
    target: ClassVar[tuple[str, ...]] = ("days", "event")
    modalities: ClassVar[tuple[str, ...]] = ("T1c", "FLAIR")

    def index(self, root: Path) -> Manifest:
        rows = ManifestBuilder(self.name)
        for i in range(12):
            for modality in ("T1c", "FLAIR", "mask"):
                path = root / f"{i}_{modality}.nii"
                if path.exists():
                    rows.keep(path, str(i), modality, days=100.0 + 10 * i, event=i % 2)
        return rows.build()


def test_datamodule_loads_several_scans_masks_and_two_targets(tmp_path: Path) -> None:
    for i in range(12):
        for sequence in ("T1c", "FLAIR")[: 1 if i % 3 == 0 else 2]:
            scan = render(SyntheticHead(i), sequence, (10, 12, 10 + i % 2), lesion=Lesion())
            save_nifti(tmp_path / f"{i}_{sequence}.nii", scan)
        assert scan.mask is not None
        save_mask(tmp_path / f"{i}_mask.nii", scan.mask, scan.affine)
    data = ready(Tumours(tmp_path, tmp_path / "store", batch_size=12), SMALL.replace(depth=None))
    assert len(data.cases) == 12
    assert (data.cases["mask"].map(lambda path: Path(path).name) == data.cases["subject"] + "_mask.nii").all()
    assert (data.cases["key_FLAIR"] == "").sum() == 4
    assert len(data.store.index()) == 20  # the masks are not prepared as images
    batch = next(iter(data.train_dataloader()))
    assert batch["slices"].shape[1:] == (2, 11, 16, 16)
    assert batch["target"].dtype == torch.float32
    values = (batch["slices"].float() - batch["zero_point"][..., None, None, None]) * batch["scale"][
        ..., None, None, None
    ]
    for b, case in enumerate(batch["case"].tolist()):
        row = data.cases.loc[case]
        assert batch["target"][b].tolist() == [row["days"], row["event"]]
        assert batch["present"][b].tolist() == [True, row["key_FLAIR"] != ""]
        if not row["key_FLAIR"]:
            assert (values[b, 1] == 0).all()
        if int(row["subject"]) % 2 == 0:
            assert (values[b, :, 10] == 0).all()  # ten slices, padded with background
    assert set(data.cases["split"]) == {"train", "val", "test"}
    folded = ready(Tumours(tmp_path, tmp_path / "store", folds=3), SMALL.replace(depth=None))
    assert set(folded.cases["split"]) == {"train", "val", "test"}


class Ages(Tumours):
    """One number per case."""

    target: ClassVar[tuple[str, ...]] = ("days",)
    modalities: ClassVar[tuple[str, ...]] = ("T1c",)


def test_datamodule_accepts_a_number_as_target_and_refuses_unknown_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(12):
        save_nifti(tmp_path / f"{i}_T1c.nii", render(SyntheticHead(i), "T1c", (10, 12, 10)))
    data = ready(Ages(tmp_path, tmp_path / "store", fractions=(0.5, 0.25, 0.25)))
    batch = next(iter(data.train_dataloader()))
    assert batch["target"].shape == (4,)
    assert batch["target"].dtype == torch.float32
    assert pd.api.types.is_float_dtype(data.cases["target"])
    monkeypatch.setattr(Ages, "target", ("age_in_days",))
    with pytest.raises(DatasetError, match="no label column 'age_in_days'; found days, event"):
        ready(Ages(tmp_path, tmp_path / "store"))
    monkeypatch.setattr(Ages, "target", ("event",))
    monkeypatch.setattr(Ages, "classes", ("alive", "dead"))
    with pytest.raises(DatasetError, match="has '0', which is none of alive, dead"):
        ready(Ages(tmp_path, tmp_path / "store"))
