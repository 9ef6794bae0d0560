"""Errors of the processing layer.

UndercityError
└── ProcessorError
    ├── RuleError      a kind names a detector or parameter that does not exist
    ├── SnapshotError  a snapshot cannot be read; the journal is read from further back instead
    ├── AlertError     an alert cannot take this step from its state
    ├── NotifyError    an address cannot be used as it is set
    ├── ThresholdError a rule cannot be changed as asked
    └── BacktestError  a file, the rules or a change to them cannot be used as asked
"""

from __future__ import annotations

from devices.errors import UndercityError
from devices.spec import Text


class ProcessorError(UndercityError):
    """Root of the errors of `processors`."""


class RuleError(ProcessorError):
    """Raised when a kind names a detector or a parameter that does not exist."""


class SnapshotError(ProcessorError):
    """Raised when a snapshot cannot be read."""


class AlertError(ProcessorError):
    """Raised when an alert cannot take a step from the state it is in."""


class NotifyError(ProcessorError):
    """Raised when an address cannot be used as it is set."""


class ThresholdError(ProcessorError):
    """Raised when a rule cannot be changed as asked; nothing was changed. `said`: the line in both languages."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(f"{en}; nothing was changed")
        self.said = Text(f"{zh}；未作任何修改", f"{en}; nothing was changed")


class BacktestError(ProcessorError):
    """Raised when a file, the rules or a change to them cannot be used as asked; nothing was run."""
