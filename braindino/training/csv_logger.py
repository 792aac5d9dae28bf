"""Write `metrics.csv`, the log that every run has, across interruptions.

Lightning's CSVLogger deletes the file of the run that it continues; this one appends to it, and drops the
rows after the checkpoint, so that the curve is that of an uninterrupted run.
"""

import csv
import io
import os
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from braindino.csv_text import neutralise
from braindino.files import atomic_write


class MetricsCSV(Logger):
    """Append one row per logging call to `<folder>/metrics.csv`.

    Args:
        folder: the run folder.
        flush_every: rows that wait in memory before they are written.
    """

    def __init__(self, folder: Path, flush_every: int = 20) -> None:
        super().__init__()
        self.folder = folder
        self.path = folder / "metrics.csv"
        self.flush_every = flush_every
        self._columns: list[str] = []
        self._waiting: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """Return the task that the run belongs to."""
        return self.folder.parent.name

    @property
    def version(self) -> str:
        """Return the id of the run."""
        return self.folder.name

    @property
    def save_dir(self) -> str:
        """Return the run folder; Lightning uses it as `trainer.log_dir`."""
        return str(self.folder)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the resolved config is saved whole as `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add one row; written every `flush_every` rows."""
        values = {neutralise(key): float(value) for key, value in metrics.items()}
        self._waiting.append({"step": step, **values})
        if len(self._waiting) >= self.flush_every:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the waiting rows; a new column rewrites the file with the wider header.

        Raises:
            OSError: the disk is full; the file then contains whole rows only.
        """
        if not self._waiting:
            return
        if not self._columns and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                self._columns = next(csv.reader(file), [])
        new = [
            key for key in dict.fromkeys(k for row in self._waiting for k in row) if key not in self._columns
        ]
        if new:
            self._columns += new
            self._rewrite([*self._rows(), *self._waiting])
        else:
            self._append()
        self._waiting = []

    def _append(self) -> None:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self._columns).writerows(self._waiting)
        before = self.path.stat().st_size
        try:
            with self.path.open("ab") as file:
                file.write(text.getvalue().encode())
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, before)
            error.filename = str(self.path)
            raise

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the waiting rows, whatever ended the run."""
        self.save()

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Drop the rows that a continued run writes again.

        Columns that are empty after that are dropped too: they return when they are first logged.

        Args:
            step: optimiser steps of the checkpoint; rows count from 0.
        """
        if not self.path.is_file():
            return
        rows = [
            row for row in self._rows() if (row.get("step") or "").isdecimal() and int(row["step"]) < step
        ]
        self._columns = [key for key in (rows[0] if rows else []) if any(row[key] for row in rows)]
        if rows:
            self._rewrite([{key: row[key] for key in self._columns} for row in rows])
        else:
            self.path.unlink()

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        # A row that a kill cut short lacks cells.
        return [row for row in rows if "step" in row and None not in row.values()]

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with atomic_write(self.path) as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
