"""What a channel of one-api becomes: its type here, and the columns that move with it.

one-api and new-api grew apart, so from 2 on the same number often means another
provider. one-api also keeps a provider's details in the JSON column `config`, which
nobody else reads. `RULES` says for each of its types who that is here and where the
details go; `moved` applies it to a row. Pure; source: data model, section 7.1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen

from knight_tw.storage.sql import json_object, listed

Row = Mapping[str, Any]
"""A row of one-api's `channels`, by column names."""

DISABLED, ENABLED = 2, 1

LONGEST_REMARK = 255
"""Characters that `channels.remark` holds."""

_NOT_HERE = "nothing here speaks to this service"


@define
class _New:
    """A channel on its way: its type, the columns that change, what is to be said."""

    type: int
    columns: dict[str, Any] = field(factory=dict)
    disabled: str = ""
    warnings: list[str] = field(factory=list)


Adapt = Callable[[Row, Mapping[str, Any], _New], None]
"""Changes what is on its way by the old row and its `config`."""


@frozen
class Rule:
    """What becomes of one of one-api's channel types.

    Attributes:
        name: What one-api calls it.
        type: The type here.
        base_url: Written when the channel has no address of its own, because the
            default of the new type is another.
        other: Member of `config` that goes to the column `other`.
        closed: Why such a channel cannot work, it is disabled with this remark.
        warning: What the operator should look at.
        adapt: Whatever else there is to do.
    """

    name: str
    type: int
    base_url: str = ""
    other: str = ""
    closed: str = ""
    warning: str = ""
    adapt: Adapt | None = None


@frozen
class Move:
    """What becomes of one channel.

    Attributes:
        kind: What one-api calls its type.
        columns: The columns to write, `type` apart.
        disabled: Why it is switched off by the move; empty when it is not.
        warnings: What the operator should look at.
    """

    id: int
    name: str
    kind: str
    old_type: int
    new_type: int
    columns: Mapping[str, Any]
    disabled: str
    warnings: tuple[str, ...]


def moved(row: Row, old_type: int) -> Move:
    """What becomes of a channel.

    Repeating it on a row whose columns were changed already gives the same, as long as
    `old_type` is the one it had in one-api.
    """
    rule = RULES.get(old_type)
    new = _New(rule.type if rule else old_type)
    _common(row, new)
    if rule is None:
        new.disabled = f"one-api has no channel type {old_type}: set the right one"
    else:
        _apply(rule, row, new)
    was_on = row["status"] not in (DISABLED, 3)
    if new.disabled:
        new.columns["status"] = DISABLED
        new.columns["remark"] = new.disabled[:LONGEST_REMARK]
    return Move(
        id=row["id"],
        name=row["name"] or "",
        kind=rule.name if rule else "unknown",
        old_type=old_type,
        new_type=new.type,
        columns={k: v for k, v in new.columns.items() if row.get(k) != v},
        disabled=new.disabled if was_on else "",
        warnings=tuple(new.warnings),
    )


def _common(row: Row, new: _New) -> None:
    """What is the same for every type."""
    if row["key"] is None:
        new.columns["key"] = ""
    if prompt := row.get("system_prompt"):
        new.columns["setting"] = _json({"system_prompt": prompt})


def _apply(rule: Rule, row: Row, new: _New) -> None:
    config = json_object(row.get("config"))
    new.disabled = rule.closed
    if rule.adapt is not None:
        rule.adapt(row, config, new)
    if rule.base_url and not _text(row, "base_url") and not new.disabled:
        new.columns["base_url"] = rule.base_url
    if rule.other and (value := _text(config, rule.other)):
        new.columns["other"] = value
    if rule.warning:
        new.warnings.append(rule.warning)


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value.strip() if isinstance(value, str) else ""


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _zhipu(row: Row, _config: Mapping[str, Any], new: _New) -> None:
    """One type spoke both versions there, by the name of the model."""
    if any(model.startswith("glm-") for model in listed(row["models"])):
        new.type = 26


def _aws(_row: Row, config: Mapping[str, Any], new: _New) -> None:
    parts = [_text(config, name) for name in ("ak", "sk", "region")]
    if all(parts):
        new.columns["key"] = "|".join(parts)


def _coze(row: Row, _config: Mapping[str, Any], new: _New) -> None:
    """There the model names the bot, here each channel has one bot."""
    bots = [
        name.removeprefix("bot-")
        for name in listed(row["models"])
        if name.startswith("bot-")
    ]
    if len(bots) == 1:
        new.columns["other"] = bots[0]
    elif bots:
        new.disabled = f"one channel per bot is needed here: {', '.join(bots)}"
    else:
        new.disabled = "a bot id is needed here, and no model of this channel names one"


def _vertex(row: Row, config: Mapping[str, Any], new: _New) -> None:
    if region := _text(config, "region"):
        new.columns["other"] = region
    if account := _text(config, "vertex_ai_adc"):
        new.columns["key"] = account
    elif not (row["key"] or "").lstrip().startswith("{"):
        new.warnings.append("its key is no service account: enter the JSON again")


def _replicate(row: Row, _config: Mapping[str, Any], new: _New) -> None:
    address = _text(row, "base_url").rstrip("/")
    if address.endswith("/v1/models"):
        new.columns["base_url"] = address.removesuffix("/v1/models")


def _compatible(_row: Row, _config: Mapping[str, Any], new: _New) -> None:
    """There the path was always joined without its `/v1`."""
    new.columns["settings"] = _json({"join_without_v1": True})


def _gemini_door(row: Row, _config: Mapping[str, Any], new: _New) -> None:
    address = _text(row, "base_url")
    if address.endswith("/"):
        new.columns["base_url"] = address.rstrip("/")


RULES: Mapping[int, Rule] = {
    0: Rule("Unknown", 0),
    1: Rule("OpenAI", 1),
    2: Rule("API2D", 1, "https://oa.api2d.net"),
    3: Rule("Azure", 3, other="api_version"),
    4: Rule("CloseAI", 1, "https://api.closeai-proxy.xyz"),
    5: Rule("OpenAI-SB", 1, "https://api.openai-sb.com"),
    6: Rule("OpenAI Max", 6),
    7: Rule("OhMyGPT", 7),
    8: Rule(
        "Custom",
        8,
        warning="the address of a custom channel is the whole URL here, one-api added"
        " the path: check it, or make the channel one of type OpenAI",
    ),
    9: Rule("AILS", 9),
    10: Rule("AI Proxy", 10),
    11: Rule("PaLM", 11, closed="the PaLM service is closed"),
    12: Rule("API2GPT", 12),
    13: Rule("AIGC2D", 13),
    14: Rule("Anthropic", 14),
    15: Rule("Baidu", 15),
    16: Rule("Zhipu", 16, adapt=_zhipu),
    17: Rule("Ali", 17, other="plugin"),
    18: Rule("Xunfei", 18, other="api_version"),
    19: Rule("360", 19, "https://ai.360.cn"),
    20: Rule("OpenRouter", 20),
    21: Rule("AI Proxy Library", 21, other="library_id"),
    22: Rule("FastGPT", 22),
    23: Rule("Tencent", 23),
    24: Rule("Gemini", 24, other="api_version"),
    25: Rule("Moonshot", 25),
    26: Rule("Baichuan", 1, "https://api.baichuan-ai.com"),
    27: Rule("MiniMax", 35),
    28: Rule("Mistral", 42),
    29: Rule("Groq", 1, "https://api.groq.com/openai"),
    30: Rule("Ollama", 4),
    31: Rule("LingYiWanWu", 31),
    32: Rule("StepFun", 1, "https://api.stepfun.com"),
    33: Rule("AWS Claude", 33, adapt=_aws),
    34: Rule("Coze", 49, "https://api.coze.com", adapt=_coze),
    35: Rule("Cohere", 34),
    36: Rule("DeepSeek", 43),
    37: Rule("Cloudflare", 39, other="user_id"),
    38: Rule("DeepL", 8, closed=f"DeepL: {_NOT_HERE}"),
    39: Rule("TogetherAI", 1, "https://api.together.xyz"),
    40: Rule("Doubao", 45),
    41: Rule("Novita", 1, "https://api.novita.ai/v3/openai"),
    42: Rule("Vertex AI", 41, adapt=_vertex),
    43: Rule("Proxy", 8, closed="the pass-through type of one-api does not exist here"),
    44: Rule("SiliconFlow", 40),
    45: Rule("xAI", 48),
    46: Rule("Replicate", 56, adapt=_replicate),
    47: Rule("Baidu V2", 46),
    48: Rule("Xunfei V2", 1, "https://spark-api-open.xf-yun.com"),
    49: Rule("Ali BaiLian", 17),
    50: Rule("OpenAI-compatible", 1, adapt=_compatible),
    51: Rule(
        "Gemini (OpenAI)",
        1,
        "https://generativelanguage.googleapis.com/v1beta/openai",
        adapt=_gemini_door,
    ),
}
"""Every channel type of one-api."""
