"""The rules of option `channel_affinity_setting.rules` as they ship."""

from __future__ import annotations

CODEX_HEADERS = (
    "Originator", "Session_id", "Thread_id", "Session-Id", "Thread-Id",
    "X-Client-Request-Id", "User-Agent", "X-Codex-Beta-Features",
    "X-Codex-Turn-State", "X-Codex-Turn-Metadata", "X-Codex-Window-Id",
    "X-Codex-Parent-Thread-Id", "X-OpenAI-Subagent", "X-OpenAI-Memgen-Request",
    "X-ResponsesAPI-Include-Timing-Metrics",
)  # fmt: skip
CLAUDE_HEADERS = (
    "X-Stainless-Arch", "X-Stainless-Lang", "X-Stainless-Os",
    "X-Stainless-Package-Version", "X-Stainless-Retry-Count", "X-Stainless-Runtime",
    "X-Stainless-Runtime-Version", "X-Stainless-Timeout", "User-Agent", "X-App",
    "Anthropic-Beta", "Anthropic-Dangerous-Direct-Browser-Access",
    "Anthropic-Version",
)  # fmt: skip


def _affinity_rule(
    name: str, model: str, path: str, source: str, headers: tuple[str, ...]
) -> dict[str, object]:
    passing = {"mode": "pass_headers", "value": headers, "keep_origin": True}
    return {
        "name": name,
        "model_regex": [model],
        "path_regex": [path],
        "key_sources": [{"type": "gjson", "path": source}],
        "value_regex": "",
        "ttl_seconds": 0,
        "param_override_template": {"operations": [passing]},
        "skip_retry_on_failure": True,
        "include_using_group": True,
        "include_rule_name": True,
    }


AFFINITY_RULES = [
    _affinity_rule(
        "codex cli trace",
        "^gpt-.*$",
        "/v1/responses",
        "prompt_cache_key",
        CODEX_HEADERS,
    ),
    _affinity_rule(
        "claude cli trace",
        "^claude-.*$",
        "/v1/messages",
        "metadata.user_id",
        CLAUDE_HEADERS,
    ),
]
