"""What the relay reads from the options, read once per snapshot instead of per call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from knight_tw.options import Options
from knight_tw.options.table import OPTIONS
from knight_tw.relay.dialects import ResponsesPolicy
from knight_tw.routing import StatusRanges
from knight_tw.routing_affinity import AffinityRules
from knight_tw.settings import Settings
from knight_tw.words import WordFilter


@frozen(eq=False)
class RateLimit:
    """Calls of one user within a window (relay specification, 15)."""

    seconds: int
    count: int
    success: int
    groups: Mapping[str, tuple[int, int]]

    def of(self, group: str) -> tuple[int, int]:
        """(all calls, successful calls) for a group; 0 = no limit."""
        return self.groups.get(group, (self.count, self.success))


@frozen(eq=False)
class Knobs:
    """Typed, ready values of the options that a call needs."""

    retry_times: int
    retry_on: StatusRanges
    tier_mode: str
    cooldown: int
    hide_429: bool
    ping_seconds: float
    usage_by_default: bool
    force_usage: bool
    pass_through: bool
    words: WordFilter | None
    stop_on_word: bool
    floor: int
    hold_output: int
    hold_free_models: bool
    self_use: bool
    log_calls: bool
    interrupt_policy: str
    rate_limit: RateLimit | None
    responses_policy: ResponsesPolicy
    dropped_header: bool
    version_header: bool
    explain: bool
    completions_to_chat: bool
    hedge_percent: int
    affinity: AffinityRules | None
    reasoning_memory: str
    reasoning_seconds: float
    provider_options: Mapping[str, Any]

    @classmethod
    def read(cls, options: Options, settings: Settings) -> Knobs:
        """The knobs of one options snapshot."""
        return cls(
            retry_times=min(max(options.integer("RetryTimes"), 0), 10),
            retry_on=options.value("AutomaticRetryStatusCodes"),
            tier_mode=options.text("relay.retry_tier_mode"),
            cooldown=options.integer("relay.channel_cooldown_seconds"),
            hide_429=options.flag("relay.hide_upstream_429"),
            ping_seconds=_ping(options),
            usage_by_default=options.flag("relay.chat_stream_usage_default"),
            force_usage=settings.force_stream_option,
            pass_through=options.flag("global.pass_through_request_enabled"),
            words=_words(options),
            stop_on_word=options.flag("StopOnSensitiveEnabled"),
            floor=options.integer("PreConsumedQuota"),
            hold_output=options.integer("quota_setting.hold_output_tokens"),
            hold_free_models=options.flag(
                "quota_setting.enable_free_model_pre_consume"
            ),
            self_use=options.flag("SelfUseModeEnabled"),
            log_calls=options.flag("LogConsumeEnabled"),
            interrupt_policy=options.text("relay.default_interrupt_policy"),
            rate_limit=_rate_limit(options),
            responses_policy=ResponsesPolicy.read(
                options.json("global.chat_completions_to_responses_policy")
            ),
            dropped_header=options.flag("relay.dropped_params_header"),
            version_header=options.flag("relay.version_header"),
            explain=options.flag("relay.explain_record"),
            hedge_percent=options.integer("relay.hedge_budget_percent"),
            completions_to_chat=options.flag("relay.completions_to_chat"),
            affinity=AffinityRules.read(options),
            reasoning_memory=options.text("relay.reasoning_memory"),
            reasoning_seconds=float(
                options.integer("relay.reasoning_memory_ttl_seconds")
            ),
            provider_options={
                "azure_default_api_version": settings.azure_default_api_version,
                "cohere_safety_setting": settings.cohere_safety_setting,
                "ali_anthropic_messages_models": ",".join(
                    settings.ali_anthropic_messages_models
                ),
                **{
                    key: options.value(key)
                    for key in OPTIONS
                    if key.startswith(_FOR_PROVIDERS)
                },
            },
        )


_FOR_PROVIDERS = ("claude.", "gemini.", "global.", "openrouter.", "qwen.", "relay.")
"""Options that providers and conversions read (`Target.options`)."""


def _ping(options: Options) -> float:
    if not options.flag("general_setting.ping_interval_enabled"):
        return 0.0
    seconds = options.integer("general_setting.ping_interval_seconds")
    return float(seconds if seconds > 0 else 10)


def _words(options: Options) -> WordFilter | None:
    checked = options.flag("CheckSensitiveEnabled") and options.flag(
        "CheckSensitiveOnPromptEnabled"
    )
    words = options.lines("SensitiveWords") if checked else ()
    found = WordFilter.of(words)
    return found if found.words else None


def _rate_limit(options: Options) -> RateLimit | None:
    if not options.flag("ModelRequestRateLimitEnabled"):
        return None
    groups = options.json("ModelRequestRateLimitGroup")
    return RateLimit(
        seconds=60 * options.integer("ModelRequestRateLimitDurationMinutes"),
        count=options.integer("ModelRequestRateLimitCount"),
        success=options.integer("ModelRequestRateLimitSuccessCount"),
        groups={name: (int(pair[0]), int(pair[1])) for name, pair in groups.items()},
    )
