"""Everything that is ever sent to an HJ 212 logger: three requests and two answers, built here and nowhere else.

From: the listener. To: the wire. Requests read a clock, set a clock, or ask for past minute values again; there is no
way to build any other command, so nothing here can operate a valve, change a threshold or set a password.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from devices.codecs.hj212.frame import build
from devices.codecs.hj212.moments import stamp
from devices.spec import Text
from ingest.tcp_loggers import LoggerRule
from ingest.tcp_settings import TcpError

ANSWER_WANTED: Final = 1
PARTS: Final = 2  # bit 1 of Flag: PNUM and PNO are there
SYSTEM: Final = "91"  # ST of an exchange between the two systems
HEARTBEAT: Final = 9015
LOGIN: Final = 9021
CLOCK_REQUEST: Final = 1013
REQUEST_TAKEN: Final = 9011
REQUEST_DONE: Final = 9012
# A logger's notices; everything else that wants an answer is data. 9021 is not in the standard but in the field.
_NOTICES: Final = frozenset({CLOCK_REQUEST, HEARTBEAT, LOGIN})


class Downlink(IntEnum):
    """The requests there are."""

    TIME = 1011  # say what time your clock shows
    SET_CLOCK = 1012
    MINUTES = 2051  # send these minute values again


class Answer(IntEnum):
    """The answers there are."""

    NOTICE = 9013
    DATA = 9014


class Speech(NamedTuple):
    """How a logger spoke last: what requests must look like for it. `pw` is what it sent."""

    st: str
    flag: int
    pw: str


QN_RETURNS: Final = {
    1: Text("准备执行请求", "ready"),
    2: Text("请求被拒绝", "refused"),
    3: Text("密码错误", "wrong password (PW)"),
    4: Text("设备标识错误", "wrong MN"),
    5: Text("系统编码错误", "wrong system code (ST)"),
    6: Text("标志位错误", "wrong Flag"),
    7: Text("请求编码错误", "wrong request number (QN)"),
    8: Text("命令编码错误", "unknown command (CN)"),
    9: Text("CRC 校验错误", "wrong CRC"),
    100: Text("未知错误", "unknown error"),
}
EXE_RETURNS: Final = {
    1: Text("执行成功", "done"),
    2: Text("执行失败", "failed"),
    3: Text("命令请求条件错误", "the request's conditions are wrong"),
    4: Text("通讯超时", "its instrument did not answer in time"),
    5: Text("系统繁忙不能执行", "busy"),
    6: Text("系统故障", "the logger has a fault"),
    100: Text("没有数据", "it has no data for this"),
}


def in_words(code: int, table: dict[int, Text], field: str) -> str:
    """A return code as a person reads it.

    >>> in_words(100, EXE_RETURNS, "ExeRtn")
    'ExeRtn=100: it has no data for this, 没有数据'
    """
    text = table.get(code, Text("标准中没有的代码", "a code that is not in the standard"))
    return f"{field}={code}: {text.en}, {text.zh}"


def answer_for(cn: int, flag: int | None) -> Answer | None:
    """How a packet is acknowledged; None when it wants nothing, or is itself an answer."""
    if flag is None or not flag & ANSWER_WANTED or 9011 <= cn <= 9014:
        return None
    return Answer.NOTICE if cn in _NOTICES else Answer.DATA


def build_answer(answer: Answer, rule: LoggerRule, *, qn: str, pw: str, flag: int) -> bytes:
    """The acknowledgement of the packet that carried `qn`, `pw` and `flag`."""
    return build(
        qn=qn,
        st=SYSTEM,
        cn=str(Answer(answer).value),
        pw=pw,
        mn=rule.mn,
        flag=flag & ~(ANSWER_WANTED | PARTS),
        cp="",
        crc_dialect=rule.crc,
    )


def build_request(downlink: Downlink, rule: LoggerRule, speech: Speech, *, qn: str, cp: str = "") -> bytes:
    """A request to this logger; TcpError for anything that is not a `Downlink`, and when its ST is not known."""
    if not isinstance(downlink, Downlink):
        raise TcpError(f"{rule.mn}: expected one of {', '.join(Downlink.__members__)}, got {downlink!r}; not sent")
    st = rule.st or speech.st
    if not st:
        raise TcpError(f"{rule.mn}: expected the setting st of {rule.device}, got none; nothing was sent")
    return build(
        qn=qn,
        st=st,
        cn=str(downlink.value),
        pw=rule.password or speech.pw,
        mn=rule.mn,
        flag=speech.flag & ~PARTS | ANSWER_WANTED,
        cp=cp,
        crc_dialect=rule.crc,
        sm4_key=rule.sm4_key,
    )


def clock_cp(time_us: int, instrument: str = "") -> str:
    """Parameters of a clock request: `SystemTime`, and the instrument (PolId) where one is meant."""
    return (f"PolId={instrument};" if instrument else "") + f"SystemTime={stamp(time_us)}"


def minutes_cp(begin_us: int, end_us: int, flag: int) -> str:
    """Parameters of a back-fill. The standard of 2005 puts a comma between the two, the later ones a semicolon."""
    comma = "," if flag >> 2 == 0 else ";"
    return f"BeginTime={stamp(begin_us)}{comma}EndTime={stamp(end_us)}"
