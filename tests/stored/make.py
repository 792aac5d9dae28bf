"""Write the scans, store and encoder of the stored examples (run with commit d1b3d2c in an empty folder)."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from braindino.cli.main import main
from braindino.encoders.export import export_encoder
from braindino.encoders.vit import create_vit
from braindino.scans.contract import Preprocessing

rng = np.random.default_rng(0)
Path("scans").mkdir()
rows = []
for i in range(12):
    data = (rng.random((12, 12, 6)) * 50 + 20 * (i % 2) + 100).astype("int16")
    mask = np.zeros(data.shape, "uint8")
    mask[3 : 6 + i % 3, 4:8, 2:4] = 1
    data[mask > 0] += 150
    for name, a in (("t1", data), ("mask", mask)):
        img = nib.Nifti1Image(a, np.diag([2.0, 2, 2, 1]))
        nib.save(img, f"scans/p{i:02d}_{name}.nii.gz")
    rows.append(
        {
            "id": f"p{i:02d}",
            "t1": f"p{i:02d}_t1.nii.gz",
            "mask": f"p{i:02d}_mask.nii.gz",
            "group": "AB"[i % 2],
            "age": 40 + i,
            "sex": "FM"[(i // 2) % 2],
            "split": (
                "train",
                "train",
                "train",
                "train",
                "train",
                "train",
                "val",
                "val",
                "val",
                "test",
                "test",
                "test",
            )[i],
        }
    )
pd.DataFrame(rows).to_csv("scans/table.csv", index=False)
pd.DataFrame(rows)[["id", "split"]].rename(columns={"id": "subject"}).to_csv("split.csv", index=False)
assert (
    main(
        [
            "index",
            "scans/table.csv",
            "--dataset",
            "cohort",
            "--out",
            "manifest.csv",
            "--options.target",
            "group",
            "--options.path",
            "{T1w: t1}",
        ]
    )
    == 0
)
assert main(["prepare", "manifest.csv", "--store", "store", "--depth", "4", "--size", "16"]) == 0
contract = Preprocessing.from_dict(json.loads(Path("store/contract.json").read_text())["preprocessing"])
arguments: dict[str, Any] = {
    "embed_dim": 16,
    "depth": 1,
    "num_heads": 1,
    "patch_size": 4,
    "in_chans": 1,
    "mlp_ratio": 1.0,
}
name = "vit_tiny_patch16_dinov3_qkvb"
torch.manual_seed(0)
net = create_vit(name, **arguments)
torch.save(
    {
        "state_dict": {f"teacher.backbone.{k}": v for k, v in net.state_dict().items()},
        "global_step": 3,
        "encoder": {"architecture": name, "model_args": arguments, "preprocessing": contract.to_dict()},
        "pretraining_people": ["COHORT:x1"],
    },
    "e.ckpt",
)
export_encoder(Path("e.ckpt"), Path("encoder"))
Path("e.ckpt").unlink()
