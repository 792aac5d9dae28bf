"""Foundation models for brain MRI: pretrain on slices, freeze the encoder, probe it.

Names are imported on first use: `import braindino` itself loads neither torch nor pandas.
"""

import os as _os
from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from braindino.version import __version__ as __version__

if TYPE_CHECKING:
    from braindino import analysis as analysis
    from braindino import brainsegfounder as brainsegfounder
    from braindino import datasets as datasets
    from braindino import encoders as encoders
    from braindino import errors as errors
    from braindino import pretraining as pretraining
    from braindino import probing as probing
    from braindino import scans as scans
    from braindino import synthetic as synthetic
    from braindino import training as training
    from braindino import verbs as verbs
    from braindino.analysis.predictions import read_predictions as read_predictions
    from braindino.analysis.runs import Run as Run
    from braindino.analysis.runs import find_runs as find_runs
    from braindino.brainsegfounder import DynUNetModule as DynUNetModule
    from braindino.brainsegfounder import SwinSSLModule as SwinSSLModule
    from braindino.brainsegfounder import SwinUNETRModule as SwinUNETRModule
    from braindino.datasets import dataset_class as dataset_class
    from braindino.datasets.manifest import Manifest as Manifest
    from braindino.encoders.base import Encoder as Encoder
    from braindino.encoders.checkpoints import load_encoder as load_encoder
    from braindino.encoders.features import extract as extract
    from braindino.errors import BraindinoError as BraindinoError
    from braindino.pretraining import DINOModule as DINOModule
    from braindino.probing import FrozenProbeModule as FrozenProbeModule
    from braindino.probing import Protocol as Protocol
    from braindino.probing import run_study as run_study
    from braindino.probing.predict.probe import load_probe as load_probe
    from braindino.scans.contract import Preprocessing as Preprocessing
    from braindino.scans.preprocessing import decode as decode
    from braindino.scans.preprocessing import preprocess as preprocess
    from braindino.scans.reading import Scan as Scan
    from braindino.scans.reading import read_scan as read_scan
    from braindino.scans.store.fill import fill as fill
    from braindino.scans.store.store import Store as Store
    from braindino.verbs.bench import bench as bench
    from braindino.verbs.check import check as check
    from braindino.verbs.compare import compare as compare
    from braindino.verbs.embed import embed as embed
    from braindino.verbs.export import export as export
    from braindino.verbs.index import index as index
    from braindino.verbs.knn import knn as knn
    from braindino.verbs.maps import maps as maps
    from braindino.verbs.predict import predict as predict
    from braindino.verbs.prepare import prepare as prepare
    from braindino.verbs.probe import probe as probe
    from braindino.verbs.report import report as report
    from braindino.verbs.space import space as space
    from braindino.verbs.status import status as status
    from braindino.verbs.synth import synth as synth

# Public name -> the module that defines it. Verbs of the command are functions of `braindino.verbs`.
_NAMES = {
    "bench": "braindino.verbs.bench",
    "BraindinoError": "braindino.errors",
    "check": "braindino.verbs.check",
    "compare": "braindino.verbs.compare",
    "dataset_class": "braindino.datasets",
    "decode": "braindino.scans.preprocessing",
    "DINOModule": "braindino.pretraining",
    "DynUNetModule": "braindino.brainsegfounder",
    "embed": "braindino.verbs.embed",
    "Encoder": "braindino.encoders.base",
    "export": "braindino.verbs.export",
    "extract": "braindino.encoders.features",
    "fill": "braindino.scans.store.fill",
    "find_runs": "braindino.analysis.runs",
    "FrozenProbeModule": "braindino.probing",
    "index": "braindino.verbs.index",
    "knn": "braindino.verbs.knn",
    "load_encoder": "braindino.encoders.checkpoints",
    "load_probe": "braindino.probing.predict.probe",
    "Manifest": "braindino.datasets.manifest",
    "maps": "braindino.verbs.maps",
    "predict": "braindino.verbs.predict",
    "prepare": "braindino.verbs.prepare",
    "preprocess": "braindino.scans.preprocessing",
    "Preprocessing": "braindino.scans.contract",
    "probe": "braindino.verbs.probe",
    "Protocol": "braindino.probing",
    "read_predictions": "braindino.analysis.predictions",
    "read_scan": "braindino.scans.reading",
    "report": "braindino.verbs.report",
    "Run": "braindino.analysis.runs",
    "run_study": "braindino.probing",
    "Scan": "braindino.scans.reading",
    "space": "braindino.verbs.space",
    "status": "braindino.verbs.status",
    "Store": "braindino.scans.store.store",
    "SwinSSLModule": "braindino.brainsegfounder",
    "SwinUNETRModule": "braindino.brainsegfounder",
    "synth": "braindino.verbs.synth",
}
_ROOMS = (
    "analysis",
    "brainsegfounder",
    "datasets",
    "encoders",
    "errors",
    "pretraining",
    "probing",
    "scans",
    "synthetic",
    "training",
    "verbs",
)

__all__ = [
    "BraindinoError",
    "DINOModule",
    "DynUNetModule",
    "Encoder",
    "FrozenProbeModule",
    "Manifest",
    "Preprocessing",
    "Protocol",
    "Run",
    "Scan",
    "Store",
    "SwinSSLModule",
    "SwinUNETRModule",
    "__version__",
    "bench",
    "check",
    "compare",
    "dataset_class",
    "decode",
    "embed",
    "export",
    "extract",
    "fill",
    "find_runs",
    "index",
    "knn",
    "load_encoder",
    "load_probe",
    "maps",
    "predict",
    "prepare",
    "preprocess",
    "probe",
    "read_predictions",
    "read_scan",
    "report",
    "run_study",
    "space",
    "status",
    "synth",
]


# Hidden from type checkers, as they would accept any name.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name, or a room, when it is used."""
        if name in _NAMES:
            return getattr(_import_module(_NAMES[name]), name)
        if name in _ROOMS:
            return _import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES, *_ROOMS})


# pandas imports numexpr where it is installed, which ends with an error unless this is a number from 1 to 64;
# OpenMP allows larger ones, and a list ("2,1": a number per nested level).
_threads = _os.environ.get("OMP_NUM_THREADS", "").strip()
if _threads and not (_threads.isascii() and _threads.isdecimal() and 1 <= int(_threads) <= 64):
    _os.environ.setdefault("NUMEXPR_NUM_THREADS", "1")
