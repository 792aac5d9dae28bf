"""Data modules of public and general datasets, with manifests and splits by person."""

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from braindino.errors import BraindinoError

if TYPE_CHECKING:
    from braindino.datasets.datamodule import ScanDataModule as ScanDataModule
    from braindino.datasets.discovery import find_scans as find_scans
    from braindino.datasets.discovery import no_scan_error as no_scan_error
    from braindino.datasets.generic.bids import BIDS as BIDS
    from braindino.datasets.generic.cohort import Cohort as Cohort
    from braindino.datasets.generic.folder import Folder as Folder
    from braindino.datasets.manifest import Manifest as Manifest
    from braindino.datasets.manifest import ManifestBuilder as ManifestBuilder
    from braindino.datasets.pretraining.slices import SliceDataModule as SliceDataModule
    from braindino.datasets.pretraining.volumes import VolumeDataModule as VolumeDataModule
    from braindino.datasets.public.abide import ABIDE as ABIDE
    from braindino.datasets.public.adni import ADNI as ADNI
    from braindino.datasets.public.atlas import ATLAS as ATLAS
    from braindino.datasets.public.brain_age import BrainAge as BrainAge
    from braindino.datasets.public.brats import BraTS2021 as BraTS2021
    from braindino.datasets.public.brats import BraTS2023 as BraTS2023
    from braindino.datasets.public.brats import BraTS2024GoAT as BraTS2024GoAT
    from braindino.datasets.public.brats_folds import BraTSFolds as BraTSFolds
    from braindino.datasets.public.ixi import IXI as IXI
    from braindino.datasets.public.long579 import LONG579 as LONG579
    from braindino.datasets.public.oasis import OASIS as OASIS
    from braindino.datasets.public.pixar import Pixar as Pixar
    from braindino.datasets.public.ucsf_pdgm import UCSFPDGM as UCSFPDGM
    from braindino.datasets.public.upenn_gbm import UPENNGBM as UPENNGBM
    from braindino.datasets.tables import find_tables as find_tables
    from braindino.datasets.volume_cases import VolumeCases as VolumeCases

__all__ = [
    "ABIDE",
    "ADNI",
    "ATLAS",
    "BIDS",
    "IXI",
    "LONG579",
    "OASIS",
    "UCSFPDGM",
    "UPENNGBM",
    "BraTS2021",
    "BraTS2023",
    "BraTS2024GoAT",
    "BraTSFolds",
    "BrainAge",
    "Cohort",
    "Folder",
    "Manifest",
    "ManifestBuilder",
    "Pixar",
    "ScanDataModule",
    "SliceDataModule",
    "VolumeCases",
    "VolumeDataModule",
    "dataset_class",
    "find_scans",
    "find_tables",
    "no_scan_error",
]

# Name on the command line -> "module:Class", imported on first use.
DATASETS = {
    "abide": "public.abide:ABIDE",
    "adni": "public.adni:ADNI",
    "atlas": "public.atlas:ATLAS",
    "bids": "generic.bids:BIDS",
    "brain_age": "public.brain_age:BrainAge",
    "brats2021": "public.brats:BraTS2021",
    "brats2023": "public.brats:BraTS2023",
    "brats2024_goat": "public.brats:BraTS2024GoAT",
    "cohort": "generic.cohort:Cohort",
    "folder": "generic.folder:Folder",
    "ixi": "public.ixi:IXI",
    "long579": "public.long579:LONG579",
    "oasis": "public.oasis:OASIS",
    "pixar": "public.pixar:Pixar",
    "ucsf_pdgm": "public.ucsf_pdgm:UCSFPDGM",
    "upenn_gbm": "public.upenn_gbm:UPENNGBM",
}
# Other public name -> module.
_NAMES = {
    "BraTSFolds": "public.brats_folds",
    "Manifest": "manifest",
    "ManifestBuilder": "manifest",
    "ScanDataModule": "datamodule",
    "SliceDataModule": "pretraining.slices",
    "VolumeCases": "volume_cases",
    "VolumeDataModule": "pretraining.volumes",
    "find_scans": "discovery",
    "find_tables": "tables",
    "no_scan_error": "discovery",
} | {place.partition(":")[2]: place.partition(":")[0] for place in DATASETS.values()}


def dataset_class(name: str) -> "type[ScanDataModule]":
    """Return the data module class of a registered name or of a dotted path `my_file.MyStudy`.

    Args:
        name: a key of `DATASETS`, or `module.Class`.

    Raises:
        BraindinoError: no such dataset; the message lists the registered names.
    """
    if "." in name:
        return _class_at(name)
    if name not in DATASETS:
        near = get_close_matches(name.lower(), DATASETS, 1, 0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise BraindinoError(f"no dataset {name!r}.{hint} There are: {', '.join(sorted(DATASETS))}.")
    module, _, attribute = DATASETS[name].partition(":")
    dataset: type[ScanDataModule] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return dataset


def _class_at(path: str) -> "type[ScanDataModule]":
    from braindino.datasets.datamodule import ScanDataModule

    module, _, attribute = path.rpartition(".")
    try:
        dataset = getattr(import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise BraindinoError(
            f"dataset {path!r}: {error}.\n"
            "Put the folder of its file on the PYTHONPATH, such as PYTHONPATH=. before braindino."
        ) from None
    if not (isinstance(dataset, type) and issubclass(dataset, ScanDataModule)):
        raise BraindinoError(f"dataset {path!r}: expected a class that derives from ScanDataModule.")
    return dataset


def __getattr__(attribute: str) -> Any:
    """Import a name on first use, so that `import braindino.datasets` does not import torch."""
    if attribute in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[attribute]}"), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
