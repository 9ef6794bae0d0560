"""The city's census file: CSV in UTF-8 or GBK, Chinese or English headings, to devices and sites, and back.

From: what a bureau exports from its spreadsheet. To: `devices.catalog`. Every bad row is named with its line and
reason; the good ones are taken in one transaction. A cell that a spreadsheet would run as a formula is written
with a leading apostrophe, which reading takes off again. The columns are in `COLUMNS`.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from devices import dialect
from devices.codecs import Codec, load
from devices.dialect import CHARS_MAX
from devices.errors import RegistryError
from devices.registry import (
    CLASSIC_LAYOUT,
    CodeLayout,
    Departments,
    Device,
    Gateway,
    ObjectState,
    Site,
    check_id,
    parse_component,
)
from devices.spec import Kind

_T = TypeVar("_T")
FILE_MAX: Final = 256 * 1024 * 1024
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Column(NamedTuple):
    """A column: our name, the Chinese heading, other headings seen, and the longest cell taken."""

    name: str
    chinese: str
    others: tuple[str, ...] = ()
    chars_max: int = 64


COLUMNS: Final = (
    Column("component_code", "部件编码", ("部件代码", "标识码")),
    Column("device", "设备编号", ("设备编码", "设备id", "device_id")),
    Column("kind", "类型", ("设备类型",)),
    Column("longitude", "经度", ("lon", "lng")),
    Column("latitude", "纬度", ("lat",)),
    Column("address", "地址", ("位置",), 400),
    Column("grid", "网格编码", ("所在单元网格", "单元网格")),
    Column("managing", "主管部门", (), 200),
    Column("owning", "权属部门", ("权属单位",), 200),
    Column("maintaining", "养护部门", ("养护单位",), 200),
    Column("gateway", "网关", ("网关编号",)),
    Column("cadence_s", "上报周期", ("上报周期(秒)", "上报周期（秒）")),
    Column("site", "站点", ("站点编号",)),
    Column("site_name", "站点名称", (), 200),
    Column("codec", "编码格式", ("协议",)),
    Column("model", "型号", ("设备型号",)),
    Column("wire_address", "通信地址", ("mn", "deveui", "表地址", "表号"), 128),
    Column("settings", "协议参数", (), CHARS_MAX),
    Column("state", "状态", ("部件状态",)),
)
_HEADINGS: Final = {
    heading.lower(): column.name for column in COLUMNS for heading in (column.name, column.chinese, *column.others)
}
_CHARS_MAX: Final = {column.name: column.chars_max for column in COLUMNS}
_STATES: Final = {
    "": ObjectState.INTACT,
    "完好": ObjectState.INTACT,
    "破损": ObjectState.DAMAGED,
    "丢失": ObjectState.LOST,
    "废弃": ObjectState.ABANDONED,
    **{state.value: state for state in ObjectState},
}
_STATE_NAMES: Final = {state: name for name, state in _STATES.items() if name and not name.isascii()}


class Problem(NamedTuple):
    """A row that was not taken. `line` is where it begins in the file, from 1."""

    line: int
    reason: str


@dataclass(slots=True)
class Census:
    """What a file holds: the good rows as devices, sites and gateways, the bad ones as problems."""

    encoding: str
    devices: list[Device] = field(default_factory=list)
    sites: dict[str, Site] = field(default_factory=dict)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    present: set[str] = field(default_factory=set)

    @property
    def keep(self) -> set[str]:
        """Registry columns this file says nothing about: where a row is known, they stay as they are."""
        absent = {column.name for column in COLUMNS} - self.present
        keep = {"calibration", "label", *absent}
        if "site_name" in absent:
            keep.add("name")
        if "grid" in absent:
            keep |= {"district", "street"}
        return keep


class _Row(NamedTuple):
    line: int
    cells: Mapping[str, str]


def read(
    content: bytes,
    kinds: Mapping[str, Kind],
    *,
    codecs: Mapping[str, Codec] | None = None,
    registered_us: int = 0,
    layout: CodeLayout = CLASSIC_LAYOUT,
) -> Census:
    """Read a census file; RegistryError when the file as a whole cannot be used, and then nothing was."""
    text, encoding = _text(content)
    census = Census(encoding)
    names = dict(kinds) | {kind.label.zh: kind for kind in kinds.values()}
    names |= {kind.label.en.lower(): kind for kind in kinds.values()}
    first_line: dict[str, int] = {}
    known_codecs = codecs if codecs is not None else load()
    for row in _rows(text, census):
        try:
            device, site = _device(row.cells, names, known_codecs, registered_us, layout)
            _unique(device, site, first_line, census)
        except RegistryError as error:
            census.problems.append(Problem(row.line, str(error)))
            continue
        first_line[device.id] = row.line
        census.devices.append(device)
        if device.gateway:
            census.gateways.setdefault(device.gateway, Gateway(id=device.gateway))
    return census


def _unique(device: Device, site: Site, first_line: Mapping[str, int], census: Census) -> None:
    if device.id in first_line:
        raise RegistryError(f"device {device.id}: already on line {first_line[device.id]}; it was not taken twice")
    if census.sites.setdefault(site.id, site) != site:
        raise RegistryError(f"site {site.id}: an earlier line describes it differently; it was not taken")


def write(devices: Iterable[Device], sites: Iterable[Site], *, chinese: bool = True) -> Iterator[str]:
    """The lines of a census file that `read` takes back; every cell is safe to open in a spreadsheet."""
    places = {site.id: site for site in sites}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(column.chinese if chinese else column.name for column in COLUMNS)
    for device in devices:
        cells = _cells(device, places.get(device.site))
        writer.writerow(neutral(cells.get(column.name, "")) for column in COLUMNS)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def neutral(cell: str) -> str:
    """`cell` as a spreadsheet will show it rather than run it.

    >>> neutral("=cmd()"), neutral("WP-1")
    ("'=cmd()", 'WP-1')
    """
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def _text(content: bytes) -> tuple[str, str]:
    if len(content) > FILE_MAX:
        raise RegistryError(f"census: expected at most {FILE_MAX} bytes, got {len(content)}; nothing was imported")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content:
        raise RegistryError(
            "census: expected CSV in UTF-8 or GBK, got UTF-16 or a binary file such as .xlsx; "
            "save it as 'CSV UTF-8'; nothing was imported"
        )
    for encoding in ("utf-8-sig", "gbk", "gb18030"):
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError as error:
            if encoding == "gb18030":
                raise RegistryError(
                    f"census: expected UTF-8 or GBK, got other bytes at offset {error.start}; nothing was imported"
                ) from None
    raise AssertionError  # the loop returns or raises


def _rows(text: str, census: Census) -> Iterator[_Row]:
    """The rows below the heading, empty ones left out, malformed ones noted as problems."""
    heading: list[str] | None = None
    for line, cells in _records(text):
        if not any(cells):
            continue
        if heading is None:
            heading = _heading(cells, census)
            continue
        extra = [cell for cell in cells[len(heading) :] if cell]
        if extra:
            reason = (
                f"expected {len(heading)} columns, got {len(cells)}: {extra[0]!r:.40} has no heading; not taken"
            )
            census.problems.append(Problem(line, reason))
            continue
        # A cell under no heading of ours is passed over, a missing one at the end is empty.
        pairs = itertools.zip_longest(heading, cells[: len(heading)], fillvalue="")
        yield _Row(line, {name: cell for name, cell in pairs if name})
    if heading is None:
        raise RegistryError("census: expected a line of headings, got an empty file; nothing was imported")


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line where each record begins, and its cells, trimmed and freed of a spreadsheet's wrappings."""
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, [_plain(cell) for cell in cells]
            line = reader.line_num + 1
    except csv.Error as error:
        raise RegistryError(f"census: line {line}: {error}; nothing was imported") from None


def _plain(cell: str) -> str:
    cell = cell.strip()
    if cell.startswith('="') and cell.endswith('"'):
        return cell[2:-1].strip()  # a spreadsheet's way to keep a code as text
    return cell[1:] if cell[:1] == "'" and cell.lstrip("'").startswith(_FORMULA) else cell


def _heading(cells: Sequence[str], census: Census) -> list[str]:
    names = [_HEADINGS.get(cell.lower(), "") for cell in cells]
    census.ignored = [cell for cell, name in zip(cells, names, strict=True) if cell and not name]
    census.present = set(filter(None, names))
    twice = {name for name in names if name and names.count(name) > 1}
    missing = {"device", "kind"} - set(names)
    if twice or missing:
        wrong = f"twice {', '.join(sorted(twice))}" if twice else f"no {' and no '.join(sorted(missing))}"
        raise RegistryError(
            f"census: expected headings such as 设备编号 (device) and 类型 (kind), once each, got {wrong}; "
            "nothing was imported"
        )
    return names


def _device(
    cells: Mapping[str, str],
    kinds: Mapping[str, Kind],
    codecs: Mapping[str, Codec],
    registered_us: int,
    layout: CodeLayout,
) -> tuple[Device, Site]:
    for name, cell in cells.items():
        if len(cell) > _CHARS_MAX[name]:
            raise RegistryError(
                f"{name}: expected at most {_CHARS_MAX[name]} characters, got {len(cell)}; not taken"
            )
    get = cells.get
    device = check_id(get("device", ""), "device")
    kind = _one_of(get("kind", ""), kinds, "kind")
    if get("component_code"):
        parse_component(cells["component_code"], layout)
    settings = _settings(cells, codecs, kind)
    site = Site(
        id=get("site") or device,
        name=get("site_name", ""),
        address=get("address", ""),
        longitude=_number(cells, "longitude"),
        latitude=_number(cells, "latitude"),
    )
    return Device(
        id=device,
        kind=kind.name,
        site=site.id,
        gateway=check_id(cells["gateway"], "gateway") if get("gateway") else "",
        component_code=get("component_code", ""),
        grid=get("grid", ""),
        departments=Departments(
            managing=get("managing", ""), owning=get("owning", ""), maintaining=get("maintaining", "")
        ),
        state=_one_of(get("state", ""), _STATES, "state"),
        cadence_s=_number(cells, "cadence_s"),
        codec=get("codec", ""),
        model=get("model", ""),
        address=get("wire_address", ""),
        settings=settings,
        registered_us=registered_us,
    ), site


def _settings(cells: Mapping[str, str], codecs: Mapping[str, Codec], kind: Kind) -> dict[str, Any]:
    """The device's dialect, understood by its codec; a mask stands for a secret that the registry has."""
    name = cells.get("codec", "")
    if name and name not in codecs:
        raise RegistryError(f"codec {name}: expected one of {', '.join(sorted(codecs))}; it was not taken")
    settings = dialect.parse(cells.get("settings", ""))
    if settings and not name:
        raise RegistryError("settings: expected a codec beside them, which says what they mean; not taken")
    if settings:
        dialect.check(settings, codecs[name], kind)
    return settings


def _one_of(cell: str, choices: Mapping[str, _T], what: str) -> _T:
    found = choices.get(cell, choices.get(cell.lower()))
    if found is None:
        shown = ", ".join(filter(None, choices))
        raise RegistryError(f"{what} {cell!r:.60}: expected one of {shown}; it was not taken")
    return found


def _number(cells: Mapping[str, str], name: str) -> float | None:
    cell = cells.get(name, "")
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not -1e9 < value < 1e9:
        raise RegistryError(f"{name} {cell!r:.40}: expected a number; it was not taken")
    return value


def _cells(device: Device, site: Site | None) -> dict[str, str]:
    return {
        "component_code": device.component_code,
        "device": device.id,
        "kind": device.kind,
        "longitude": _shown(site.longitude if site else None),
        "latitude": _shown(site.latitude if site else None),
        "address": site.address if site else "",
        "grid": device.grid,
        "managing": device.departments.managing,
        "owning": device.departments.owning,
        "maintaining": device.departments.maintaining,
        "gateway": device.gateway,
        "cadence_s": _shown(device.cadence_s),
        "site": device.site,
        "site_name": site.name if site else "",
        "codec": device.codec,
        "model": device.model,
        "wire_address": device.address,
        "settings": dialect.shown(device.settings),
        "state": _STATE_NAMES[device.state],
    }


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"
