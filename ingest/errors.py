"""Errors of the ingest layer.

UndercityError
└── IngestError
    ├── JournalError
    │   ├── JournalFull      nothing was stored: no space; try again later
    │   └── JournalCorrupt   a stored block does not match its checksum
    ├── BrokerError          the broker refused us, and trying again will not help
    └── StoreError
        ├── StoreUnavailable the time-series store cannot be reached now; try again later
        └── PointsRejected   the store took all but these points
"""

from __future__ import annotations

from devices.errors import UndercityError


class IngestError(UndercityError):
    """Root of the errors of `ingest`."""


class JournalError(IngestError):
    """Raised when the journal cannot be opened, read or written."""


class JournalFull(JournalError):  # noqa: N818  a state of the disk, read aloud as such
    """Raised when an append finds no space; nothing of it was stored."""


class JournalCorrupt(JournalError):  # noqa: N818
    """Raised when a stored block does not match its checksum; `next` is the offset behind it."""

    def __init__(self, reason: str, *, next: int) -> None:  # noqa: A002  as a block calls it
        super().__init__(reason)
        self.next = next


class BrokerError(IngestError):
    """Raised when the broker refuses us for a reason that trying again will not mend."""


class StoreError(IngestError):
    """Root of the time-series store's errors."""


class StoreUnavailable(StoreError):  # noqa: N818
    """Raised when the time-series store cannot be reached now; nothing is known to be stored."""
