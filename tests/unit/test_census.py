"""The census file: good rows are taken together, bad ones named by line and reason."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, select

from devices.catalog import Outcome, SqlRegistry
from devices.census import Census, neutral, read, write
from devices.database import METADATA, connect, sqlite_url
from devices.errors import RegistryError
from devices.kinds import load
from devices.registry import NEWER_LAYOUT, Departments, Device, Gateway, ObjectState, Site
from devices.tables import DEVICE

HEAD = "部件编码,设备编号,类型,经度,纬度,地址,网格编码,主管部门,权属部门,养护部门,网关,上报周期\n"
GOOD = "3205820102048188,MC-1,窨井盖,120.55,31.87,滨河路1号,320582110152102,城管局,水务公司,养护一队,GW-1,600\n"


@pytest.fixture
def registry(tmp_path: Path) -> SqlRegistry:
    engine = connect(sqlite_url(tmp_path / "operations.db"))
    METADATA.create_all(engine)
    return SqlRegistry(engine)


def parse(text: str, encoding: str = "utf-8") -> Census:
    return read(text.encode(encoding), load(), registered_us=7)


def put(registry: SqlRegistry, census: Census, *, dry_run: bool = False) -> Outcome:
    return registry.put(
        census.devices,
        sites=census.sites.values(),
        gateways=census.gateways.values(),
        keep=census.keep,
        dry_run=dry_run,
    )


@pytest.mark.parametrize(
    ("encoding", "named"), [("utf-8", "utf-8-sig"), ("utf-8-sig", "utf-8-sig"), ("gbk", "gbk")]
)
def test_the_encoding_is_found_out(encoding: str, named: str) -> None:
    census = parse(HEAD + GOOD, encoding)
    assert census.encoding == named
    assert not census.problems
    assert census.devices == [
        Device(
            id="MC-1",
            kind="manhole_cover",
            site="MC-1",
            gateway="GW-1",
            component_code="3205820102048188",
            grid="320582110152102",
            departments=Departments(managing="城管局", owning="水务公司", maintaining="养护一队"),
            cadence_s=600,
            registered_us=7,
        )
    ]
    assert census.devices[0].district == "320582"
    assert census.devices[0].street == "320582110"
    assert census.sites["MC-1"].address == "滨河路1号"


def test_english_headings_and_labels_do_as_well() -> None:
    census = parse("device,kind,lon,lat\nWP-1,Water pressure,120.5,31.9\n")
    assert [d.kind for d in census.devices] == ["water_pressure"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("3.20508E+15,MC-2,窨井盖", "scientific notation"),
        ("320508,MC-2,窨井盖", "expected 16 digits"),
        (",MC-2,窨井盖,31.87,120.55", "look exchanged"),
        (",MC-2,窨井盖,2.35,48.85", "expected longitude"),
        (",MC-2,窨井盖,120.5", "both longitude and latitude"),
        (",MC-2,窨井盖,abc,31", "expected a number"),
        (",MC-2,窨井盖,nan,31", "expected a number"),
        (",MC-2,井盖子", "kind '井盖子'"),
        (",MC 2,窨井盖", "1 to 64 characters"),
        (",,窨井盖", "1 to 64 characters"),
        (",MC-2,窨井盖,,,,12345", "grid cell"),
        (",MC-2,窨井盖,,,,,,,,GW/1", "gateway"),
        (",MC-2,窨井盖,,,,,,,,,0", "cadence"),
        (",MC-1,窨井盖", "already on line 2"),
        (",MC-2,窨井盖,,,,,,,,,,extra", "has no heading"),
    ],
)
def test_a_bad_row_is_named_and_the_good_ones_are_taken(row: str, words: str) -> None:
    census = parse(f"{HEAD}{GOOD}{row}\n,MC-9,窨井盖\n")
    assert [d.id for d in census.devices] == ["MC-1", "MC-9"]
    assert [(p.line, words in p.reason) for p in census.problems] == [(3, True)], census.problems


def test_lines_are_counted_over_quoted_line_breaks_and_empty_lines() -> None:
    census = parse(f'{HEAD}\n,MC-1,窨井盖,,,"一行\n二行"\n,,,,,,,\n,MC-2,没有\n')
    assert census.sites["MC-1"].address == "一行\n二行"
    assert [p.line for p in census.problems] == [6]


def test_trailing_empty_columns_and_unknown_ones_are_passed_over() -> None:
    census = parse("设备编号,类型,备注,,\nMC-1,窨井盖,x,,,,\n")
    assert (len(census.devices), census.problems, census.ignored) == (1, [], ["备注"])


def test_a_spreadsheets_text_wrapping_comes_off_a_code() -> None:
    census = parse('部件编码,设备编号,类型\n"=""3205820102048188""",MC-1,窨井盖\n')
    assert census.devices[0].component_code == "3205820102048188"


def test_the_newer_code_layout_is_accepted() -> None:
    assert len(read((HEAD + GOOD).encode(), load(), layout=NEWER_LAYOUT).devices) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        ("编号,什么\n".encode(), "no device and no kind"),
        ("设备编号,device,类型\n".encode(), "twice device"),
        ((HEAD + GOOD).encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04\0\0", "xlsx"),
        (HEAD.encode() + b"\xff\xff\xff", "at offset"),
        ((HEAD + ',MC-1,"窨井盖\n').encode(), "line 2"),
    ],
)
def test_a_file_that_is_no_census_is_refused_whole(content: bytes, words: str) -> None:
    with pytest.raises(RegistryError, match=words) as caught:
        read(content, load())
    assert str(caught.value).endswith("nothing was imported")


def test_importing_twice_changes_nothing_and_says_so(registry: SqlRegistry) -> None:
    text = f"{HEAD}{GOOD},MC-2,窨井盖\n"
    assert put(registry, parse(text)) == Outcome(2, 0, 0)
    assert registry.revision() == 1
    assert put(registry, parse(text)) == Outcome(0, 0, 2)
    assert registry.revision() == 1
    assert put(registry, parse(text.replace("养护一队", "养护二队"))) == Outcome(0, 1, 1)
    assert registry.revision() == 2
    assert registry.device("MC-1").departments.maintaining == "养护二队"


def test_a_dry_run_counts_and_writes_nothing(registry: SqlRegistry) -> None:
    assert put(registry, parse(HEAD + GOOD), dry_run=True) == Outcome(1, 0, 0)
    assert (registry.revision(), registry.entries(), registry.sites(), registry.gateways()) == (0, [], [], [])


def test_what_a_census_does_not_carry_survives_its_import(registry: SqlRegistry) -> None:
    put(registry, parse(HEAD + GOOD))
    known = registry.device("MC-1")
    calibrated = Device(
        **{**{f: getattr(known, f) for f in known.__slots__}, "calibration": {"tilt_deg": (1.1, 0.2)}}
    )
    registry.put([calibrated], gateways=[Gateway(id="GW-1", label="主站")])
    assert put(registry, parse("设备编号,类型\nMC-1,窨井盖\n")) == Outcome(0, 0, 1)
    assert registry.device("MC-1") == calibrated
    assert registry.gateways() == [Gateway(id="GW-1", label="主站")]


def test_a_write_that_fails_leaves_nothing_behind(registry: SqlRegistry) -> None:
    class SourceError(Exception):
        pass

    def devices():  # type: ignore[no-untyped-def]
        yield Device(id="MC-1", kind="manhole_cover")
        raise SourceError

    with pytest.raises(SourceError):
        registry.put(devices(), sites=[Site(id="S-1")])
    assert (registry.sites(), registry.entries(), registry.revision()) == ([], [], 0)


def test_an_export_reads_back_to_the_same_registry(registry: SqlRegistry) -> None:
    registry.put(
        [
            Device(id="-1", kind="manhole_cover", site="S-1", state=ObjectState.DAMAGED, cadence_s=90.5),
            Device(id="MC-2", kind="manhole_cover", site="S-1", departments=Departments(managing="=1+1")),
        ],
        sites=[Site(id="S-1", name="@x", address='+86 "road"\nline 2', longitude=120.123456, latitude=31.5)],
    )
    for chinese in (True, False):
        text = "".join(write(registry.devices(), registry.sites(), chinese=chinese))
        for row in csv.reader(io.StringIO(text, newline="")):
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)
        census = parse(text)
        assert census.problems == []
        assert put(registry, census) == Outcome(0, 0, 2)


def test_cells_that_look_like_formulas_are_neutralised() -> None:
    assert [neutral(cell) for cell in ("=A1", "+1", "-1", "@x", "'=A1", "A-1", "'a")] == [
        "'=A1", "'+1", "'-1", "'@x", "''=A1", "A-1", "'a",
    ]  # fmt: skip


def test_the_abandoned_are_not_expected_to_report(registry: SqlRegistry) -> None:
    put(registry, parse("设备编号,类型,状态\nMC-1,窨井盖,废弃\nMC-2,窨井盖,破损\n"))
    assert [e.id for e in registry.entries()] == ["MC-2"]
    assert registry.device("MC-1").state is ObjectState.ABANDONED


def test_devices_are_found_by_filter_and_page(registry: SqlRegistry) -> None:
    registry.put([Device(id=f"MC-{i}", kind="manhole_cover", gateway="G" if i % 2 else "") for i in range(6)])
    assert [d.id for d in registry.devices(gateway="G")] == ["MC-1", "MC-3", "MC-5"]
    assert [d.id for d in registry.devices(after="MC-1", limit=2)] == ["MC-2", "MC-3"]
    assert registry.devices(kind="heat_meter") == []
    with pytest.raises(RegistryError, match="MC-99: not registered"):
        registry.device("MC-99")
    assert registry.remove(["MC-0", "MC-99"]) == 1
    assert registry.revision() == 2


def test_a_hot_entry_equals_the_devices_own() -> None:
    engine: Engine = create_engine("sqlite://")
    METADATA.create_all(engine)
    registry = SqlRegistry(engine)
    device = Device(
        id="WP-1",
        kind="water_pressure",
        site="S",
        gateway="G",
        grid="320582110152102",
        cadence_s=60,
        calibration={"pressure_kpa": (1.02, -3.0)},
        registered_us=5,
    )
    registry.put([device])
    assert registry.entries() == [device.entry()]
    assert registry.device("WP-1") == device
    with engine.connect() as connection:
        assert connection.scalar(select(DEVICE.c.calibration)) == '{"pressure_kpa":[1.02,-3.0]}'


SPOKEN = "设备编号,类型,编码格式,型号,通信地址,协议参数\n"


def test_what_a_device_speaks_comes_with_it_and_goes_out_again(registry: SqlRegistry) -> None:
    census = parse(SPOKEN + 'MC-1,窨井盖,json,EM320-TILT,24E124,"{""fields"": {""a"": ""tilt_deg""}}"\n')
    assert not census.problems
    (device,) = census.devices
    assert (device.codec, device.model, device.address) == ("json", "EM320-TILT", "24E124")
    assert device.settings == {"fields": {"a": "tilt_deg"}}
    put(registry, census)
    assert registry.device("MC-1") == device
    (entry,) = registry.entries()
    assert (entry.model, entry.address, entry.settings) == ("EM320-TILT", "24E124", device.settings)
    again = read("".join(write(registry.devices(), registry.sites())).encode(), load())
    assert again.devices[0].settings == device.settings
    assert again.devices[0].address == "24E124"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("MC-1,窨井盖,,,,{}x", "expected a JSON object"),
        ('MC-1,窨井盖,,,,"{""clock"": ""received""}"', "expected a codec beside them"),
        ('MC-1,窨井盖,json,,,"{""crc"": ""modbus""}"', "expected settings among clock, fields, got 'crc'"),
        ('MC-1,窨井盖,json,,,"{""clock"": ""mine""}"', "expected device or received"),
        ('MC-1,窨井盖,json,,,"{""fields"": {""a"": ""cod_mgl""}}"', "expected a quantity of manhole_cover"),
        ('MC-1,窨井盖,json,,,"{""fields"": {""a"": ""tilt_deg:kPa""}}"', "expected a unit that becomes deg"),
        ('MC-1,窨井盖,json,,,"{""fields"": [1]}"', "expected an object of names"),
        ("MC-1,窨井盖,nonsense,,,", "codec nonsense: expected one of"),
        ("MC-1,窨井盖,json,,a b,", "printable ASCII"),
    ],
)
def test_a_dialect_that_nobody_understands_is_refused(cells: str, reason: str) -> None:
    (problem,) = parse(SPOKEN + cells + "\n").problems
    assert reason in problem.reason


def test_a_secret_goes_out_masked_and_comes_back_as_it_was(registry: SqlRegistry) -> None:
    registry.put([Device(id="SI-1", kind="sewage_inflow", codec="hj212", settings={"password": "123456"})])
    text = "".join(write(registry.devices(), registry.sites()))
    assert "123456" not in text
    census = read(text.encode(), load())
    put(registry, census)
    assert registry.device("SI-1").settings == {"password": "123456"}


def test_a_mask_without_a_known_secret_is_refused(registry: SqlRegistry) -> None:
    with pytest.raises(RegistryError, match="expected the secret itself"):
        registry.put([Device(id="SI-1", kind="sewage_inflow", codec="hj212", settings={"password": "***"})])
