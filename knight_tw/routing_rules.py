"""What follows from a failed attempt, and how names and statuses are mapped.

Source: relay specification, sections 9, 9.4, 11 and 12.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from knight_tw.errors import ChannelFault, KnightError
from knight_tw.options import Options
from knight_tw.price_rules import COMPACT
from knight_tw.records import AUTO_DISABLED, Channel
from knight_tw.status_ranges import HIGHEST, LOWEST, StatusRanges

CHANNEL_FAULT = "channel:"
"""Codes that begin so mean a misconfigured channel."""

_NEVER = frozenset({504, 524})
_NEVER_FOR_TASKS = frozenset({400, 408})


def retryable(
    error: KnightError,
    *,
    attempts_left: int,
    ranges: StatusRanges,
    begun: bool = False,
    gone: bool = False,
    pinned: bool = False,
    affinity_skip: bool = False,
    task: bool = False,
) -> bool:
    """May another channel be tried after this failure?

    Args:
        ranges: Option `AutomaticRetryStatusCodes`, asked with the mapped status.
        begun: Bytes of an answer have gone to the client (keep-alives do not count).
        gone: The client has left.
        pinned: The caller named the channel.
        affinity_skip: The attempt was on a remembered channel whose rule says no.
        task: An asynchronous task is submitted.
    """
    if begun or gone or attempts_left <= 0 or pinned or affinity_skip:
        return False
    if error.code.startswith(CHANNEL_FAULT) or error.code == "first_token_timeout":
        return True
    if error.retryable is False or error.code == "bad_response_body":
        return False
    return _status_allows(error, ranges, task)


def _status_allows(error: KnightError, ranges: StatusRanges, task: bool) -> bool:
    status = error.status
    if 200 <= status < 300 or (task and status in _NEVER_FOR_TASKS):
        return False
    if not LOWEST <= status <= HIGHEST:
        return True
    if status in _NEVER:
        return False
    return error.retryable is True or status in ranges


def should_disable(
    error: KnightError, ranges: StatusRanges, keywords: Iterable[str]
) -> bool:
    """True when a failure is of the kind that takes its channel out of service.

    Whether that happens at all is for the option and the channel to say: see
    `takes_out`.

    Args:
        ranges: Option `AutomaticDisableStatusCodes`.
        keywords: Option `AutomaticDisableKeywords`, compared without case.
    """
    if error.code.startswith(CHANNEL_FAULT):
        return True
    if error.retryable is False:
        return False
    text = f"{error.message}\n{error.detail}".lower()
    return error.status in ranges or any(word.lower() in text for word in keywords)


def takes_out(error: KnightError, channel: Channel, options: Options) -> bool:
    """True when this failure of this channel must disable it, or the key it used."""
    return (
        options.flag("AutomaticDisableChannelEnabled")
        and channel.auto_ban
        and should_disable(
            error,
            options.value("AutomaticDisableStatusCodes"),
            options.lines("AutomaticDisableKeywords"),
        )
    )


def should_enable(channel: Channel, key_index: int, options: Options) -> bool:
    """True when a passed test puts the channel, or the tested key, back into service.

    Only what the gateway itself disabled comes back, and only if the option says so.
    """
    states = (channel.status, channel.key_status.get(key_index))
    return AUTO_DISABLED in states and options.flag("AutomaticEnableChannelEnabled")


def map_status(status: int, mapping: Mapping[str, int]) -> int:
    """The status that a channel wants a failure to have; 200 is never mapped."""
    mapped = int(mapping.get(str(status), status))
    if status == 200 or not LOWEST <= mapped <= HIGHEST:
        return status
    return mapped


def map_model(mapping: Mapping[str, str], model: str) -> str:
    """The upstream's name of a model: the mapping followed to its end.

    Raises:
        ChannelFault: the mapping leads in a circle (a name mapped to itself is an end).
    """
    seen = {model}
    while (following := mapping.get(model, "")) and following != model:
        if following in seen:
            raise ChannelFault(
                "the channel's model mapping leads in a circle",
                code="channel:model_mapped_error",
            )
        seen.add(following)
        model = following
    return model


def map_compact(mapping: Mapping[str, str], model: str) -> tuple[str, str]:
    """For compact requests: the upstream's name, and the name that is billed.

    Args:
        model: The client's name, with or without the suffix of compact requests.

    Raises:
        ChannelFault: as `map_model`.
    """
    upstream = map_model(mapping, model.removesuffix(COMPACT))
    return upstream, upstream + COMPACT
