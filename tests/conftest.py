"""Settings of every test: one thread, as tensors are tiny and threads on a busy machine wait in turn."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_SILENT", "true")
