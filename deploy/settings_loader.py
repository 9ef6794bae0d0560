"""Reads the settings file and the environment into `Settings`, and names every fault in one line.

From: a TOML file and environment variables. To: `deploy.settings.Settings`, and where each value came from. All
faults are found in one go, so that a person mends them in one go.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from deploy.errors import SettingsError
from deploy.secrecy import MASK
from deploy.settings import Settings, secret_field
from devices.errors import UndercityError

ENV_PREFIX = "UNDERCITY_"
DEFAULT_FILE = Path("undercity.toml")
_AFTER = "nothing was started"

Origins = dict[str, str]
_Path = tuple[str, ...]


def load(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of `file` and `environ`.

    Without `file`, `undercity.toml` of the current folder if there is one. SettingsError with one line per fault.
    """
    return load_with_origins(file, environ)[0]


def load_with_origins(
    file: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, Origins]:
    """As `load`; also the file or variable each given key came from."""
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    tree = _read_toml(file) if file else {}
    loader = _Loader(file, _read_environ(os.environ if environ is None else environ))
    settings = loader.section(Settings, tree, (), str(file))
    loader.refuse_leftovers()
    if loader.faults or settings is None:
        raise SettingsError(loader.faults)
    return settings, loader.origins


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError([f"{file}: expected a settings file, found none; {_AFTER}"]) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError([f"{file}: expected TOML in UTF-8: {error}; {_AFTER}"]) from None


def _read_environ(environ: Mapping[str, str]) -> dict[_Path, str]:
    """Variables of ours by key path. Those without `__` are not settings: `UNDERCITY_CONFIG` is not."""
    given = {}
    for name, value in environ.items():
        if name.startswith(ENV_PREFIX) and "__" in name:
            given[tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))] = value
    return given


def _variable(path: _Path) -> str:
    return ENV_PREFIX + "__".join(path).upper()


class _Loader:
    """Walks the settings classes once, taking what was given and noting what is wrong with it."""

    def __init__(self, file: Path | None, environ: dict[_Path, str]) -> None:
        self.file = file
        self.environ = environ
        self.faults: list[str] = []
        self.origins: Origins = {}

    def section(self, cls: type[Any], tree: object, path: _Path, origin: str) -> Any:
        """One instance of `cls` from `tree`, which `origin` holds; None when it has a fault."""
        if not isinstance(tree, dict):
            self._fault(origin, path, "a table", tree)
            return None
        known = {one.name: one for one in fields(cls) if one.init}
        hints = get_type_hints(cls)
        values: dict[str, Any] = {}
        before = len(self.faults)
        for name, one in known.items():
            self._take(one, hints[name], tree, (*path, name), values, origin)
            if name not in values and secret_field(one) and f"{name}_file" not in known:
                self._take_secret_file(tree, (*path, name), values)
        for key in tree:
            if key not in known and not self._names_secret_file(key, known):
                self._unknown(origin, (*path, key), list(known))
        if len(self.faults) > before:
            return None
        return self._construct(cls, values, path)

    def _construct(self, cls: type[Any], values: dict[str, Any], path: _Path) -> Any:
        try:
            return cls(**values)
        except SettingsError as error:
            self.faults += [f"{self._origin_under(path)}: {fault}; {_AFTER}" for fault in error.faults]
        except (UndercityError, ValueError) as error:
            self.faults.append(f"{self._origin_under(path)}: {error}; {_AFTER}")
        except TypeError:
            missing = [one.name for one in fields(cls) if _required(one) and one.name not in values]
            for name in missing:
                self._fault(str(self.file or "settings"), (*path, name), "a value", None)
        return None

    def _origin_under(self, path: _Path) -> str:
        inside = {origin for key, origin in self.origins.items() if key.startswith(".".join(path) + ".")}
        return ", ".join(sorted(inside)) or "built-in"

    def _take(
        self,
        one: Field[Any],
        hint: object,
        tree: dict[str, Any],
        path: _Path,
        values: dict[str, Any],
        holder: str,
    ) -> None:
        nested = _dataclass_in(hint)
        if nested is not None:
            if one.name in tree or nested is hint or any(key[: len(path)] == path for key in self.environ):
                values[one.name] = self.section(nested, tree.get(one.name, {}), path, holder)
            return
        found = self._given(one, tree, path, holder)
        if found is None:
            return
        value, origin = found
        self.origins[".".join(path)] = origin
        element = _element_in(hint)
        if element is not None:
            values[one.name] = self._sections(element, value, path, origin)
        else:
            self._convert(hint, value, origin, path, values, secret=secret_field(one))

    def _sections(self, cls: type[Any], value: object, path: _Path, origin: str) -> tuple[Any, ...]:
        value = _split(value) if isinstance(value, str) else value
        if not isinstance(value, list):
            self._fault(origin, path, "a list of tables", value)
            return ()
        named = [(*path[:-1], f"{path[-1]}[{number}]") for number in range(len(value))]
        return tuple(self.section(cls, item, name, origin) for item, name in zip(value, named, strict=True))

    def _given(self, one: Field[Any], tree: dict[str, Any], path: _Path, holder: str) -> tuple[object, str] | None:
        """The value given for `path` and where; the environment wins."""
        in_tree, secret, key = tree.get(one.name), secret_field(one), ".".join(path)
        if secret and in_tree and holder == str(self.file):
            self.faults.append(
                f"{holder}: {key}: expected no secret in the settings file, got one; put it into a file of its "
                f"own and name that by {key}_file; {_AFTER}"
            )
            return None
        if path in self.environ:
            return self.environ.pop(path), _variable(path)
        if in_tree is not None:
            return in_tree, holder
        return None

    def _take_secret_file(self, tree: dict[str, Any], path: _Path, values: dict[str, Any]) -> None:
        key = (*path[:-1], path[-1] + "_file")
        named, origin = self.environ.pop(key, None), _variable(key)
        if named is None:
            named, origin = tree.get(key[-1]), str(self.file)
        if not named:
            return
        try:
            values[path[-1]] = self._beside(Path(str(named)), origin).read_text(encoding="utf-8").strip()
            self.origins[".".join(path)] = str(named)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            self._fault(origin, key, "a readable file", f"{named}: {reason}")

    def _beside(self, path: Path, origin: str) -> Path:
        """A path written in the settings file is relative to that file; any other to the current folder."""
        return self.file.absolute().parent / path if self.file and origin == str(self.file) else path

    def _convert(
        self, hint: object, value: object, origin: str, path: _Path, values: dict[str, Any], *, secret: bool
    ) -> None:
        if isinstance(value, str) and _is_collection(hint):
            value = _split(value)
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(hint)  # type: ignore[arg-type]
            result = adapter.validate_python(value)
        except UndercityError as error:
            self.faults.append(f"{origin}: {'.'.join(path)}: {error}; {_AFTER}")
            return
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            inner = tuple(str(part) for part in first["loc"])
            got = MASK if secret else first["input"]
            self._fault(origin, (*path, *inner), first["msg"].removeprefix("Input should be "), got)
            return
        values[path[-1]] = self._beside(result, origin) if isinstance(result, Path) else result

    def _names_secret_file(self, key: str, known: Mapping[str, Field[Any]]) -> bool:
        secret = known.get(key.removesuffix("_file")) if key.endswith("_file") else None
        return secret is not None and secret_field(secret)

    def _fault(self, origin: str, path: _Path, expected: str, got: object) -> None:
        shown = "nothing" if got is None else repr(got)
        self.faults.append(f"{origin}: {'.'.join(path)}: expected {expected}, got {shown}; {_AFTER}")

    def _unknown(self, origin: str, path: _Path, siblings: list[str]) -> None:
        key = ".".join(path)
        near = difflib.get_close_matches(path[-1], siblings, n=1)
        guess = ".".join((*path[:-1], near[0])) if near else _nearest(key)
        hint = f"the nearest is {guess}" if guess else f"it takes {', '.join(siblings)}"
        self.faults.append(f"{origin}: {key}: expected a known setting; {hint}; {_AFTER}")

    def refuse_leftovers(self) -> None:
        """Variables that look like settings and belong to none."""
        for path in self.environ:
            guess = _nearest(".".join(path))
            hint = f"; the nearest is {_variable(tuple(guess.split('.')))}" if guess else ""
            self.faults.append(f"environment: {_variable(path)}: expected a known setting{hint}; {_AFTER}")


def keys(cls: type[Any] = Settings, path: _Path = ()) -> Iterator[tuple[str, Field[Any], object, type[Any]]]:
    """Every setting there is: dotted key, field, type and the class it stands in."""
    hints = get_type_hints(cls)
    for one in fields(cls):
        nested = _dataclass_in(hints[one.name])
        if nested is not None:
            yield from keys(nested, (*path, one.name))
        elif one.init:
            yield ".".join((*path, one.name)), one, hints[one.name], cls
            element = _element_in(hints[one.name])
            if element is not None:
                yield from keys(element, (*path, f"{one.name}[]"))


def _nearest(key: str) -> str:
    near = difflib.get_close_matches(key, [known for known, *_ in keys()], n=1, cutoff=0.5)
    return near[0] if near else ""


def _required(one: Field[Any]) -> bool:
    return one.init and one.default is MISSING and one.default_factory is MISSING


def _dataclass_in(hint: object) -> type[Any] | None:
    """The settings class `hint` stands for, itself or as `X | None`."""
    options = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    return next((o for o in options if isinstance(o, type) and is_dataclass(o)), None)


def _element_in(hint: object) -> type[Any] | None:
    """The settings class that `hint` is a tuple of."""
    inner = get_args(hint)[0] if get_origin(hint) is tuple and get_args(hint) else None
    return inner if isinstance(inner, type) and is_dataclass(inner) else None


def _is_collection(hint: object) -> bool:
    options = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    return any(
        isinstance(kind, type) and issubclass(kind, tuple | list | frozenset | set | Mapping)
        for kind in (get_origin(option) or option for option in options)
    )


def _split(text: str) -> object:
    """A list in a variable: JSON, or parts with commas between them."""
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    return [part.strip() for part in text.split(",") if part.strip()]
