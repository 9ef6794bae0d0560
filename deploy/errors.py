"""Errors of the deployment layer.

UndercityError
└── DeployError
    ├── SettingsError    a setting is unknown or cannot be used; one line per fault
    ├── SchemaError      the operations database cannot be used as it is
    └── SupervisorError  a role does not exist or cannot be run
"""

from __future__ import annotations

from collections.abc import Sequence

from devices.errors import UndercityError


class DeployError(UndercityError):
    """Root of the errors of `deploy`."""


class SettingsError(DeployError):
    """Raised when settings cannot be used; `faults` holds one line for each thing to mend."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class SupervisorError(DeployError):
    """Raised when a role does not exist or cannot be run."""


class SchemaError(DeployError):
    """Raised when the operations database cannot be reached, or has another schema than expected."""
