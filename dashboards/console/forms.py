"""What a browser posts: bounded, from our own pages only, each field a text on one line."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request

from dashboards.console.params import bad
from dashboards.console.security import same_origin
from dashboards.console.text import TEXTS, both
from dashboards.errors import BadRequest
from devices.spec import Text

NAME_MAX = 40
_BODY_MAX = 8_000
_LONGEST = 100  # characters of a foreign text repeated in a refusal


async def posted(request: Request) -> dict[str, str]:
    """The fields of a form; BadRequest for a foreign page or a body that is too long."""
    if not same_origin(request.headers):
        raise BadRequest(both("error_origin"), 403)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _BODY_MAX:
            raise bad("form", Text(f"至多 {_BODY_MAX} 字节", f"at most {_BODY_MAX} bytes"), "")
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=50)
    return {name: " ".join(values[0].split()) for name, values in fields.items()}


def name_of(fields: dict[str, str]) -> str:
    """Who posts it: field `by`; BadRequest without a name."""
    by = fields.get("by", "")
    if not 1 <= len(by) <= NAME_MAX or not by.isprintable():
        raise unfit("your_name", Text(f" 1 至 {NAME_MAX} 个字符", f"1 to {NAME_MAX} characters"), by)
    return by


def unfit(label: str, expected: Text, got: str) -> BadRequest:
    """The refusal of a field of a form, called as the page calls it: `label` is the key of its text."""
    shown, name = repr(got[:_LONGEST]) if got else "—", TEXTS[label]
    return BadRequest(
        both(
            "error_field", name=name.en, name_zh=name.zh, expected=expected.en, expected_zh=expected.zh, got=shown
        )
    )
