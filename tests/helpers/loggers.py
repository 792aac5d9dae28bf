"""A Lightning logger that keeps rows in memory."""

from typing import Any

from lightning.pytorch.loggers.logger import Logger


class RowsLogger(Logger):
    """Save what is logged in memory.

    Attributes:
        rows: step and values of every call.
    """

    name, version = "rows", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Save a row."""
        self.rows.append((step, metrics))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def values(self, name: str) -> dict[int | None, float]:
        """Return the logged values of one metric by step.

        Raises:
            AssertionError: a step has two values.
        """
        logged = [(step, row[name]) for step, row in self.rows if name in row]
        assert len(dict(logged)) == len(logged), f"{name}: a step was logged twice"
        return dict(logged)
