"""Cloudflare Workers AI (39): OpenAI paths below an account (specification, 7.15).

`channels.other` is the account id. A channel whose address is an AI Gateway names the
account in the address already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from knight_tw.errors import ChannelFault
from knight_tw.providers.addresses import (
    CHATTING,
    CLOUDFLARE,
    channel_root,
    path_of,
    sent_kind,
    with_query,
)
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Body, Provider, Target, Wrapping
from knight_tw.records import Dialect, Mode

ADDRESS = "https://api.cloudflare.com"
TAKEN = frozenset({"prompt", "max_tokens", "stream", "temperature", "raw"})
"""Members of a completions request; the model is in the URL."""

_PATHS = {
    Mode.CHAT: "/v1/chat/completions",
    Mode.COMPLETIONS: "/run/{model}",
    Mode.RESPONSES: "/v1/responses",
    Mode.EMBEDDINGS: "/v1/embeddings",
}


def url(target: Target) -> str:
    """The account's URL, or the gateway's, where models stand at the top."""
    root = channel_root(target.channel, ADDRESS)
    path = path_of(target, _PATHS)
    if root.startswith(CLOUDFLARE):
        return with_query(root + path.removeprefix("/run"), target)
    account = target.channel.other
    if not account:
        raise ChannelFault("the channel has no account id")
    place = f"{root}/client/v4/accounts/{quote(account, safe='')}/ai"
    return with_query(place + path, target)


def prepare(body: Body, target: Target) -> None:
    """Completions keep the few members that they have."""
    if sent_kind(target) is Mode.COMPLETIONS:
        for name in body.keys() - TAKEN:
            del body[name]
    else:
        write_model(body, target)


def unwrap(target: Target) -> Wrapping | None:
    """Completions answer in Cloudflare's own form."""
    if sent_kind(target) is not Mode.COMPLETIONS:
        return None

    def to_completion(answer: dict[str, Any]) -> dict[str, Any]:
        result = answer.get("result", answer)
        text = result.get("response") if isinstance(result, dict) else None
        if not isinstance(text, str):
            return answer
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": None}
        if result is not answer:
            choice["finish_reason"] = "stop"
        completion = {
            "object": "text_completion",
            "created": 0,
            "model": target.model,
            "choices": [choice],
        }
        usage = result.get("usage")
        return completion if usage is None else {**completion, "usage": usage}

    return to_completion


def raised_error(answer: Mapping[str, Any]) -> tuple[int, str] | None:
    """`{success: false, errors: [{code, message}]}`."""
    if answer.get("success") is not False:
        return None
    found = answer.get("errors")
    texts = [
        str(error["message"])
        for error in (found if isinstance(found, list) else ())
        if isinstance(error, Mapping) and error.get("message")
    ]
    return 502, "; ".join(texts) or "Workers AI reported a failure"


CLOUDFLARE_AI = Provider(
    type_id=39,
    name="Cloudflare",
    base_url=ADDRESS,
    url=url,
    speaks=(Dialect.CHAT, Dialect.RESPONSES),
    modes=CHATTING | {Mode.COMPLETIONS, Mode.EMBEDDINGS},
    prepare=prepare,
    raised_error=raised_error,
    unwrap=unwrap,
    stream_options=True,
    models_path="",
    models=(
        "@cf/meta/llama-3.1-8b-instruct",
        "@cf/meta/llama-3-8b-instruct",
        "@cf/mistral/mistral-7b-instruct-v0.1",
        "@cf/qwen/qwen1.5-14b-chat-awq",
    ),
)
