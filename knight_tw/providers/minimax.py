"""MiniMax (35): OpenAI-like chat with errors in `base_resp` (specification, 7.19)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.providers.addresses import CHATTING, addresses
from knight_tw.providers.credentials import by_dialect
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Provider
from knight_tw.records import Dialect, Mode

ADDRESS = "https://api.minimax.chat"

_PATHS = {
    Mode.CHAT: "/v1/text/chatcompletion_v2",
    Mode.MESSAGES: "/anthropic/v1/messages",
}

STATUSES: Mapping[int, int] = {
    1002: 429,
    1004: 401,
    1008: 402,
    1026: 400,
    1027: 400,
    2013: 400,
    2049: 401,
}
"""`base_resp.status_code` to what it means in HTTP."""


def raised_error(answer: Mapping[str, Any]) -> tuple[int, str] | None:
    """A `base_resp` whose code is not zero."""
    report = answer.get("base_resp")
    if not isinstance(report, Mapping) or not report.get("status_code"):
        return None
    code = report["status_code"]
    status = STATUSES.get(code, 502) if isinstance(code, int) else 502
    return status, str(report.get("status_msg") or f"MiniMax error {code}")


MINIMAX = Provider(
    type_id=35,
    name="MiniMax",
    base_url=ADDRESS,
    url=addresses(ADDRESS, _PATHS),
    speaks=(Dialect.CHAT, Dialect.CLAUDE),
    modes=CHATTING,
    authorize=by_dialect,
    prepare=write_model,
    raised_error=raised_error,
    stream_options=True,
    models=(
        "abab6.5-chat",
        "abab6.5s-chat",
        "abab6-chat",
        "abab5.5-chat",
        "abab5.5s-chat",
        "MiniMax-M2",
        "MiniMax-M2.1",
        "MiniMax-M2.1-highspeed",
        "MiniMax-M2.5",
        "MiniMax-M2.5-highspeed",
        "MiniMax-M2.7",
        "MiniMax-M2.7-highspeed",
        "speech-01-turbo",
        "speech-01-hd",
        "speech-02-turbo",
        "speech-02-hd",
        "speech-2.5-turbo-preview",
        "speech-2.5-hd-preview",
        "image-01",
        "image-01-live",
    ),
)
