"""Self-distilled foundation models for brain MRI: scans in, frozen encoder, probes, honest numbers out."""

import os as _os

__version__ = "0.1.0"

# pandas imports numexpr where it is installed, which ends with an error unless this is a number from 1 to 64;
# OpenMP allows larger ones, and a list ("2,1": a number per nested level).
_threads = _os.environ.get("OMP_NUM_THREADS", "").strip()
if _threads and not (_threads.isascii() and _threads.isdecimal() and 1 <= int(_threads) <= 64):
    _os.environ.setdefault("NUMEXPR_NUM_THREADS", "1")
