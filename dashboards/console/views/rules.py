"""The rules: their thresholds, what was changed for whom and by whom; changing one, after a look at what it does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import isfinite, isnan, nan
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboards.console.forms import name_of, posted, unfit
from dashboards.console.page import Console, console_of, page, shown_of
from dashboards.console.params import Query
from dashboards.console.ports import Thresholds
from dashboards.console.shown import Shown
from dashboards.console.text import both
from dashboards.errors import BadRequest
from devices.beijing import micros
from devices.spec import Kind, Text, Use
from processors.backtest.preview import Preview
from processors.errors import ProcessorError, ThresholdError
from processors.thresholds.change import FOREVER, Change, Scope, changeable, declared, of_rule

_SCOPES: Final = tuple(Scope)
_DAYS: Final = ("1", "7", "30")
_NUMBER_MAX: Final = 2**31 - 1  # of a change, in the database


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule as the page shows it. `numbers`: (parameter, declared) in order; `changes`: that hold now or will."""

    use: Use
    numbers: list[tuple[str, str]]
    changes: list[Change]


async def rules(request: Request) -> Response:
    """Every rule of one kind: `GET /rules`."""
    query = Query(request, ("kind",))
    return await _shown(request, query.text("kind"), {})


async def change(request: Request) -> Response:
    """POST /rules: look at what a change would do (`do=preview`), or make it (`do=set`).

    What is refused comes back with the form as it was filled in.
    """
    console, book = _book(request)
    fields = await posted(request)
    try:
        draft = _draft(console, fields)
        if fields.get("do") != "set":
            found = await console.feed.call_slow(book.preview, draft, float(_days(fields)))
            return await _shown(request, draft.kind, fields, preview=found)
        await console.feed.call(book.add, draft)
    except ThresholdError as error:
        return await _shown(request, fields.get("kind", ""), fields, refused=BadRequest(error.said, 409))
    except ProcessorError as error:
        refused = BadRequest(both("error_refused", why=str(error)), 409)
        return await _shown(request, fields.get("kind", ""), fields, refused=refused)
    except BadRequest as error:
        return await _shown(request, fields.get("kind", ""), fields, refused=error)
    return RedirectResponse(f"/rules?kind={draft.kind}", 303)


async def withdraw(request: Request) -> Response:
    """POST /rules/{number}/withdraw with form field `by`."""
    console, book = _book(request)
    by = name_of(await posted(request))
    number = request.path_params["number"]
    if number > _NUMBER_MAX:
        raise BadRequest(both("error_path", path=request.url.path[:100]), 404)
    try:
        taken: Change = await console.feed.call(book.withdraw, number, by)
    except ThresholdError as error:
        raise BadRequest(error.said, 409) from error
    return RedirectResponse(f"/rules?kind={taken.kind}", 303)


def _book(request: Request) -> tuple[Console, Thresholds]:
    console = console_of(request)
    if console.thresholds is None:
        raise BadRequest(both("error_path", path=request.url.path[:100]), 404)
    return console, console.thresholds


async def _shown(
    request: Request,
    kind: str,
    fields: dict[str, str],
    *,
    preview: Preview | None = None,
    refused: BadRequest | None = None,
) -> Response:
    console, book = _book(request)
    await console.feed.know_names()
    chosen = console.feed.kinds.get(kind or next(iter(console.feed.kinds)))
    if chosen is None:
        raise BadRequest(both("error_kind", kind=kind[:100], expected=", ".join(console.feed.kinds)), 404)
    changes = [one for one in await console.feed.call(book.changes) if one.kind == chosen.name]
    now = console.feed.now()
    shown = shown_of(request)
    return await page(
        request,
        "rules.html",
        status=refused.status if refused else 200,
        kinds=console.feed.kinds.values(),
        chosen=chosen,
        rules=[_row(use, chosen, changes, now) for use in chosen.detectors],
        history=list(reversed(changes)),
        scopes=_SCOPES,
        days=_DAYS,
        fields=fields,
        preview=preview,
        refused=shown.words.pick(refused.said) if refused else "",
        found=_difference(preview, shown) if preview else [],
        forever=FOREVER,
        now_us=now,
    )


def _row(use: Use, kind: Kind, changes: list[Change], now_us: int) -> RuleRow:
    offered = changeable(use)
    numbers = [(name, "" if isnan(value) else f"{value:.10g}") for name, value in sorted(declared(use).items())]
    mine = [one for one in of_rule(changes, kind.name, use.rule) if max(one.effective_us, now_us) < one.end_us]
    return RuleRow(use, [one for one in numbers if one[0] in offered], mine)


def _difference(preview: Preview, shown: Shown) -> list[tuple[str, str, str, str]]:
    """(sign, time, device, sentence) of every alert gained or lost."""
    return [
        (sign, shown.time(span.raised_us), span.device, span.finding.evidence.why.get(shown.words.language, ""))
        for sign, spans in (("+", preview.gained), ("−", preview.lost))
        for span in spans
    ]


def _draft(console: Console, fields: dict[str, str]) -> Change:
    kind, scope = fields.get("kind", ""), fields.get("scope", "kind")
    rule, _, param = fields.get("what", "").partition(".")
    if scope not in set(_SCOPES):
        raise unfit("scope", Text(f" {', '.join(_SCOPES)} 之一", f"one of {', '.join(_SCOPES)}"), scope)
    until = _moment(console, fields, "until", "until_when")
    return Change(
        kind=kind,
        rule=rule,
        param=param,
        value=_number(fields),
        scope=Scope(scope),
        target=fields.get("target", "") if scope != "kind" else kind,
        effective_us=_moment(console, fields, "from", "from_when") or 0,
        until_us=FOREVER if until is None else until,
        author=name_of(fields),
        reason=fields.get("reason", ""),
    )


def _days(fields: dict[str, str]) -> str:
    days = fields.get("days", _DAYS[0])
    if days not in _DAYS:
        raise unfit("preview_days", Text(f" {', '.join(_DAYS)} 之一", f"one of {', '.join(_DAYS)}"), days)
    return days


def _number(fields: dict[str, str]) -> float:
    text = fields.get("value", "")
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise unfit("value", Text("一个数", "a number"), text)
    return number


def _moment(console: Console, fields: dict[str, str], name: str, label: str) -> int | None:
    """A wall time of the city in field `name`, as UTC microseconds; None where it is empty."""
    text = fields.get(name, "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=console.zone)
        return micros(moment)
    except (ValueError, OverflowError):
        raise unfit(label, Text("时间，如 2026-01-05 08:00", "a time such as 2026-01-05 08:00"), text) from None
