"""The structured keys, `group.field`, of the option table.

Source: options specification, section 3 (contract) and 3.1 (ours).
"""

from __future__ import annotations

from decimal import Decimal

from knight_tw.expressions import smoke_all
from knight_tw.options import checks, kinds
from knight_tw.options.affinity import AFFINITY_RULES
from knight_tw.options.kinds import (
    Kind,
    Option,
    fractional,
    integer,
    structure,
    switch,
)

DOCS = "https://knight-omega.readthedocs.io"

IMAGINE_MODELS = (
    "gemini-2.0-flash-exp-image-generation",
    "gemini-2.0-flash-exp",
    "gemini-3-pro-image-preview",
    "gemini-3-pro-image",
    "gemini-2.5-flash-image",
    "gemini-3.1-flash-image",
    "gemini-3.1-flash-image-preview",
)
SYNC_IMAGE_MODELS = (
    "z-image",
    "qwen-image",
    "wan2.6",
    "wan2.7",
    "qwen-image-edit",
    "qwen-image-edit-max",
    "qwen-image-edit-max-2026-01-16",
    "qwen-image-edit-plus",
    "qwen-image-edit-plus-2025-12-15",
    "qwen-image-edit-plus-2025-10-30",
)
NO_SAMPLING_MODELS = (
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-opus-5",
    "claude-sonnet-5",
    "claude-haiku-5",
    "claude-fable-",
    "claude-mythos-",
)
ADAPTIVE_MODELS = ("claude-opus-4-6", "claude-sonnet-4-6", *NO_SAMPLING_MODELS)

NAMES = kinds.list_of(kinds.text)
OWN_ROUTE = "is set by its own route only"
SEES_TO_GROUPS = "who may use which group, by account group"


def _text(key: str, area: str, help: str = "", default: str = "") -> Option:
    return Option(key, Kind.TEXT, default, area, help)


def _secret(key: str, area: str, help: str = "") -> Option:
    return Option(key, Kind.TEXT, "", area, help, secret=True)


def _choice(key: str, area: str, help: str, *values: str) -> Option:
    return Option(key, Kind.CHOICE, values[0], area, help, values=values)


def _panel(name: str, check: kinds.Shape) -> tuple[Option, Option]:
    key = f"console_setting.{name}"
    entries = kinds.list_of(kinds.map_of(kinds.anything))
    return (
        Option(key, Kind.JSON, "", "content", shape=entries, check=check),
        switch(f"{key.removesuffix('_groups')}_enabled", True, "content"),
    )


def _compliance(field: str, default: str, kind: Kind = Kind.TEXT) -> Option:
    key = f"payment_setting.compliance_{field}"
    return Option(key, kind, default, "billing", refused=OWN_ROUTE)


SITE = (
    _text("general_setting.docs_link", "site", "documentation", DOCS),
    switch("general_setting.ping_interval_enabled", True, "models", "keep-alive"),
    integer("general_setting.ping_interval_seconds", 15, "models", "below 1: 10"),
    _choice(
        "general_setting.quota_display_type",
        "billing",
        "how amounts are shown",
        "USD",
        "CNY",
        "TOKENS",
        "CUSTOM",
    ),
    _text("general_setting.custom_currency_symbol", "billing", default="¤"),
    fractional("general_setting.custom_currency_exchange_rate", "1", "billing"),
    switch("general_setting.log_filter_autocomplete_enabled", True, "operations"),
    *_panel("api_info", checks.api_links),
    *_panel("uptime_kuma_groups", checks.uptime_groups),
    *_panel("announcements", checks.announcements),
    *_panel("faq", checks.questions),
    _text("legal.user_agreement", "site", "text or address"),
    _text("legal.privacy_policy", "site", "text or address"),
)

BILLING = (
    structure(
        "payment_setting.amount_options",
        [10, 20, 50, 100, 200, 500],
        "billing",
        "amounts offered",
        kinds.list_of(kinds.whole(0)),
    ),
    structure(
        "payment_setting.amount_discount",
        {},
        "billing",
        "amount to factor, 0.95 = 5 % off",
        kinds.map_of(kinds.number),
        checks.discounts,
    ),
    _compliance("confirmed", "false", Kind.FLAG),
    _compliance("terms_version", ""),
    _compliance("confirmed_at", "0", Kind.WHOLE),
    _compliance("confirmed_by", "0", Kind.WHOLE),
    _compliance("confirmed_ip", ""),
    switch("checkin_setting.enabled", False, "billing", "daily gift"),
    integer("checkin_setting.min_quota", 1000, "billing", least=0),
    integer("checkin_setting.max_quota", 10_000, "billing", least=0),
    switch(
        "quota_setting.enable_free_model_pre_consume",
        True,
        "billing",
        "hold and balance check for free models too",
    ),
    integer(
        "quota_setting.hold_output_tokens",
        4096,
        "billing",
        "output tokens held when a call names no limit",
        least=0,
        most=10_000_000,
    ),
    structure(
        "tool_price_setting.prices",
        {},
        "billing",
        "tool, or tool:modelprefix*, to USD per 1000 calls",
        kinds.map_of(kinds.number),
    ),
    structure(
        "billing_setting.billing_mode",
        {},
        "billing",
        "model to ratio or tiered_expr",
        kinds.map_of(kinds.one_of("ratio", "tiered_expr")),
    ),
    structure(
        "billing_setting.billing_expr",
        {},
        "billing",
        "model to price expression",
        kinds.map_of(kinds.text),
        smoke_all,
    ),
    switch(
        "billing.allow_locked_override",
        False,
        "billing",
        "own CompletionRatio entries beat locked rules",
    ),
    structure(
        "group_ratio_setting.group_ratio",
        {"default": 1, "svip": 1, "vip": 1},
        "billing",
        "the same as GroupRatio",
        kinds.map_of(kinds.number),
    ),
    structure(
        "group_ratio_setting.group_group_ratio",
        {"vip": {"edit_this": 0.9}},
        "billing",
        "the same as GroupGroupRatio",
        kinds.map_of(kinds.map_of(kinds.number)),
    ),
    structure(
        "group_ratio_setting.group_special_usable_group",
        {},
        "billing",
        SEES_TO_GROUPS,
        kinds.map_of(kinds.map_of(kinds.text)),
    ),
)

ROUTING = (
    switch("monitor_setting.auto_test_channel_enabled", False, "models"),
    fractional(
        "monitor_setting.auto_test_channel_minutes",
        "10",
        "models",
        "pause between test runs",
        least=Decimal("0.1"),
    ),
    _choice(
        "monitor_setting.channel_test_mode",
        "models",
        "all channels, or only those disabled automatically",
        "scheduled_all",
        "passive_recovery",
    ),
    switch("channel_affinity_setting.enabled", True, "models", "sticky routing"),
    switch("channel_affinity_setting.switch_on_success", True, "models"),
    switch("channel_affinity_setting.keep_on_channel_disabled", False, "models"),
    integer(
        "channel_affinity_setting.max_entries",
        100_000,
        "models",
        least=1,
        most=10_000_000,
    ),
    integer("channel_affinity_setting.default_ttl_seconds", 3600, "models", least=1),
    structure(
        "channel_affinity_setting.rules",
        AFFINITY_RULES,
        "models",
        "which calls stay on one channel",
        kinds.list_of(kinds.map_of(kinds.anything)),
        checks.affinity_rules,
    ),
    switch("global.pass_through_request_enabled", False, "models", "bodies as sent"),
    structure(
        "global.thinking_model_blacklist",
        ["moonshotai/kimi-k2-thinking", "kimi-k2-thinking"],
        "models",
        "names that keep their -thinking",
        NAMES,
    ),
    structure(
        "global.chat_completions_to_responses_policy",
        {"enabled": False, "all_channels": True},
        "models",
        "chat calls sent to /v1/responses",
        kinds.map_of(kinds.anything),
        checks.responses_policy,
    ),
    _choice(
        "relay.retry_tier_mode",
        "models",
        "next priority at each retry, or only when one is used up",
        "descend",
        "exhaust",
    ),
    integer("relay.channel_cooldown_seconds", 0, "models", "after 429", least=0),
    switch("relay.hide_upstream_429", False, "models"),
    switch("relay.chat_stream_usage_default", False, "models"),
    switch("relay.dropped_params_header", True, "models"),
    switch(
        "relay.version_header", False, "models", "`X-Knight-Version` on relay routes"
    ),
    _choice(
        "relay.default_interrupt_policy",
        "models",
        "what an interrupted stream costs",
        "delivered",
        "drain",
        "free",
    ),
    _choice(
        "relay.reasoning_memory",
        "models",
        "keep reasoning between turns",
        "auto",
        "on",
        "off",
    ),
    integer("relay.reasoning_memory_ttl_seconds", 3600, "models", least=1),
    structure(
        "relay.effort_levels",
        {},
        "models",
        "model prefix to supported effort names",
        kinds.map_of(NAMES),
    ),
    switch(
        "relay.completions_to_chat",
        False,
        "models",
        "text completions also on channels that only chat",
    ),
    integer(
        "relay.hedge_budget_percent",
        5,
        "models",
        "most extra attempts of `hedge_after_ms` channels, in percent of their calls",
        least=0,
        most=100,
    ),
    switch(
        "relay.explain_record",
        True,
        "models",
        "keep in each log row how the call was routed and what took how long",
    ),
)

PROVIDERS = (
    structure(
        "claude.model_headers_settings",
        {},
        "models",
        "model to header to values",
        kinds.map_of(kinds.map_of(NAMES)),
    ),
    structure(
        "claude.default_max_tokens",
        {"default": 8192},
        "models",
        "model to max_tokens when a call names none",
        kinds.map_of(kinds.whole(0)),
        checks.has_default,
    ),
    switch("claude.thinking_adapter_enabled", True, "models", "suffix -thinking"),
    fractional(
        "claude.thinking_adapter_budget_tokens_percentage",
        "0.8",
        "models",
        "share of max_tokens",
        most=1,
    ),
    structure(
        "claude.adaptive_models",
        ADAPTIVE_MODELS,
        "models",
        "prefixes that take adaptive thinking",
        NAMES,
    ),
    structure(
        "claude.no_sampling_models",
        NO_SAMPLING_MODELS,
        "models",
        "prefixes never sent temperature, top_p, top_k",
        NAMES,
    ),
    structure("claude.inline_system_models", [], "models", "prefixes", NAMES),
    structure("claude.no_structured_output_models", [], "models", "prefixes", NAMES),
    _text("claude.anthropic_version", "models", default="2023-06-01"),
    structure(
        "gemini.safety_settings",
        {"default": "OFF"},
        "models",
        "category to threshold",
        kinds.map_of(kinds.text),
        kinds.map_of(kinds.one_of(*checks.SAFETY_LEVELS)),
    ),
    structure(
        "gemini.version_settings",
        {"default": "v1beta", "gemini-1.0-pro": "v1"},
        "models",
        "model to API version",
        kinds.map_of(kinds.text),
        checks.has_default,
    ),
    structure(
        "gemini.supported_imagine_models",
        IMAGINE_MODELS,
        "models",
        "models that make pictures in chat",
        NAMES,
    ),
    switch("gemini.thinking_adapter_enabled", False, "models", "suffixes"),
    fractional(
        "gemini.thinking_adapter_budget_tokens_percentage",
        "0.6",
        "models",
        "share of maxOutputTokens",
        least=Decimal("0.002"),
        most=1,
    ),
    switch("gemini.function_call_thought_signature_enabled", True, "models"),
    switch("gemini.remove_function_response_id_enabled", True, "models"),
    switch("gemini.strict_tools_validated", False, "models"),
    switch("grok.violation_deduction_enabled", True, "models"),
    fractional("grok.violation_deduction_amount", "0.05", "models", "USD"),
    structure(
        "qwen.sync_image_models",
        SYNC_IMAGE_MODELS,
        "models",
        "image models that answer at once",
        NAMES,
    ),
    _text("openrouter.referer", "models", "HTTP-Referer; empty = not sent", DOCS),
    _text("openrouter.title", "models", "X-OpenRouter-Title", "Knight Omega"),
    _secret("model_deployment.ionet.api_key", "models"),
    switch("model_deployment.ionet.enabled", False, "models"),
)

ACCESS = (
    switch("oidc.enabled", False, "access", "OIDC login", needs="oidc.client_id"),
    _text("oidc.display_name", "access", "name of the login button"),
    _text("oidc.client_id", "access", "OIDC client id"),
    _secret("oidc.client_secret", "access", "OIDC client secret"),
    _text(
        "oidc.well_known",
        "access",
        "discovery document; saving it fills in the three endpoints",
    ),
    _text("oidc.authorization_endpoint", "access", "where the browser goes"),
    _text("oidc.token_endpoint", "access", "where a code becomes a token"),
    _text("oidc.user_info_endpoint", "access", "where the person is asked for"),
    switch(
        "discord.enabled", False, "access", "Discord login", needs="discord.client_id"
    ),
    _text("discord.client_id", "access", "Discord client id"),
    _secret("discord.client_secret", "access", "Discord client secret"),
    switch("passkey.enabled", False, "access", "logins by passkey"),
    _text("passkey.rp_display_name", "access", "the site's name when empty"),
    _text("passkey.rp_id", "access", "domain; the server's own when empty"),
    _text("passkey.origins", "access", "pages that may ask, comma-separated"),
    switch("passkey.allow_insecure_origin", False, "access", "pages without https"),
    _choice(
        "passkey.user_verification",
        "access",
        "",
        "preferred",
        "required",
        "discouraged",
    ),
    _choice(
        "passkey.attachment_preference",
        "access",
        "",
        "",
        "platform",
        "cross-platform",
    ),
    switch(
        "auth.require_2fa_after_oauth",
        False,
        "access",
        "external logins ask for the second factor, too",
    ),
    switch(
        "auth.encrypt_totp_secrets", False, "access", "new ones, by `CRYPTO_SECRET`"
    ),
    switch("auth.strict_step_up", False, "access", "more asks for a factor again"),
    switch("authz.strict_admin", False, "access", "only root writes keys of channels"),
)

SECURITY = (
    switch("fetch_setting.enable_ssrf_protection", True, "security", "fetch guard"),
    switch("fetch_setting.allow_private_ip", False, "security"),
    switch("fetch_setting.domain_filter_mode", False, "security", "true: white list"),
    switch("fetch_setting.ip_filter_mode", False, "security", "true: white list"),
    structure("fetch_setting.domain_list", [], "security", "example.com, *.org", NAMES),
    structure(
        "fetch_setting.ip_list",
        [],
        "security",
        "addresses and CIDRs",
        NAMES,
        checks.networks,
    ),
    structure(
        "fetch_setting.allowed_ports",
        ["80", "443", "8080", "8443"],
        "security",
        "ports and ranges",
        kinds.list_of(kinds.anything),
        checks.ports,
    ),
    switch("fetch_setting.apply_ip_filter_for_domain", True, "security"),
    integer("token_setting.max_user_tokens", 1000, "security", least=0),
)

OPERATIONS = (
    switch(
        "performance_setting.disk_cache_enabled",
        False,
        "operations",
        "kept for older gateways; bodies stay in memory",
    ),
    integer(
        "performance_setting.disk_cache_threshold_mb",
        10,
        "operations",
        "kept for older gateways",
        least=1,
        most=1024,
    ),
    integer(
        "performance_setting.disk_cache_max_size_mb",
        1024,
        "operations",
        "kept for older gateways",
        least=100,
        most=102_400,
    ),
    _text(
        "performance_setting.disk_cache_path",
        "operations",
        "kept for older gateways; where the folder body-cache is looked for",
    ),
    switch(
        "performance_setting.monitor_enabled",
        False,
        "operations",
        "refuse calls with 503 while the machine is overloaded",
    ),
    integer(
        "performance_setting.monitor_cpu_threshold",
        90,
        "operations",
        "percent of all processors; 0 = any",
        least=0,
        most=100,
    ),
    integer(
        "performance_setting.monitor_memory_threshold",
        90,
        "operations",
        "percent of the memory; 0 = any",
        least=0,
        most=100,
    ),
    integer(
        "performance_setting.monitor_disk_threshold",
        95,
        "operations",
        "percent of the disk of DATA_DIR; 0 = any",
        least=0,
        most=100,
    ),
    switch("perf_metrics_setting.enabled", True, "operations", "measure how models do"),
    integer(
        "perf_metrics_setting.flush_interval",
        5,
        "operations",
        "kept for older gateways; written with each flush of the ledger",
        least=1,
    ),
    _choice(
        "perf_metrics_setting.bucket_time",
        "operations",
        "width of a measurement",
        "hour",
        "minute",
        "5min",
    ),
    integer(
        "perf_metrics_setting.retention_days",
        0,
        "operations",
        "days that measurements are kept; 0 = for ever",
        least=0,
    ),
    switch("compat.one_api_lists", False, "operations", "one-api's list shapes"),
    _text("console.chat_link_client_id", "content", default="knight-omega"),
    switch("console.show_keys_once", False, "security"),
    switch("console.public_status", False, "site", "channel health for guests"),
)

GROUPS = (*SITE, *BILLING, *ROUTING, *PROVIDERS, *ACCESS, *SECURITY, *OPERATIONS)
