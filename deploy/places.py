"""Where a device stands, for the people who are told about it.

From: the registry. To: the alert book (districts) and the sender (addresses), as one lookup that both can call often.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from devices.errors import RegistryError
from devices.registry import RegistryReader, Site
from processors.notify.settings import Place

_FRESH_S = 5.0  # how long an answer may be behind the registry


class Places:
    """A lookup over `registry`, from any thread; it remembers answers until the registry changes.

    A gateway stands at its own site. What is not registered has no place.
    """

    def __init__(self, registry: RegistryReader, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._checked = float("-inf")
        self._revision = -1
        self._sites: Mapping[str, Site] = {}
        self._known: dict[str, Place | None] = {}

    def __call__(self, device: str) -> Place | None:
        """The place of `device`, None when it is not known."""
        self._refresh()
        known = self._known
        if device not in known:
            known[device] = self._find(device)
        return known[device]

    def _refresh(self) -> None:
        now = self._monotonic()
        if now - self._checked < _FRESH_S:
            return
        self._checked = now
        revision = self._registry.revision()
        if revision != self._revision:
            self._sites = {site.id: site for site in self._registry.sites()}
            self._known = {one.id: self._at(one.site, "") for one in self._registry.gateways()}
            self._revision = revision

    def _find(self, device: str) -> Place | None:
        try:
            found = self._registry.device(device)
        except RegistryError:
            return None
        return self._at(found.site, found.district)

    def _at(self, site: str, district: str) -> Place:
        known = self._sites.get(site)
        return Place(known.name or site, known.address, district) if known else Place(site, "", district)
