"""Writing synthetic volumes as scanners and archives do: any orientation, integers, an arbitrary gain."""

from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from braindino.datasets.synthetic.heads import Rendered


@dataclass
class Planted:
    """What a generator wrote, for tests to hold an index against.

    Attributes:
        scans: one dict per scan that an index should keep: `subject`, `session` and the labels.
        dropped: reason -> number of files that an index should drop.
    """

    scans: list[dict[str, object]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str) -> None:
        """Count one file to be dropped."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


def save_nifti(path: Path, rendered: Rendered, codes: str = "RAS", gain: float = 500.0) -> None:
    """Write int16 NIfTI with its axes turned to `codes`; 1.0 becomes `gain`.

    The gain is to be drawn at random by the caller: real scanners have no absolute scale, and none may tell
    the label.
    """
    values = np.clip(np.rint(rendered.volume * gain), 0, 32767).astype(np.int16)
    image = nib.Nifti1Image(values, rendered.affine)
    image.header.set_xyzt_units("mm")
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(rendered.affine), nib.orientations.axcodes2ornt(codes)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(turn), path)


def save_mask(path: Path, mask: np.ndarray, affine: np.ndarray, codes: str = "RAS") -> None:
    """Write labels as uint8 NIfTI, turned like the scan they belong to."""
    image = nib.Nifti1Image(mask.astype(np.uint8), affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(turn), path)
