"""Ali DashScope (17) in its compatible mode (providers specification, 7.14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.providers.addresses import CHATTING, addresses
from knight_tw.providers.credentials import by_dialect
from knight_tw.providers.fields import limit_top_p
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Body, Headers, Provider, Target
from knight_tw.records import Channel, Dialect, Mode

ADDRESS = "https://dashscope.aliyuncs.com"
CLAUDE_MODELS = "qwen,deepseek-v4,kimi,glm,minimax-m"
"""Default of the setting `ALI_ANTHROPIC_MESSAGES_MODELS`."""

_PATHS = {
    Mode.CHAT: "/compatible-mode/v1/chat/completions",
    Mode.COMPLETIONS: "/compatible-mode/v1/completions",
    Mode.RESPONSES: "/api/v2/apps/protocols/compatible-mode/v1/responses",
    Mode.MESSAGES: "/apps/anthropic/v1/messages",
    Mode.EMBEDDINGS: "/compatible-mode/v1/embeddings",
}


def speaks_for(
    channel: Channel, model: str, path: str, options: Mapping[str, Any]
) -> tuple[Dialect, ...]:
    """Claude natively for the models that the setting names, by a part of the name."""
    names = str(options.get("ali_anthropic_messages_models") or CLAUDE_MODELS)
    listed = any(name.strip() in model for name in names.split(",") if name.strip())
    usual = (Dialect.CHAT, Dialect.RESPONSES)
    return (*usual, Dialect.CLAUDE) if listed else usual


def authorize(target: Target) -> Headers:
    """The key, the mark of a stream, and the channel's plug-in."""
    headers = by_dialect(target)
    if target.stream:
        headers.append(("X-DashScope-SSE", "enable"))
    if target.channel.other:
        headers.append(("X-DashScope-Plugin", target.channel.other))
    return headers


def prepare(body: Body, target: Target) -> None:
    """`top_p` must lie between 0 and 1; an absent one stays absent."""
    if target.dialect is Dialect.CHAT:
        limit_top_p(body, 0.999, 0.001)
    write_model(body, target)


def raised_error(answer: Mapping[str, Any]) -> tuple[int, str] | None:
    """`{code, message, request_id}` with status 200 is an error."""
    code, message = answer.get("code"), answer.get("message")
    if code and "choices" not in answer and isinstance(message, str) and message:
        return 502, message
    return None


ALI = Provider(
    type_id=17,
    name="Ali",
    base_url=ADDRESS,
    url=addresses(ADDRESS, _PATHS),
    speaks=(Dialect.CHAT, Dialect.RESPONSES, Dialect.CLAUDE),
    speaks_for=speaks_for,
    modes=CHATTING | {Mode.COMPLETIONS, Mode.EMBEDDINGS},
    authorize=authorize,
    prepare=prepare,
    raised_error=raised_error,
    stream_options=True,
    models_path="/compatible-mode/v1/models",
    models=(
        "qwen-turbo",
        "qwen-plus",
        "qwen-max",
        "qwen-max-longcontext",
        "qwq-32b",
        "qwen3-235b-a22b",
        "text-embedding-v1",
        "gte-rerank-v2",
        "wan2.5-i2v-preview",
        "wan2.2-i2v-flash",
        "wan2.2-i2v-plus",
        "wanx2.1-i2v-plus",
        "wanx2.1-i2v-turbo",
    ),
)
