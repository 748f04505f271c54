"""Who a channel type is: names and addresses for display, of every id there is.

Providers that the gateway can call have a value of their own; this table also names the
others, so that a row of any type can be shown (providers specification, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen


@frozen
class Identity:
    """A channel type as people see it.

    Attributes:
        base_url: The default address, empty when the operator must give one.
        deprecated: The service is closed, or of no use any more.
    """

    id: int
    name: str
    base_url: str = ""
    deprecated: bool = False


ALL: tuple[Identity, ...] = (
    Identity(0, "Unknown"),
    Identity(1, "OpenAI", "https://api.openai.com"),
    Identity(2, "Midjourney (Proxy)", "https://oa.api2d.net"),
    Identity(3, "Azure"),
    Identity(4, "Ollama", "http://localhost:11434"),
    Identity(5, "MidjourneyPlus", "https://api.openai-sb.com"),
    Identity(6, "OpenAIMax", "https://api.openaimax.com"),
    Identity(7, "OhMyGPT", "https://api.ohmygpt.com"),
    Identity(8, "Custom"),
    Identity(9, "AILS", "https://api.caipacity.com"),
    Identity(10, "AIProxy", "https://api.aiproxy.io", deprecated=True),
    Identity(11, "PaLM", "https://generativelanguage.googleapis.com", deprecated=True),
    Identity(12, "API2GPT", "https://api.api2gpt.com", deprecated=True),
    Identity(13, "AIGC2D", "https://api.aigc2d.com"),
    Identity(14, "Anthropic", "https://api.anthropic.com"),
    Identity(15, "Baidu", "https://aip.baidubce.com"),
    Identity(16, "Zhipu (v3)", "https://open.bigmodel.cn"),
    Identity(17, "Ali", "https://dashscope.aliyuncs.com"),
    Identity(18, "Xunfei", "wss://spark-api.xf-yun.com"),
    Identity(19, "360", "https://api.360.cn"),
    Identity(20, "OpenRouter", "https://openrouter.ai/api"),
    Identity(21, "AIProxyLibrary", "https://api.aiproxy.io", deprecated=True),
    Identity(22, "FastGPT", "https://fastgpt.run/api/openapi"),
    Identity(23, "Tencent", "https://hunyuan.tencentcloudapi.com"),
    # Lists of the reference say "google gemini" as the owner of this type's models.
    Identity(24, "Google Gemini", "https://generativelanguage.googleapis.com"),
    Identity(25, "Moonshot", "https://api.moonshot.cn"),
    Identity(26, "Zhipu v4", "https://open.bigmodel.cn"),
    Identity(27, "Perplexity", "https://api.perplexity.ai"),
    Identity(31, "LingYiWanWu (01.AI)", "https://api.lingyiwanwu.com"),
    Identity(33, "AWS Bedrock"),
    Identity(34, "Cohere", "https://api.cohere.ai"),
    Identity(35, "MiniMax", "https://api.minimax.chat"),
    Identity(36, "SunoAPI"),
    Identity(37, "Dify", "https://api.dify.ai"),
    Identity(38, "Jina", "https://api.jina.ai"),
    Identity(39, "Cloudflare", "https://api.cloudflare.com"),
    Identity(40, "SiliconFlow", "https://api.siliconflow.cn"),
    Identity(41, "Vertex AI"),
    Identity(42, "Mistral", "https://api.mistral.ai"),
    Identity(43, "DeepSeek", "https://api.deepseek.com"),
    Identity(44, "MokaAI", "https://api.moka.ai"),
    Identity(45, "VolcEngine", "https://ark.cn-beijing.volces.com"),
    Identity(46, "BaiduV2", "https://qianfan.baidubce.com"),
    Identity(47, "Xinference"),
    Identity(48, "xAI", "https://api.x.ai"),
    Identity(49, "Coze", "https://api.coze.cn"),
    Identity(50, "Kling", "https://api.klingai.com"),
    Identity(51, "Jimeng", "https://visual.volcengineapi.com"),
    Identity(52, "Vidu", "https://api.vidu.cn"),
    Identity(53, "Submodel", "https://llm.submodel.ai"),
    Identity(54, "DoubaoVideo", "https://ark.cn-beijing.volces.com"),
    Identity(55, "Sora", "https://api.openai.com"),
    Identity(56, "Replicate", "https://api.replicate.com"),
    Identity(57, "ChatGPT Subscription (Codex)", "https://chatgpt.com"),
    Identity(58, "Advanced Custom"),
    Identity(59, "Sub2API"),
    Identity(60, "New API"),
)

_BY_ID: Mapping[int, Identity] = {identity.id: identity for identity in ALL}

_NATIVE: Mapping[int, tuple[str, ...]] = {
    14: ("anthropic", "openai"),
    24: ("gemini", "openai"),
    33: ("anthropic", "openai"),
    38: ("jina-rerank", "embeddings"),
    41: ("gemini", "openai"),
    48: ("openai", "openai-response"),
    55: ("openai-video",),
    57: ("openai-response", "openai-response-compact"),
}
"""Endpoint types of channel types that are not just `openai`, the preferred first."""

_IMAGES = ("dall-e", "gpt-image", "chatgpt-image", "imagen", "flux", "seedream")
_EMBEDDINGS = ("embedding", "embed-", "bge-", "m3e")
COMPACT_SUFFIX = "-openai-compact"


def identify(type_id: int) -> Identity | None:
    """The identity of a channel type, None for ids that nobody uses."""
    return _BY_ID.get(type_id)


def name_of(type_id: int) -> str:
    """The name of a channel type for people, `unknown type N` for unused ids."""
    identity = _BY_ID.get(type_id)
    return f"unknown type {type_id}" if identity is None else identity.name


def endpoint_types(model: str, types: Iterable[int]) -> list[str]:
    """What a model can be asked through (relay specification, 16), preferred first.

    Args:
        types: The types of the channels that serve it.
    """
    name = model.lower()
    if name.endswith(COMPACT_SUFFIX):
        return ["openai-response-compact"]
    if "rerank" in name:
        return ["jina-rerank"]
    if any(part in name for part in _EMBEDDINGS):
        return ["embeddings"]
    found: list[str] = []
    if any(part in name for part in _IMAGES):
        found.append("image-generation")
    for type_id in types:
        found += _NATIVE.get(type_id, ("openai",))
    return list(dict.fromkeys(found))
