"""Datasets as their owners lay them out: manifests, splits by person, and data modules."""

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from braindino.errors import BraindinoError

if TYPE_CHECKING:
    from braindino.datasets.abide import ABIDE as ABIDE
    from braindino.datasets.adni import ADNI as ADNI
    from braindino.datasets.atlas import ATLAS as ATLAS
    from braindino.datasets.bids import BIDS as BIDS
    from braindino.datasets.brain_age import BrainAge as BrainAge
    from braindino.datasets.brats import BraTS2021 as BraTS2021
    from braindino.datasets.brats import BraTS2023 as BraTS2023
    from braindino.datasets.brats import BraTS2024GoAT as BraTS2024GoAT
    from braindino.datasets.brats_folds import BraTSFolds as BraTSFolds
    from braindino.datasets.cohort import Cohort as Cohort
    from braindino.datasets.datamodule import ScanDataModule as ScanDataModule
    from braindino.datasets.folder import Folder as Folder
    from braindino.datasets.ixi import IXI as IXI
    from braindino.datasets.long579 import LONG579 as LONG579
    from braindino.datasets.oasis import OASIS as OASIS
    from braindino.datasets.pixar import Pixar as Pixar
    from braindino.datasets.slices import SliceDataModule as SliceDataModule
    from braindino.datasets.ucsf_pdgm import UCSFPDGM as UCSFPDGM
    from braindino.datasets.upenn_gbm import UPENNGBM as UPENNGBM
    from braindino.datasets.volume_cases import VolumeCases as VolumeCases
    from braindino.datasets.volumes import VolumeDataModule as VolumeDataModule

# Name on the command line -> "module:Class", imported when it is asked for.
DATASETS = {
    "abide": "abide:ABIDE",
    "adni": "adni:ADNI",
    "atlas": "atlas:ATLAS",
    "bids": "bids:BIDS",
    "brain_age": "brain_age:BrainAge",
    "brats2021": "brats:BraTS2021",
    "brats2023": "brats:BraTS2023",
    "brats2024_goat": "brats:BraTS2024GoAT",
    "cohort": "cohort:Cohort",
    "folder": "folder:Folder",
    "ixi": "ixi:IXI",
    "long579": "long579:LONG579",
    "oasis": "oasis:OASIS",
    "pixar": "pixar:Pixar",
    "ucsf_pdgm": "ucsf_pdgm:UCSFPDGM",
    "upenn_gbm": "upenn_gbm:UPENNGBM",
}
_CLASSES = {
    "BraTSFolds": "brats_folds",
    "ScanDataModule": "datamodule",
    "SliceDataModule": "slices",
    "VolumeCases": "volume_cases",
    "VolumeDataModule": "volumes",
} | {place.partition(":")[2]: place.partition(":")[0] for place in DATASETS.values()}


# True in a process that lists files and ends: data modules are then made without Lightning (see `base`).
LISTS_ONLY = False


def list_only() -> None:
    """Declare that this process trains nothing; to be called before a data module is imported."""
    global LISTS_ONLY
    LISTS_ONLY = True


def dataset_class(name: str) -> "type[ScanDataModule]":
    """The data module that is called `name` on the command line, or lies at a dotted path, `my_file.MyStudy`.

    Raises:
        BraindinoError: neither; the nearest names are told.
    """
    if "." in name:
        return _class_at(name)
    if name not in DATASETS:
        near = get_close_matches(name.lower(), DATASETS, 1, 0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise BraindinoError(f"no dataset {name!r}.{hint} There are: {', '.join(sorted(DATASETS))}.")
    module, _, attribute = DATASETS[name].partition(":")
    found: type[ScanDataModule] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return found


def _class_at(path: str) -> "type[ScanDataModule]":
    from braindino.datasets.datamodule import ScanDataModule

    module, _, attribute = path.rpartition(".")
    try:
        found = getattr(import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise BraindinoError(
            f"dataset {path!r}: {error}.\n"
            "Put the folder of its file on the PYTHONPATH, such as PYTHONPATH=. before braindino."
        ) from None
    if not (isinstance(found, type) and issubclass(found, ScanDataModule)):
        raise BraindinoError(f"dataset {path!r}: expected a class that derives from ScanDataModule.")
    return found


def __getattr__(attribute: str) -> Any:
    """Classes by their own names, as a config's `class_path` gives them; torch is imported only then."""
    if attribute in _CLASSES:
        return getattr(import_module(f"{__name__}.{_CLASSES[attribute]}"), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
