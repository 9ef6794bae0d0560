"""What is secret, and how it is shown.

To: settings, logs and the doctor, which must agree on it. A name says that its value is secret; a URL is secret
between `://` and `@`.
"""

from __future__ import annotations

import re

MASK = "***"
_NAMES = re.compile(
    r"(^|_)(password|passwd|token|secret|api_key|access_key|private_key|authorization|cookie)$", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)[^\s/@]+(?=@)")
_QUERY = re.compile(r"(?<=[?&;])((?:password|token|secret|api_key|key|sign)=)[^&;\s]+", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether a setting or log field called `name` holds a secret.

    >>> is_secret("mqtt_password"), is_secret("password_file"), is_secret("token")
    (True, False, True)
    """
    return _NAMES.search(name) is not None


def mask_text(text: str) -> str:
    """`text` without the credentials of the URLs in it.

    >>> mask_text("postgresql://city:hunter2@db/undercity?sslmode=require")
    'postgresql://***@db/undercity?sslmode=require'
    """
    return _QUERY.sub(rf"\1{MASK}", _USERINFO.sub(MASK, text))
