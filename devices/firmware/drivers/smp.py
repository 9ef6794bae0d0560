"""MCUboot over SMP: the application's SMP server, or MCUboot's own in serial recovery; smpclient speaks it.

From: an MCUboot image, usually in one of our bundles. To: a board with Zephyr and MCUboot, over a console.

    application        upload to the second slot -> test -> reset -> is it the active one? -> confirm
    serial recovery    upload to the first slot -> is it listed? -> reset -> is it the active one?

What a board's answers prove was tried on a real MCUboot and a real Zephyr: both list an image by the digest that stands
in it, also when a byte of it is damaged. `match` at an upload's end is a digest that the application computed, and
MCUboot checks an image before it starts it. So a list proves nothing, and "active after a reset" does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from smp.error import MGMT_ERR
from smp.image_management import ImageState
from smp.os_management import MCUbootMode

from devices.errors import BootError, ExchangeError, ImageError, LinkError, RefusedError, VerifyError
from devices.firmware.driver import Board, BootLoader, Driver, Proof, Step, Told, Traits
from devices.firmware.image import Image
from devices.firmware.link import Line, Link, SerialLink
from devices.firmware.mcuboot import Header, inside
from devices.firmware.mcuboot_keys import PublicKey, read_public_key
from devices.firmware.options import Options
from devices.firmware.smp_session import DeniedError, Session
from devices.spec import Text

BACK_S: Final = 20.0  # a USB port may be away that long while its board starts
SETTLED_S: Final = 5.0  # a board that answers as before for so long after a reset will not change its mind
_POLL_S: Final = 0.5
_STUCK: Final = 5
_NO_TRIAL: Final = (MCUbootMode.RAM_LOADER, MCUbootMode.DIRECT_XIP_WITHOUT_REVERT)  # the highest version starts
_AGAIN: Final = (MGMT_ERR.ENOMEM, MGMT_ERR.ETIMEOUT, MGMT_ERR.EBUSY)  # refusals that may pass
_CHECKS: Final = {"digest": Proof.DEVICE_DIGEST, "signature": Proof.SIGNATURE, "none": None}

OPTIONS: Final = {
    "key": Text(
        "板上 MCUboot 信任的公钥（PEM 文件），写入时必需",
        "public key (PEM file) its MCUboot trusts; needed to write",
    ),
    "mode": Text(
        "as-found（默认）：按现状；recovery：先请应用重启进入串口恢复",
        "as-found (usual), or recovery: its application is asked to restart into serial recovery first",
    ),
    "buffer": Text(
        "报文缓冲区最多使用的字节数，用于声称的缓冲区大于实际能接收的板",
        "bytes of its buffer to use at most, for a board that names more than it can take",
    ),
    "image": Text("板上有多个镜像时的镜像编号，默认 0", "number of the image on a board with several, usually 0"),
    "confirm": Text(
        "yes（默认）：启动后由我们确认；no：由应用自己确认",
        "yes (usual): confirmed once it has started; no: the application confirms itself",
    ),
    "checks": Text(
        "MCUboot 启动前检查的内容：digest（默认），带公钥编译时为 signature，CONFIG_BOOT_VALIDATE_SLOT0=n 时为 none",
        "what its MCUboot checks before a start: digest (usual), signature if built with a key, none if built with "
        "CONFIG_BOOT_VALIDATE_SLOT0=n",
    ),
    "start": Text("重启后最多等待的秒数，默认 60", "seconds it may take to start, usually 60"),
}


class SmpDriver:
    """One conversation over `link`; `key` may be missing as long as nothing is written."""

    def __init__(self, link: Link, key: PublicKey | None, options: Options) -> None:
        self._link = link
        self._key = key
        self._into_recovery = options.one_of("mode", ("as-found", "recovery"), "as-found") == "recovery"
        self._number = int(options.matching("image", r"[0-9]{1,2}", "a number from 0 to 99", "0"))
        self._confirms = options.one_of("confirm", ("yes", "no"), "yes") == "yes"
        self._started = _CHECKS[options.one_of("checks", tuple(_CHECKS), "digest")]
        self._start_s = options.seconds("start", 60.0, most=600.0)
        self._session = Session(
            link, int(options.matching("buffer", r"[0-9]{2,5}", "bytes, 10 to 99999", "65535"))
        )
        self._recovery = False
        self._acknowledged = (b"", 0)  # (digest of the image, how much of it the board had)
        self._match: bool | None = None

    @property
    def link(self) -> Link:
        """The line as it is."""
        return self._link

    def identify(self) -> Board:
        """Ask who is there, on demand after a restart into serial recovery. Writes nothing."""
        platform, states = self._who()
        if self._into_recovery and not self._recovery:
            self._enter_recovery()
            platform, states = self._who()
            if not self._recovery:
                raise RefusedError(
                    f"{self._link.url}: expected MCUboot in serial recovery, its application answers again; hold the "
                    "board's button while it restarts; nothing was written"
                )
        # Cut in serial recovery it may come back in its application; the rest of the image belongs into recovery.
        self._into_recovery = self._recovery
        runs = next((one for one in states if one.active), states[0] if states else None)
        node = "" if self._recovery else self._session.info("n")
        return Board(
            chip=_name(f"zephyr:{re.sub('@[^/]*', '', platform)}") if platform else "",
            revision=_name(found[1]) if (found := re.search("@([^/]*)", platform)) else "",
            serial="" if node in {"unknown", "zephyr"} else _name(node),
            version=runs.version if runs else "",
            loader="MCUboot serial recovery" if self._recovery else self._session.bootloader()[0],
        )

    def write(self, image: Image, told: Told) -> None:
        """Check the image's own signature, then upload it from where the board says it is."""
        header = self._checked(image)
        payload, size = image.payload, len(image.payload)
        self._match = None
        digest, there = self._acknowledged
        begun = digest == header.digest and there > 0
        if not self._recovery and self._lies_there(header, begun=begun):
            told(Step.WRITE, size, size)
            return
        # An application names the offset itself, by the payload's digest; MCUboot only corrects one it is told.
        offset = there if self._recovery and begun else 0
        stuck = 0
        told(Step.WRITE, offset, size)
        while offset < size:
            now, self._match = self._sent(payload, offset)
            if now < offset and not self._recovery and self._lies_there(header, begun=True):
                now = size  # it had taken the last chunk, forgotten the upload, and its answer was lost
            stuck = stuck + 1 if now <= offset else 0
            if stuck > _STUCK:
                raise ExchangeError(
                    f"{self._link.url}: upload: it stays at byte {now} of {size}; half an image is there"
                )
            offset = now
            self._acknowledged = (header.digest, offset)
            told(Step.WRITE, offset, size)

    def verify(self, image: Image, told: Told) -> Proof | None:
        """Look for the image among those the board lists; a Proof only where it computed a digest of the upload."""
        header = self._checked(image)
        told(Step.VERIFY, 0, 1)
        states = self._session.states(self._number)
        told(Step.VERIFY, 1, 1)
        if self._recovery and states and all(one.hash is None for one in states):
            return None  # this MCUboot was built without digests in its list
        if self._match is False or not any(one.hash == header.digest for one in states):
            self._acknowledged = (b"", 0)  # going on where it stopped would not mend it
            raise VerifyError(
                f"{self._link.url}: expected image {header.digest.hex()[:16]} in a slot, it holds {_listed(states)}; "
                "what was written is not the image"
            )
        return Proof.DEVICE_DIGEST if self._match else None

    def boot(self, image: Image) -> Proof | None:
        """Restart into the image, see that it is the active one, confirm it.

        From serial recovery an image with a boot check of its own may speak no SMP, and what it prints is not read
        here: if the check that follows sees it, then MCUboot checked it, unless another slot's image may have started.
        """
        header = self._checked(image)
        if self._recovery and image.manifest.boot != "loader":
            alone = _starts_alone(self._session.states(self._number), header)
            self._session.reset()
            return self._started if alone else None
        if not self._recovery and not _runs(self._session.states(self._number), header):
            self._mark_for_trial(header)
        self._session.reset()
        states = self._after_reset(header)
        if self._confirms and not _kept(states, header):
            self._confirm(header)
        return self._started

    def reconnect(self) -> None:
        """Open the line again; a board that starts meanwhile is waited for."""
        until = self._link.now() + BACK_S
        while not self._is_back():
            if self._link.now() >= until:
                self._link.reopen()
                return

    def close(self) -> None:
        """Let go of the line."""
        self._link.close()
        self._session.close()

    def _who(self) -> tuple[str, Sequence[ImageState]]:
        """(platform, images); says which of the two servers it is."""
        self._session.negotiate()
        platform = self._session.info("i")
        states = self._session.states(self._number)
        # MCUboot names no platform and, as long as it runs no image, no active one.
        self._recovery = not platform and not any(one.active for one in states)
        return platform, states

    def _enter_recovery(self) -> None:
        try:
            self._session.reset(recovery=True)
        except DeniedError as error:
            raise RefusedError(
                f"{error}: its application cannot restart into serial recovery; hold the board's button while it "
                "restarts; nothing was written"
            ) from None
        self._wait_for(lambda states: not any(one.active for one in states))

    def _checked(self, image: Image) -> Header:
        if self._key is None:
            raise ImageError(
                f"{self._link.url}: expected the public key that its MCUboot trusts, got none; say --option key=FILE; "
                "nothing was written"
            )
        return inside(image, self._key)

    def _sent(self, payload: bytes, offset: int) -> tuple[int, bool | None]:
        """One chunk; RefusedError where the board will not begin."""
        try:
            return self._session.upload(payload, offset, self._number)
        except DeniedError as error:
            if offset or error.code in _AGAIN:
                raise
            raise RefusedError(f"{error}; nothing was written") from None

    def _lies_there(self, header: Header, *, begun: bool) -> bool:
        """Whether an application needs no upload: the image runs, or the last of what we began did arrive.

        An image is listed once its end is written. That is no proof, and none is claimed: the start gives it.
        """
        states = self._session.states(self._number)
        return _runs(states, header) or (begun and any(one.hash == header.digest for one in states))

    def _mark_for_trial(self, header: Header) -> None:
        _, mode = self._session.bootloader()
        if mode in _NO_TRIAL:
            return
        try:
            self._session.mark(header.digest, confirm=False)
        except DeniedError as error:
            if mode is not MCUbootMode.UNKNOWN:
                raise BootError(
                    f"{error}; the image lies in its slot, the board still runs the one before"
                ) from None
            # One that cannot say how it changes images may need no mark; which one runs is looked at after the reset.

    def _after_reset(self, header: Header) -> Sequence[ImageState]:
        """The images once ours is active; BootError when another stays active, or nothing answers."""
        states = self._wait_for(lambda found: _runs(found, header))
        if states is None:
            raise BootError(
                f"{self._link.url}: expected it to answer within {self._start_s:g} s of its restart, nothing came: it "
                "does not run, or has no SMP server; restart it with power off, then look again"
            )
        if not _runs(states, header):
            active = [one for one in states if one.active]
            raise BootError(
                f"{self._link.url}: expected image {header.version} ({header.digest.hex()[:16]}) to run, it runs "
                f"{_listed(active)}: MCUboot did not take it: not signed with the key it trusts, damaged, or not newer"
            )
        return states

    def _wait_for(self, reached: Callable[[Sequence[ImageState]], bool]) -> Sequence[ImageState] | None:
        """The images it names after a restart; what it said last when that never became what is waited for."""
        until = self._link.now() + self._start_s
        last: Sequence[ImageState] | None = None
        self._link.pause(1.0)  # it answers first and restarts then
        while self._link.now() < until:
            try:
                states = self._session.states(self._number, timeout_s=1.0, tries=1)
            except LinkError:
                self._is_back()
            except ExchangeError:
                self._link.pause(_POLL_S)
            else:
                if reached(states):
                    return states
                until = min(until, self._link.now() + SETTLED_S) if last is None else until
                last = states
                self._link.pause(_POLL_S)
        return last

    def _is_back(self) -> bool:
        try:
            self._link.reopen()
        except LinkError:
            self._link.pause(_POLL_S)
            return False
        return True

    def _confirm(self, header: Header) -> None:
        try:
            states = self._session.mark(header.digest, confirm=True)
        except DeniedError as error:
            if error.code == MGMT_ERR.ENOTSUP:
                return  # it knows no trial starts, so nothing is rolled back
            raise BootError(f"{error}; it runs, and is rolled back at the next restart") from None
        if not _kept(states, header):
            raise BootError(
                f"{self._link.url}: expected image {header.version} to be confirmed, it is not; it runs, and is rolled "
                "back at the next restart"
            )


def connect(url: str, *, baud: int, options: Mapping[str, str]) -> Driver:
    """Open a driver on `url`; nothing is sent yet."""
    given = Options("smp", options, OPTIONS)
    file = given.text("key", longest=1024)
    key = read_public_key(Path(file)) if file else None
    return SmpDriver(SerialLink(url, Line(baud)), key, given)


def _runs(states: Sequence[ImageState], header: Header) -> bool:
    return any(one.active and one.hash == header.digest for one in states)


def _kept(states: Sequence[ImageState], header: Header) -> bool:
    return any(one.confirmed and one.hash == header.digest for one in states)


def _starts_alone(states: Sequence[ImageState], header: Header) -> bool:
    """Whether no other slot holds an image that MCUboot could prefer, in whatever way it chooses: as new or newer."""
    ours = _numbers(header.version)
    return all(one.hash == header.digest or _numbers(one.version) < ours for one in states)


def _numbers(version: str) -> list[int]:
    """MAJOR.MINOR.PATCH and the build, which MCUboot puts behind a dot."""
    return [int(part) for part in re.findall(r"\d+", version)]


def _listed(states: Sequence[ImageState]) -> str:
    """What a board says it holds, in a line."""
    return ", ".join(f"{one.version} ({(one.hash or b'').hex()[:16] or 'no digest'})" for one in states) or "none"


def _name(text: str) -> str:
    """A name as manifests have them: a board's `mps2/an385` is `mps2:an385`."""
    return re.sub(r"[^A-Za-z0-9_.:+-]", ":", text)[:64]


BOOTLOADER: Final = BootLoader(
    name="smp",
    title=Text("MCUboot，经 SMP（应用或串口恢复）", "MCUboot over SMP (application or serial recovery)"),
    traits=Traits(
        bauds=(115200, 230400, 460800, 921600, 1_000_000),
        resumes=True,
        proves=(Proof.DEVICE_DIGEST, Proof.SIGNATURE),
        enter=Text(
            "应用带 SMP 服务时无需操作；否则按住恢复按键再复位，或用 --option mode=recovery 请应用进入串口恢复",
            "nothing to do while its application has an SMP server; else hold the recovery button and reset it, or "
            "have the application do it with --option mode=recovery",
        ),
    ),
    connect=connect,
    families=("zephyr",),
    options=OPTIONS,
)
