"""One alert's page: why, where, since when, the evidence and its chart; its acknowledgement; whether it was true."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboards.console.forms import name_of, posted, unfit
from dashboards.console.page import Console, console_of, page, shown_of
from dashboards.console.params import Query
from dashboards.console.shown import DASH, Shown, find_rule, measured
from dashboards.console.text import both
from dashboards.errors import BadRequest
from devices.spec import Kind, Text
from processors.alerts.alert import Alert, Change
from processors.alerts.states import UNSEEN
from processors.alerts.verdicts import Verdict
from processors.errors import AlertError
from processors.evidence.chart import draw

_NOTE_MAX = 200


async def alert(request: Request) -> Response:
    """One alert's page: `GET /alerts/{alert}`."""
    console, shown = console_of(request), shown_of(request)
    await console.feed.know_names()
    Query(request, ())
    found = await _known(request)
    kind = console.feed.kinds.get(found.kind)
    row = console.alert_row(found, shown)
    facts = await console.feed.call(console.feed.registry.device, found.device)
    return await page(
        request,
        "alert.html",
        alert=found,
        row=row,
        device=facts,
        evidence=_evidence(found, kind, shown),
        times=_times(found, shown),
        course=[_step(change, shown) for change in await console.feed.call(console.feed.book.history, found.id)],
        chart=_chart(found, kind),
        why=found.evidence.why.get(shown.words.language, ""),
        drawing=_drawing(found, kind, shown),
        verdicts=await _verdicts(console, found),
        note_max=_NOTE_MAX,
        can_acknowledge=console.acknowledger is not None and found.state in UNSEEN,
    )


async def acknowledge(request: Request) -> Response:
    """POST /alerts/{alert}/acknowledge with form field `by`."""
    console = console_of(request)
    if console.acknowledger is None:
        raise BadRequest(both("error_path", path=request.url.path), 404)
    by = name_of(await posted(request))
    found = await _known(request)
    try:
        await console.feed.call(console.acknowledger.acknowledge, found.id, by, console.feed.now())
    except AlertError as error:
        raise BadRequest(both("error_refused", why=str(error)), 409) from error
    return RedirectResponse(f"/alerts/{found.id}", 303)


async def judge(request: Request) -> Response:
    """POST /alerts/{alert}/verdict with form fields `verdict` (true or false), `by` and `note`: what a crew found."""
    console = console_of(request)
    if console.verdicts is None:
        raise BadRequest(both("error_path", path=request.url.path[:100]), 404)
    fields = await posted(request)
    by, said = name_of(fields), fields.get("verdict", "")
    if said not in {"true", "false"}:
        raise unfit("verdict", Text(" true 或 false", "true or false"), said)
    note = fields.get("note", "")
    if len(note) > _NOTE_MAX or not note.isprintable():
        raise unfit("verdict_note", Text(f"至多 {_NOTE_MAX} 个字符", f"at most {_NOTE_MAX} characters"), note)
    found = await _known(request)
    try:
        verdict = Verdict(found.id, said == "true", by, console.feed.now(), note)
        await console.feed.call(console.verdicts.add, verdict)
    except AlertError as error:
        raise BadRequest(both("error_refused", why=str(error)), 409) from error
    return RedirectResponse(f"/alerts/{found.id}", 303)


async def _verdicts(console: Console, found: Alert) -> list[Verdict] | None:
    """Newest first; None where nobody can say one."""
    if console.verdicts is None:
        return None
    return list(reversed(await console.feed.call(console.verdicts.of, found.id)))


async def _known(request: Request) -> Alert:
    console = console_of(request)
    name = request.path_params["alert"]
    found: Alert | None = await console.feed.call(console.feed.book.get, name)
    if found is None:
        raise BadRequest(both("error_alert", alert=name[:100]), 404)
    return found


def _evidence(found: Alert, kind: Kind | None, shown: Shown) -> list[tuple[str, str]]:
    """(key of the label, text) in the order a person asks."""
    evidence, words = found.evidence, shown.words
    quantity = words("whole_device")
    if evidence.quantity:
        declared = [q for q in kind.quantities if q.name == evidence.quantity] if kind else []
        quantity = f"{words.pick(declared[0].label)} ({evidence.quantity})" if declared else evidence.quantity
    use = find_rule(kind, found.rule)
    params = {**(use.params if use and use.version == found.version else {}), **evidence.params}
    quality = f"quality_{evidence.quality}"
    return [
        ("rule_version", f"{found.rule} · v{found.version}" + (f" · {use.detector}" if use else "")),
        ("quantity", quantity),
        ("observed", measured(evidence.observed, evidence.unit)),
        ("expected", _or_not(measured(evidence.expected, evidence.unit), shown)),
        ("limit", _or_not(measured(evidence.limit, evidence.unit), shown)),
        ("hold_time", shown.span(evidence.hold_s)),
        ("quality", words(quality) if evidence.quality in _QUALITIES else evidence.quality),
        ("window", " – ".join(shown.iso(edge) for edge in evidence.window)),
        ("rule_inputs", ", ".join(f"{name} = {value:g}" for name, value in sorted(params.items())) or DASH),
    ]


def _drawing(found: Alert, kind: Kind | None, shown: Shown) -> str:
    """What the rule saw when it decided, as SVG that is safe to put into a page; empty where nothing was kept."""
    zh = shown.words.language == "zh"
    return draw(found.device, found.rule, found.onset_us, found.evidence, kind, zh=zh)


_QUALITIES = frozenset({"good", "suspect", "maintenance", "bad", "missing"})


def _or_not(text: str, shown: Shown) -> str:
    return shown.words("not_applicable") if text == DASH else text


def _times(found: Alert, shown: Shown) -> list[tuple[str, str]]:
    return [
        ("onset", shown.time(found.onset_us)),
        ("raised", shown.time(found.raised_us)),
        ("updated", shown.time(found.updated_us)),
        ("cleared", shown.time(found.cleared_us)),
    ]


def _step(change: Change, shown: Shown) -> tuple[str, str, str]:
    """Our clock's time, what happened, who did it (empty for a rule)."""
    return shown.time(change.recorded_us), shown.words(f"step_{change.step}"), change.by


def _chart(found: Alert, kind: Kind | None) -> dict[str, object] | None:
    """What the chart shows: the quantity judged, with room on both sides; None where the rule judged no quantity.

    A rule about the whole device (silence) shows the kind's first quantity: the gap is the evidence.
    """
    if kind is None:
        return None
    quantity = found.evidence.quantity or kind.quantities[0].name
    if quantity not in {q.name for q in kind.quantities}:
        return None
    end_us = found.cleared_us or found.updated_us
    span_us = max(end_us - found.onset_us, 900_000_000, int(kind.cadence_s * 8e6))
    return {
        "quantity": quantity,
        "from_s": (found.onset_us - span_us) // 1_000_000,
        "to_s": (end_us + span_us // 2) // 1_000_000,
        "limit": found.evidence.limit if found.evidence.quantity else None,
    }
