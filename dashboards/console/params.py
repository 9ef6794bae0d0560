"""Query parameters, checked strictly: what is unknown, repeated or out of bounds is refused in one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.requests import Request

from dashboards.console.text import both
from dashboards.errors import BadRequest
from devices.spec import Text

_LONGEST = 100  # characters of a foreign text repeated in a refusal
_TEXT_MAX = 200  # characters of one parameter


class Query:
    """The parameters of one request, of which only `allowed` may occur, each once unless `repeated` names it."""

    def __init__(self, request: Request, allowed: Sequence[str], repeated: Iterable[str] = ()) -> None:
        self._params = request.query_params
        allowed = (*allowed, "lang")
        for name in self._params:
            if name not in allowed:
                raise BadRequest(
                    both("error_unknown_parameter", name=name[:_LONGEST], expected=", ".join(allowed))
                )
            values = self._params.getlist(name)
            if len(values) > 1 and name not in repeated:
                raise bad(name, Text("一个值", "one value"), f"{len(values)}")
            for value in values:
                if len(value) > _TEXT_MAX or "\x00" in value:
                    raise bad(name, Text(f"至多 {_TEXT_MAX} 个字符", f"at most {_TEXT_MAX} characters"), value)

    def text(self, name: str, default: str = "") -> str:
        """The text called `name`."""
        return self._params.get(name, default)

    def required(self, name: str) -> str:
        """The text called `name`; BadRequest without one."""
        value = self._params.get(name, "")
        if not value:
            raise bad(name, Text("一个值", "a value"), "")
        return value

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """All texts called `name`, at most `most`."""
        values = tuple(self._params.getlist(name))
        if len(values) > most:
            raise bad(name, Text(f"至多 {most} 个", f"at most {most}"), f"{len(values)}")
        return values

    def one_of(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of `choices`."""
        value = self._params.get(name, default)
        if value != default and value not in choices:
            listed = ", ".join(choices)
            raise bad(name, Text(f" {listed} 之一", f"one of {listed}"), value)
        return value

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number, low <= it <= high."""
        value = self._params.get(name)
        if value is None:
            return default
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18 and low <= int(value) <= high):
            raise bad(name, Text(f" {low} 至 {high} 的整数", f"a whole number from {low} to {high}"), value)
        return int(value)

    def given(self, name: str) -> bool:
        """Whether `name` occurs."""
        return name in self._params


def bad(name: str, expected: Text, got: str) -> BadRequest:
    """The refusal of parameter `name`."""
    shown = repr(got[:_LONGEST]) if got else "—"
    return BadRequest(both("error_parameter", name=name, expected=expected.en, expected_zh=expected.zh, got=shown))
