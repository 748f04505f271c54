"""Baidu Qianfan v2 (46): OpenAI's form below `/v2` (providers specification, 7.10)."""

from __future__ import annotations

from knight_tw.providers.addresses import CHATTING, addresses, sent_kind
from knight_tw.providers.openai_family import take_suffix, write_model
from knight_tw.providers.provider import Body, Headers, Provider, Target
from knight_tw.records import Mode

ADDRESS = "https://qianfan.baidubce.com"

_PATHS = {
    Mode.CHAT: "/v2/chat/completions",
    Mode.EMBEDDINGS: "/v2/embeddings",
    Mode.IMAGES: "/v2/images/generations",
    Mode.IMAGE_EDITS: "/v2/images/edits",
    Mode.RERANK: "/v2/rerank",
}


def authorize(target: Target) -> Headers:
    """The key is `token` or `token|appid`."""
    token, _, app = target.key.partition("|")
    headers = [("Authorization", f"Bearer {token}")]
    if app:
        headers.append(("appid", app))
    return headers


def prepare(body: Body, target: Target) -> None:
    """`-search` behind the name asks for a web search, unless the body says how."""
    if sent_kind(target) is Mode.CHAT and take_suffix(target, "-search"):
        search = {"enable": True, "enable_citation": True, "enable_trace": True}
        body.setdefault("web_search", {**search, "enable_status": False})
    write_model(body, target)


BAIDU_V2 = Provider(
    type_id=46,
    name="BaiduV2",
    base_url=ADDRESS,
    url=addresses(ADDRESS, _PATHS),
    modes=CHATTING | (_PATHS.keys() - {Mode.CHAT}),
    authorize=authorize,
    prepare=prepare,
    stream_options=True,
    models_path="/v2/models",
    models=(
        "ernie-4.0-8k",
        "ernie-4.0-8k-latest",
        "ernie-4.0-8k-preview",
        "ernie-4.0-turbo-8k",
        "ernie-4.0-turbo-8k-latest",
        "ernie-4.0-turbo-8k-preview",
        "ernie-4.0-turbo-128k",
        "ernie-3.5-8k",
        "ernie-3.5-8k-preview",
        "ernie-3.5-128k",
        "ernie-speed-8k",
        "ernie-speed-128k",
        "ernie-speed-pro-128k",
        "ernie-lite-8k",
        "ernie-lite-pro-128k",
        "ernie-tiny-8k",
        "ernie-char-8k",
        "ernie-char-fiction-8k",
        "ernie-novel-8k",
        "deepseek-v3",
        "deepseek-r1",
        "deepseek-r1-distill-qwen-32b",
        "deepseek-r1-distill-qwen-14b",
    ),
)
