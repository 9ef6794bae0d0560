"""The rules: their thresholds, what was changed for whom and by whom; changing one, after a look at what it does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboards.console.forms import name_of, posted
from dashboards.console.page import Console, console_of, page, shown_of
from dashboards.console.params import Query, bad
from dashboards.console.ports import Thresholds
from dashboards.console.shown import Shown, find_rule
from dashboards.console.text import both
from dashboards.errors import BadRequest
from devices.beijing import micros
from devices.spec import Kind, Text, Use
from processors.backtest.preview import Preview
from processors.detectors import load as detectors
from processors.errors import ProcessorError
from processors.thresholds.change import FOREVER, Change, Scope, changeable, of_rule

_SCOPES: Final = tuple(Scope)
_DAYS: Final = ("1", "7", "30")


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule as the page shows it. `numbers`: (parameter, declared) in order; `changes`: those that hold now."""

    use: Use
    numbers: list[tuple[str, str]]
    changes: list[Change]


async def rules(request: Request) -> Response:
    """Every rule of one kind: `GET /rules`."""
    query = Query(request, ("kind", "rule"))
    return await _shown(request, query.text("kind"), {"rule": query.text("rule")})


async def change(request: Request) -> Response:
    """POST /rules: look at what a change would do (`do=preview`), or make it (`do=set`)."""
    console, book = _book(request)
    fields = await posted(request)
    draft = _draft(console, fields)
    try:
        if fields.get("do") != "set":
            days = fields.get("days") if fields.get("days") in _DAYS else _DAYS[0]
            found = await console.feed.call_slow(book.preview, draft, float(str(days)))
            return await _shown(request, draft.kind, fields, found)
        await console.feed.call(book.add, draft)
    except ProcessorError as error:
        raise BadRequest(both("error_refused", why=str(error)), 409) from error
    return RedirectResponse(f"/rules?kind={draft.kind}", 303)


async def withdraw(request: Request) -> Response:
    """POST /rules/{number}/withdraw with form field `by`."""
    console, book = _book(request)
    by = name_of(await posted(request))
    try:
        taken: Change = await console.feed.call(book.withdraw, request.path_params["number"], by)
    except ProcessorError as error:
        raise BadRequest(both("error_refused", why=str(error)), 409) from error
    return RedirectResponse(f"/rules?kind={taken.kind}", 303)


def _book(request: Request) -> tuple[Console, Thresholds]:
    console = console_of(request)
    if console.thresholds is None:
        raise BadRequest(both("error_path", path=request.url.path[:100]), 404)
    return console, console.thresholds


async def _shown(request: Request, kind: str, fields: dict[str, str], preview: Preview | None = None) -> Response:
    console, book = _book(request)
    await console.feed.know_names()
    chosen = console.feed.kinds.get(kind or next(iter(console.feed.kinds)))
    if chosen is None:
        raise BadRequest(both("error_kind", kind=kind[:100], expected=", ".join(console.feed.kinds)), 404)
    changes = [one for one in await console.feed.call(book.changes) if one.kind == chosen.name]
    now = console.feed.now()
    return await page(
        request,
        "rules.html",
        kinds=console.feed.kinds.values(),
        chosen=chosen,
        rules=[_row(use, chosen, changes, now) for use in chosen.detectors],
        history=list(reversed(changes)),
        scopes=_SCOPES,
        days=_DAYS,
        fields=fields,
        preview=preview,
        found=_difference(preview, shown_of(request)) if preview else [],
        forever=FOREVER,
        now_us=now,
        params=sorted({name for use in chosen.detectors for name in changeable(use)}),
    )


def _row(use: Use, kind: Kind, changes: list[Change], now_us: int) -> RuleRow:
    declared = {**detectors()[use.detector].PARAMS, **use.params}
    numbers = [
        (name, f"{declared[name]:.10g}") for name in sorted(changeable(use)) if declared[name] == declared[name]
    ]
    return RuleRow(use, numbers, [one for one in of_rule(changes, kind.name, use.rule) if one.holds(now_us)])


def _difference(preview: Preview, shown: Shown) -> list[tuple[str, str, str, str]]:
    """(sign, time, device, sentence) of every alert gained or lost."""
    return [
        (sign, shown.time(span.raised_us), span.device, span.finding.evidence.why.get(shown.words.language, ""))
        for sign, spans in (("+", preview.gained), ("−", preview.lost))
        for span in spans
    ]


def _draft(console: Console, fields: dict[str, str]) -> Change:
    kind = fields.get("kind", "")
    if find_rule(console.feed.kinds.get(kind), fields.get("rule", "")) is None:
        raise bad("rule", Text("所选类别的规则", "a rule of the kind"), fields.get("rule", ""))
    scope = fields.get("scope", "kind")
    if scope not in set(_SCOPES):
        raise bad("scope", Text(f" {', '.join(_SCOPES)} 之一", f"one of {', '.join(_SCOPES)}"), scope)
    until = _moment(console, fields, "until")
    return Change(
        kind=kind,
        rule=fields["rule"],
        param=fields.get("param", ""),
        value=_number(fields),
        scope=Scope(scope),
        target=fields.get("target", "") if scope != "kind" else kind,
        effective_us=_moment(console, fields, "from") or 0,
        until_us=FOREVER if until is None else until,
        author=name_of(fields),
        reason=fields.get("reason", ""),
    )


def _number(fields: dict[str, str]) -> float:
    try:
        return float(fields.get("value", ""))
    except ValueError:
        raise bad("value", Text("一个数", "a number"), fields.get("value", "")) from None


def _moment(console: Console, fields: dict[str, str], name: str) -> int | None:
    """A wall time of the city in field `name`, as UTC microseconds; None where it is empty."""
    text = fields.get(name, "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=console.zone)
        return micros(moment)
    except (ValueError, OverflowError):
        raise bad(name, Text("时间，如 2026-01-05 08:00", "a time such as 2026-01-05 08:00"), text) from None
