"""Settings: two sources, one result, and a line for every fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import SettingsError
from deploy.settings import DatabaseSettings, Settings, flatten, shown
from deploy.settings_loader import keys, load, load_with_origins


def _write(folder: Path, text: str) -> Path:
    file = folder / "undercity.toml"
    file.write_text(text, encoding="utf-8")
    return file


def _faults(file: Path | None, environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(file, environ)
    assert all("\n" not in fault for fault in caught.value.faults)
    return caught.value.faults


def test_without_a_file_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, {}) == Settings()


def test_a_settings_file_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "[metrics]\nport = 9000\n")
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).metrics.port == 9000


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = _write(tmp_path, "[metrics]\nport = 9000\nstale_s = 20\n")
    settings, origins = load_with_origins(file, {"UNDERCITY_METRICS__PORT": "9001"})
    assert (settings.metrics.port, settings.metrics.stale_s) == (9001, 20.0)
    assert origins == {"metrics.port": "UNDERCITY_METRICS__PORT", "metrics.stale_s": str(file)}


def test_a_path_in_the_file_is_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(_write(tmp_path, '[data]\ndir = "var"\n'), {})
    assert settings.journal_path == tmp_path / "var" / "journal.db"
    assert load(None, {"UNDERCITY_DATA__DIR": "var"}).data.dir == Path("var")


def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    file = _write(tmp_path, "[journal]\nretention_dys = 3\n")
    assert _faults(file, {}) == (
        (
            f"{file}: journal.retention_dys: expected a known setting; the nearest is journal.retention_days; "
            "nothing was started"
        ),
    )


def test_an_unknown_section_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    (fault,) = _faults(_write(tmp_path, "[jurnal]\nretention_days = 3\n"), {})
    assert "jurnal: expected a known setting; the nearest is journal;" in fault


def test_an_unknown_variable_is_refused_with_the_nearest_known_one() -> None:
    assert _faults(None, {"UNDERCITY_METRICS__PRT": "1"}) == (
        (
            "environment: UNDERCITY_METRICS__PRT: expected a known setting; "
            "the nearest is UNDERCITY_METRICS__PORT; nothing was started"
        ),
    )


def test_variables_without_a_section_are_none_of_our_business() -> None:
    load(None, {"UNDERCITY_CONFIG": "x", "UNDERCITY_TEST_INFLUX_URL": "y", "PATH": "z"})


def test_a_wrong_value_says_file_key_expected_and_got(tmp_path: Path) -> None:
    file = _write(tmp_path, '[metrics]\nport = "abc"\n')
    (fault,) = _faults(file, {})
    assert fault.startswith(f"{file}: metrics.port: expected a valid integer")
    assert fault.endswith("got 'abc'; nothing was started")


def test_a_value_that_its_class_refuses_names_its_origin() -> None:
    assert _faults(None, {"UNDERCITY_JOURNAL__RETENTION_DAYS": "-1"}) == (
        (
            "UNDERCITY_JOURNAL__RETENTION_DAYS: journal.retention_days: expected more than 0, got -1.0; "
            "nothing was started"
        ),
    )


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    file = _write(tmp_path, '[metrics]\nport = "abc"\n[logs]\nlevel = "loud"\n[x]\n')
    assert len(_faults(file, {"UNDERCITY_RUN__X": "1"})) == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[metrics\n", "expected TOML in UTF-8"),
        ("metrics = 3\n", "metrics: expected a table, got 3"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (fault,) = _faults(_write(tmp_path, text), {})
    assert says in fault


def test_a_missing_file_that_was_named_is_refused(tmp_path: Path) -> None:
    (fault,) = _faults(tmp_path / "none.toml", {})
    assert "expected a settings file, found none" in fault


def test_a_secret_in_the_settings_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (fault,) = _faults(_write(tmp_path, '[database]\npassword = "hunter2"\n'), {})
    assert "expected no secret in the settings file" in fault
    assert "hunter2" not in fault


def test_a_secret_comes_from_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "db.secret").write_text("hunter2\n", encoding="utf-8")
    file = _write(tmp_path, '[database]\nurl = "postgresql+psycopg://u@h/d"\npassword_file = "db.secret"\n')
    settings = load(file, {})
    assert settings.database_url == "postgresql+psycopg://u:hunter2@h/d"
    by_variable = load(None, {"UNDERCITY_DATABASE__PASSWORD_FILE": str(tmp_path / "db.secret")})
    assert by_variable.database == DatabaseSettings(password="hunter2")


def test_a_secret_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (fault,) = _faults(_write(tmp_path, '[database]\npassword_file = "none"\n'), {})
    assert "database.password_file: expected a readable file, got 'none: No such file" in fault


def test_a_secret_of_digits_stays_text() -> None:
    settings = load(None, {"UNDERCITY_DATABASE__PASSWORD": "0012"})
    assert settings.database == DatabaseSettings(password="0012")


def test_no_secret_is_ever_shown() -> None:
    environ = {
        "UNDERCITY_DATABASE__PASSWORD": "hunter2",
        "UNDERCITY_DATABASE__URL": "postgresql+psycopg://u:hunter3@h/d",
    }
    settings = load(None, environ)
    for text in (repr(settings), "\n".join(f"{key}={value}" for key, value in shown(settings))):
        assert "hunter" not in text
        assert "***" in text


def test_every_key_can_be_set_by_the_variable_of_its_name() -> None:
    values = {key: value for key, value, _ in flatten(Settings())}
    assert set(values) == {key for key, *_ in keys() if "[]" not in key}
    for key, value in values.items():
        if isinstance(value, int | float | str) and value != "" and not isinstance(value, bool):
            variable = "UNDERCITY_" + key.replace(".", "__").upper()
            again = {key: value for key, value, _ in flatten(load(None, {variable: str(value)}))}
            assert again[key] == value


ADDRESSES = """
[[notify.addresses]]
name = "crew"
url_file = "crew.url"
severity = "medium"
[[notify.addresses]]
name = "duty"
url_file = "duty.url"
"""


def test_a_list_of_tables_becomes_a_tuple_of_its_class(tmp_path: Path) -> None:
    crew, duty = load(_write(tmp_path, ADDRESSES), {}).notify.addresses
    assert (crew.name, crew.severity, crew.url_file) == ("crew", "medium", tmp_path / "crew.url")
    assert duty.name == "duty"


def test_a_misspelt_key_in_a_list_of_tables_is_refused(tmp_path: Path) -> None:
    (fault,) = _faults(_write(tmp_path, ADDRESSES + 'distrits = ["0101"]\n'), {})
    assert (
        "notify.addresses[1].distrits: expected a known setting; the nearest is notify.addresses[1].districts"
        in fault
    )


def test_a_secret_in_a_list_of_tables_is_refused_in_the_file_and_masked_from_the_environment(
    tmp_path: Path,
) -> None:
    file = _write(tmp_path, '[[notify.addresses]]\nname = "crew"\nurl = "wecombot://hunter2"\n')
    assert any("notify.addresses[0].url: expected no secret" in fault for fault in _faults(file, {}))
    given = '[{"name": "crew", "url": "wecombot://hunter2"}]'
    settings = load(None, {"UNDERCITY_NOTIFY__ADDRESSES": given})
    assert settings.notify.addresses[0].url == "wecombot://hunter2"
    assert "hunter2" not in repr(settings)


def test_a_list_in_a_variable_is_given_with_commas_or_as_json() -> None:
    for text in ("a.example, b.example", '["a.example", "b.example"]'):
        assert load(None, {"UNDERCITY_CONSOLE__ALLOWED_HOSTS": text}).console.allowed_hosts == (
            "a.example",
            "b.example",
        )
