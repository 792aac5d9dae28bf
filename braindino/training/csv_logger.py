"""The logger that is always on: `metrics.csv` in the run folder, which survives an interruption.

Lightning's CSVLogger deletes the file of the run that it continues; this one goes on writing it, and drops
the rows that lie after the checkpoint, so that the curve reads as if nothing had happened.
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
    """Appends one row per logging call to `<folder>/metrics.csv`.

    Args:
        folder: the run folder.
        flush_every: rows that are kept in memory before they are written.
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
        """The task that the run belongs to."""
        return self.folder.parent.name

    @property
    def version(self) -> str:
        """The id of the run."""
        return self.folder.name

    @property
    def save_dir(self) -> str:
        """The run folder; Lightning takes it for `trainer.log_dir`."""
        return str(self.folder)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: the resolved config is saved whole as `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep one row; written every `flush_every` rows."""
        values = {neutralise(key): float(value) for key, value in metrics.items()}
        self._waiting.append({"step": step, **values})
        if len(self._waiting) >= self.flush_every:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the rows that wait; a column that is new rewrites the file with the wider header.

        Raises:
            OSError: the disk is full; the file keeps whole rows.
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
        """Write what waits, whatever ended the run."""
        self.save()

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Drop rows that a run continued after `step` optimiser steps writes again (rows count from 0).

        Columns that no row is left in go too: they come back when they are first logged.
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
        return [row for row in rows if "step" in row and None not in row.values()]  # no half rows

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        with atomic_write(self.path) as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)
