"""Errors of the dashboards layer.

UndercityError
└── DashboardError
    ├── ConsoleError  the console cannot be set up as told
    ├── BadRequest    a request to the console asks for what there is not
    └── BoardError    Grafana boards cannot be built, exported or published
"""

from __future__ import annotations

from devices.errors import UndercityError
from devices.spec import Text


class DashboardError(UndercityError):
    """Root of the errors of `dashboards`."""


class ConsoleError(DashboardError):
    """Raised when the console cannot be set up as told."""


class BadRequest(DashboardError):  # noqa: N818  named after the answer it becomes
    """Raised when a request asks for what there is not; `status` is the HTTP answer, `said` its line."""

    def __init__(self, said: Text, status: int = 400) -> None:
        super().__init__(said.en)
        self.said = said
        self.status = status


class BoardError(DashboardError):
    """Raised when Grafana boards cannot be built, exported or published."""
