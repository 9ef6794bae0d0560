"""Questions to an SMP server, asked through smpclient and answered or refused in one line.

From: the SMP driver. To: a board's application or its MCUboot in serial recovery. smpclient is asynchronous; here it
is not, and what it logs of its own troubles is silenced: they are raised, with a line that says who.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from cbor2 import CBORError
from smp.error import MGMT_ERR
from smp.exceptions import SMPException
from smp.image_management import ImageState
from smp.os_management import BootMode, MCUbootMode, MCUbootModeQueryResponse
from smpclient import SMPClient
from smpclient.exceptions import SMPClientException
from smpclient.generics import SMPRequest, TEr1, TEr2, TRep, error_v1, success
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite, ImageUploadWrite
from smpclient.requests.os_management import (
    BootloaderInformationRead,
    MCUMgrParametersRead,
    OSApplicationInfoRead,
    ResetWrite,
)

from devices.errors import ExchangeError
from devices.firmware.link import Link
from devices.firmware.smp_console import ConsoleTransport

ANSWER_S: Final = 2.5
FIRST_CHUNK_S: Final = 40.0  # the board may erase the whole slot before it answers
CHUNK_S: Final = 5.0  # and a sector now and then
TRIES: Final = 3  # every question may be asked again: an upload names its offset, the rest changes nothing twice
_HEADER_BYTES: Final = 32  # Zephyr wants a whole image header in the first chunk
_MALFORMED: Final = (SMPClientException, SMPException, CBORError, ValueError, TypeError, AssertionError)

for _library in ("smpclient", "smp"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)


class DeniedError(ExchangeError):
    """Raised when the board answered with an error code: it does not know the command, or refuses it."""

    def __init__(self, reason: str, code: int = MGMT_ERR.EUNKNOWN) -> None:
        super().__init__(reason)
        self.code = int(code)


class Session:
    """One SMP server at the other end of `link`. All but `close` raise ExchangeError or LinkError.

    `most`: bytes of its buffer that are used, where it names a larger one.
    """

    def __init__(self, link: Link, most: int) -> None:
        self._link = link
        self._most = most
        self._transport = ConsoleTransport(link)
        self._client = SMPClient(self._transport, link.url, ANSWER_S)
        self._runner = asyncio.Runner()

    def negotiate(self) -> None:
        """Learn how large a message may be; a server that does not say gets small ones."""
        self._transport.initialize(0)
        try:
            named = self._ask(MCUMgrParametersRead, "its buffers").buf_size
            self._transport.initialize(min(named, self._most))
        except DeniedError:
            return

    def info(self, which: str) -> str:
        """One field of `os info`: `i` platform, `n` node name; empty where there is none, as in serial recovery."""
        try:
            return self._ask(lambda: OSApplicationInfoRead(format=which), "what it runs").output.strip()
        except DeniedError:
            return ""

    def bootloader(self) -> tuple[str, MCUbootMode]:
        """(name, how it changes images); empty and UNKNOWN where the application does not say."""
        try:
            name = self._ask(BootloaderInformationRead, "its bootloader").bootloader
            told = self._ask(lambda: BootloaderInformationRead(query="mode"), "its bootloader's mode").response
        except DeniedError:
            return "", MCUbootMode.UNKNOWN
        if isinstance(told, MCUbootModeQueryResponse):
            return name, told.mode
        return name, MCUbootMode.UNKNOWN

    def states(self, number: int, *, timeout_s: float = ANSWER_S, tries: int = TRIES) -> Sequence[ImageState]:
        """The images of number `number` it holds, in the order of their slots."""
        found = self._ask(ImageStatesRead, "its images", timeout_s=timeout_s, tries=tries)
        return sorted((one for one in found.images if (one.image or 0) == number), key=lambda one: one.slot)

    def mark(self, digest: bytes, *, confirm: bool) -> Sequence[ImageState]:
        """Have the image with `digest` tried at the next start, or kept for good; all its images afterwards."""
        what = "confirming the image" if confirm else "marking the image for a trial start"
        return self._ask(lambda: ImageStatesWrite(hash=digest, confirm=confirm), what).images

    def upload(self, payload: bytes, offset: int, number: int) -> tuple[int, bool | None]:
        """Send what fits from `offset`; (where the board says it is, whether the digest it computed at the end fits).

        At offset 0 it is told the payload's digest: a server that holds a part of this very payload names where it
        stopped.
        """
        answer = self._ask(
            lambda: self._chunk(payload, offset, number),
            f"upload at byte {offset}",
            timeout_s=CHUNK_S if offset else FIRST_CHUNK_S,
        )
        if answer.off is None:
            raise self._denied(f"upload at byte {offset}", answer.rc or MGMT_ERR.EUNKNOWN)
        if not 0 <= answer.off <= len(payload):
            raise ExchangeError(
                f"{self._link.url}: upload: expected 0 to {len(payload)}, it says byte {answer.off}"
            )
        return answer.off, answer.match

    def reset(self, *, recovery: bool = False) -> None:
        """Restart the board, on demand into serial recovery. An answer that is lost on the way does not matter."""
        mode = BootMode.BOOTLOADER if recovery else None
        try:
            self._ask(lambda: ResetWrite(boot_mode=mode), "restarting", tries=1)
        except DeniedError as error:
            if error.code != MGMT_ERR.EOK:  # MCUboot in serial recovery says "error 0"
                raise
        except ExchangeError:
            return

    def close(self) -> None:
        """Let go of the event loop; the line is not ours."""
        self._runner.close()

    def _chunk(self, payload: bytes, offset: int, number: int) -> ImageUploadWrite:
        if offset:
            empty = ImageUploadWrite(off=offset, data=b"")
        else:
            sha = hashlib.sha256(payload).digest()
            empty = ImageUploadWrite(off=0, data=b"", image=number, len=len(payload), sha=sha)
            if self._room(empty) < _HEADER_BYTES:
                # Too small a buffer for both: without the digest it cannot resume, but it can be written.
                empty = ImageUploadWrite(off=0, data=b"", image=number, len=len(payload))
        room = self._room(empty)
        if room < 1:
            raise ExchangeError(f"{self._link.url}: upload: its buffer is too small for any data")
        values = {
            name: getattr(empty, name) for name in ("image", "len", "sha") if getattr(empty, name) is not None
        }
        return ImageUploadWrite(off=offset, data=payload[offset : offset + room], **values)

    def _room(self, empty: ImageUploadWrite) -> int:
        return self._client.get_max_cbor_and_data_size(empty)[1]

    def _ask(
        self,
        question: Callable[[], SMPRequest[TRep, TEr1, TEr2]],
        what: str,
        *,
        timeout_s: float = ANSWER_S,
        tries: int = TRIES,
    ) -> TRep:
        """Ask anew each time: an answer that comes late carries an older number and is passed over."""
        self._transport.timeout_s = timeout_s
        for _ in range(tries):
            try:
                answer = self._runner.run(self._client.request(question()))
            except TimeoutError:
                continue
            except _MALFORMED as error:
                why = " ".join(str(error).split())
                raise ExchangeError(f"{self._link.url}: {what}: expected an SMP answer, got {why:.120}") from None
            if success(answer):
                return answer
            code = answer.rc if error_v1(answer) else answer.err.rc
            raise self._denied(what, code)
        raise ExchangeError(
            f"{self._link.url}: {what}: expected an answer within {timeout_s:g} s, got none {tries} times at "
            f"{self._link.line.baud} baud"
        )

    def _denied(self, what: str, code: int) -> DeniedError:
        name = getattr(code, "name", "") or next((one.name for one in MGMT_ERR if one == code), "code")
        return DeniedError(f"{self._link.url}: {what}: it was refused, {name} ({int(code)})", code)
