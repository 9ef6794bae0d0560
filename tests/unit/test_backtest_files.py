"""Files nobody vouches for: what is understood, what is left out with a note, what is refused in one line."""

from __future__ import annotations

import string
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.kinds import load as kinds
from processors.backtest import files
from processors.backtest.columns import guess, match, stranger
from processors.backtest.layout import load
from processors.backtest.series import Asked
from processors.errors import BacktestError

PRESSURE = kinds()["water_pressure"]
SEWAGE = kinds()["sewage_inflow"]
KPA = PRESSURE.quantities[0]
NOON_BEIJING_US = 1_767_240_000_000_000  # 2026-01-01 12:00 in Beijing


def wrote(folder: Path, text: str, name: str = "data.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def read(folder: Path, text: str, kind=PRESSURE, **asked):
    return load(wrote(folder, text), kind, Asked(**asked))


def refused(folder: Path, text: str, kind=PRESSURE, **asked) -> str:
    with pytest.raises(BacktestError) as refusal:
        read(folder, text, kind, **asked)
    said = str(refusal.value)
    assert "\n" not in said
    assert said.endswith("nothing was run")
    return said


# times


@pytest.mark.parametrize(
    "stamp",
    ["2026-01-01 12:00:00", "2026-01-01T04:00:00Z", "2026-01-01T12:00:00+08:00", "2026/01/01 12:00", "1767240000",
     "1767240000000", "1767240000000000", "20260101120000", "2026年01月01日 12:00:00"],
)  # fmt: skip
def test_times_of_many_forms_are_the_same_moment(tmp_path, stamp):
    loaded = read(tmp_path, f"time,A\n{stamp},300\n")
    assert loaded.rows.time_us.tolist() == [NOON_BEIJING_US]


def test_a_time_without_an_offset_is_in_the_zone_asked_for(tmp_path):
    loaded = read(tmp_path, "time,A\n2026-01-01 04:00:00,300\n", zone="UTC")
    assert loaded.rows.time_us.tolist() == [NOON_BEIJING_US]
    assert loaded.table.naive


def test_rows_without_a_time_are_left_out_and_said(tmp_path):
    rows = "2026-01-01 12:00,300\n?,301\n2026-01-01 12:05,302\n2026-01-01 12:10,302\n"
    loaded = read(tmp_path, "time,A\n" + rows * 5)
    assert any("5 of 20 rows have no time" in note.en for note in loaded.notes)


def test_times_that_count_from_no_date_are_counted_from_one_and_said(tmp_path):
    loaded = read(tmp_path, "time_d,cod_mg_l\n0,300\n0.5,301\n", SEWAGE)
    assert np.diff(loaded.rows.time_us).tolist() == [43_200_000_000]
    assert any("counted from 2020-01-01" in note.en for note in loaded.notes)


def test_unsorted_rows_come_in_order_of_time(tmp_path):
    loaded = read(tmp_path, "time,A\n2026-01-01 12:05,2\n2026-01-01 12:00,1\n", unit="kPa")
    assert loaded.rows.values[:, 0].tolist() == [1, 2]


def test_a_column_of_times_is_found_by_its_content(tmp_path):
    loaded = read(tmp_path, "when it was,A\n2026-01-01 12:00,300\n")
    assert len(loaded.rows) == 1


# layouts


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_wide_files_have_a_column_per_device(tmp_path, separator):
    text = "time,A,B\n2026-01-01 12:00,300,310\n2026-01-01 12:05,301,\n".replace(",", separator)
    loaded = read(tmp_path, text)
    assert loaded.rows.device == ["A", "B"]
    assert loaded.rows.row.tolist() == [0, 1, 0]
    assert loaded.rows.values[:, 0].tolist() == [300, 310, 301]


def test_long_files_have_a_row_per_device_and_time(tmp_path):
    text = "device,time,pressure_kpa\nA,2026-01-01 12:00,300\nB,2026-01-01 12:00,310\n"
    text += "A,2026-01-01 12:05,301\nB,2026-01-01 12:05,311\n"
    loaded = read(tmp_path, text)
    assert loaded.rows.device == ["A", "B"]
    assert loaded.rows.values[:, 0].tolist() == [300, 310, 301, 311]


def test_long_files_may_name_the_quantity_in_a_column(tmp_path):
    text = (
        "device,time,quantity,value\nA,2026-01-01 12:00,cod_mgl,300\nA,2026-01-01 12:00,flow_ls,50\n"
        "A,2026-01-01 12:05,cod_mgl,301\nA,2026-01-01 12:05,colour,7\n"
    )
    loaded = read(tmp_path, text, SEWAGE)
    cod, flow = SEWAGE.column("cod_mgl"), SEWAGE.column("flow_ls")
    assert loaded.rows.values[:, cod].tolist() == [300, 301]
    assert loaded.rows.values[0, flow] == 50
    assert any("colour" in note.en for note in loaded.notes)


def test_columns_named_like_quantities_are_one_device_with_their_units(tmp_path):
    loaded = read(tmp_path, "time,cod_mg_l,flow_m3_d,temp_c\n2026-01-01 12:00,300,8640,15\n", SEWAGE)
    assert loaded.rows.device == ["data"]
    assert loaded.rows.values[0, SEWAGE.column("flow_ls")] == pytest.approx(100)
    assert loaded.rows.values[0, SEWAGE.column("temperature_c")] == 15


def test_public_heat_and_sewage_data_are_understood_by_their_own_words(tmp_path):
    heat = kinds()["heat_meter"]
    columns = "time,t_amb,t_sup_sec,t_ret_sec,t_sup_prim,t_ret_prim,qizm"
    loaded = read(tmp_path, f"{columns}\n2026-01-01 12:00,5,40,35,75,41,300\n", heat)
    values = dict(zip((q.name for q in heat.quantities), loaded.rows.values[0], strict=True))
    assert (values["supply_c"], values["return_c"], values["power_kw"]) == (75, 41, 300)
    loaded = read(tmp_path, "time,nh4_n_mg_l,COD\n2026-01-01 12:00,25,300\n", SEWAGE)
    assert loaded.rows.values[0, SEWAGE.column("nh3n_mgl")] == 25


def test_a_column_beside_the_devices_that_names_another_quantity_is_left_out(tmp_path):
    loaded = read(tmp_path, "time,n1,temperature,n2\n2026-01-01 12:00,300,15,310\n")
    assert loaded.rows.device == ["n1", "n2"]
    assert any("temperature" in note.en for note in loaded.notes)


def test_a_column_is_a_quantity_when_the_person_says_so(tmp_path):
    loaded = read(tmp_path, "time,x\n2026-01-01 12:00,30\n", SEWAGE, named={"x": "nh3n_mgl"})
    assert loaded.rows.values[0, SEWAGE.column("nh3n_mgl")] == 30


def test_several_quantities_and_no_name_that_fits_are_refused_with_what_to_do(tmp_path):
    assert "--map COLUMN=QUANTITY" in refused(tmp_path, "time,x,y\n2026-01-01 12:00,30,31\n", SEWAGE)


def test_columns_whose_prefix_names_another_dimension_are_left_out_and_said(tmp_path):
    loaded = read(tmp_path, "time,n1,F_p227,L_T1\n2026-01-01 12:00,300,70,3.5\n")
    assert loaded.rows.device == ["n1"]
    assert any("F_p227, L_T1" in note.en for note in loaded.notes)


def test_columns_asked_for_are_taken_whatever_they_are_called(tmp_path):
    loaded = read(tmp_path, "time,n1,F_p227,L_T1\n2026-01-01 12:00,300,310,3.5\n", columns="F_*,n1")
    assert loaded.rows.device == ["n1", "F_p227"]


def test_a_column_of_text_is_left_out_and_bad_cells_too(tmp_path):
    loaded = read(
        tmp_path, "time,A,B\n" + "2026-01-01 12:00,300,closed\n2026-01-01 12:05,##,open\n2026-01-01 12:10,301,x\n"
    )
    assert loaded.rows.device == ["A"]
    assert loaded.rows.values[:, 0].tolist() == [300, 301]
    assert any("column A: 1 cells are no numbers" in note.en for note in loaded.notes)
    assert any("hold text: B" in note.en for note in loaded.notes)


def test_labels_are_no_quantities_of_a_generic_kind(tmp_path):
    loaded = read(tmp_path, "time,a,b,anomaly\n2026-01-01 12:00,1,2,0\n", None)
    assert [q.name for q in loaded.kind.quantities] == ["a", "b"]
    assert loaded.kind.detectors[0].detector == "joint"


def test_a_repeated_time_is_said(tmp_path):
    loaded = read(tmp_path, "time,A\n2026-01-01 12:00,300\n2026-01-01 12:00,301\n")
    assert any("1 rows repeat" in note.en for note in loaded.notes)


def test_cells_beyond_the_header_are_left_out_and_said(tmp_path):
    loaded = read(tmp_path, "time,A\n2026-01-01 12:00,300,7\n2026-01-01 12:05,301,8\n")
    assert loaded.rows.values[:, 0].tolist() == [300, 301]
    assert any("beyond" in note.en for note in loaded.notes)


def test_only_the_span_asked_for_is_read(tmp_path):
    text = "time,A\n2026-01-01 12:00,300\n2026-01-01 12:05,301\n2026-01-01 12:10,302\n"
    loaded = read(tmp_path, text, from_us=NOON_BEIJING_US + 1, to_us=NOON_BEIJING_US + 600_000_000)
    assert loaded.rows.values[:, 0].tolist() == [301]


def test_a_spreadsheet_saved_in_china_is_read(tmp_path):
    loaded = load(wrote(tmp_path, "时间,泵站一\n2026-01-01 12:00,300\n", encoding="gb18030"), PRESSURE, Asked())
    assert loaded.rows.device == ["泵站一"]


def test_parquet_with_times_in_its_index_is_read(tmp_path):
    index = pd.DatetimeIndex(["2026-01-01 12:00", "2026-01-01 12:05"], name="Timestamp")
    path = tmp_path / "data.parquet"
    pd.DataFrame({"n1": [300.0, 301.0]}, index=index).to_parquet(path)
    loaded = load(path, PRESSURE, Asked())
    assert (loaded.rows.time_us[0], loaded.rows.device) == (NOON_BEIJING_US, ["n1"])


def test_parquet_with_devices_and_times_in_its_index_is_read(tmp_path):
    index = pd.MultiIndex.from_product([["A", "B"], pd.date_range("2026-01-01 12:00", periods=3, freq="5min")])
    path = tmp_path / "data.parquet"
    frame = pd.DataFrame({"pressure": [300.0, 301, 302, 310, 311, 312]}, index=index.set_names(["device", "time"]))
    frame.to_parquet(path)
    assert load(path, PRESSURE, Asked()).rows.device == ["A", "B"]


# units


def test_the_unit_a_person_names_is_converted(tmp_path):
    assert read(tmp_path, "time,A\n2026-01-01 12:00,30\n", unit="m").rows.values[0, 0] == pytest.approx(
        294.2, abs=0.1
    )


def test_metres_of_water_are_recognised_and_said(tmp_path):
    loaded = read(tmp_path, "time,A\n2026-01-01 12:00,28\n2026-01-01 12:05,45\n2026-01-01 12:10,57\n")
    assert loaded.rows.values[0, 0] == pytest.approx(274.6, abs=0.1)
    assert any("taken as mH2O" in note.en for note in loaded.notes)


def test_a_few_values_out_of_range_do_not_change_the_unit():
    assert guess(np.array([300.0] * 60 + [0.3] * 40), KPA) is None
    assert guess(np.array([0.3] * 100), KPA).unit == "MPa"
    assert guess(np.array([np.nan, 0.0]), KPA) is None


def test_an_unknown_unit_is_refused(tmp_path):
    with pytest.raises(Exception, match="unit 'furlong'"):
        read(tmp_path, "time,A\n2026-01-01 12:00,30\n", unit="furlong")


def test_names_are_understood_as_people_write_them():
    assert match(SEWAGE, "COD_mg_L").quantity.name == "cod_mgl"
    assert match(PRESSURE, "pressure").unit == ""
    assert match(PRESSURE, "pressure_MPa").unit == "MPa"
    assert match(PRESSURE, "n105") is None
    assert [stranger(name, KPA) for name in ("F_p227", "L_T1", "P_12", "n1")] == ["flow", "length", "", ""]


# what cannot be used


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "an empty file"),
        ("time,A\n", "rows of readings, got none"),
        ("\n\n\n", "got"),
        ("time,A\nnever,300\nlater,301\n", "column of times"),
        ("time,A\n2026-01-01 12:00,closed\n", "columns of numbers"),
        ("time\n2026-01-01 12:00\n", "columns of numbers"),
        ("a\0b,c\n", "binary"),
        ('time,A\n"2026-01-01 12:00,300\n', "got"),
        ("A,B\n1,2\n3,4\n", "name it with --time"),
        ("time,A\n1.0,300\n", "column of times"),
        (
            "2026-01-01 12:00,300\n2026-01-01 12:05,301\n",
            "names of the columns, got the reading of 2026-01-01 12:00",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, text, why):
    assert why in refused(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BacktestError, match="got none; nothing was run"):
        load(tmp_path / "no.csv", PRESSURE, Asked())


def test_bytes_that_only_begin_like_parquet_are_refused(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1" + bytes(range(256)))
    with pytest.raises(BacktestError, match="Parquet file that can be read"):
        load(path, PRESSURE, Asked())


def test_more_rows_than_fit_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_ROWS_MAX", 3)
    assert "at most 3 rows" in refused(tmp_path, "time,A\n" + "2026-01-01 12:00,300\n" * 5)


def test_wishes_that_do_not_fit_the_file_are_refused(tmp_path):
    text = "time,A\n2026-01-01 12:00,300\n"
    assert "--time: expected one of time, A" in refused(tmp_path, text, time="when")
    assert "--columns: expected a pattern of A" in refused(tmp_path, text, columns="n*")
    assert "--quantity: expected one of pressure_kpa" in refused(tmp_path, text, quantity="height")
    assert "--map: expected a column of A" in refused(tmp_path, text, named={"B": "pressure_kpa"})
    assert "--timezone" in refused(tmp_path, text, zone="Atlantis")
    assert "between --from and --to" in refused(tmp_path, text, from_us=NOON_BEIJING_US + 1)


def test_wild_numbers_pass_to_the_quality_gate_which_judges_them(tmp_path):
    loaded = read(
        tmp_path, "time,A\n2026-01-01 12:00,1e300\n2026-01-01 12:05,inf\n2026-01-01 12:10,300\n", unit="kPa"
    )
    assert loaded.rows.values[:, 0].tolist() == [1e300, np.inf, 300]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.text(string.printable + "时间，;\t", max_size=200).map(str.encode))
def test_any_bytes_are_readings_or_a_refusal(tmp_path, data):
    path = tmp_path / "any.csv"
    path.write_bytes(data)
    with suppress(BacktestError):
        load(path, PRESSURE, Asked())
