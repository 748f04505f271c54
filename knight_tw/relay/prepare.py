"""The upstream request of one attempt (relay specification, section 9).

Everything starts from the client's stored body, so that attempts do not see each
other's changes. A body in which nothing changed is sent as the bytes it came in.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from knight_tw import overrides, providers, routing
from knight_tw.errors import ChannelFault, UnsupportedEndpoint
from knight_tw.providers import outgoing
from knight_tw.providers.provider import Body, Headers, Provider, Target
from knight_tw.records import Dialect, Mode
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.same import SameChat, SamePlain
from knight_tw.relay.translate import Translation
from knight_tw.wire import system_prompt, top

_CHATTING = frozenset({Mode.CHAT, Mode.COMPLETIONS})


@frozen(eq=False)
class Prepared:
    """Where an attempt goes, with what, and how its answer is read.

    Attributes:
        guarded: The address passes the outbound guard first.
        forward_limits: The provider's `x-ratelimit-*` headers go to the client.
    """

    url: str
    headers: Headers
    translation: Translation
    proxy: str
    guarded: bool
    forward_limits: bool


def prepare(call: Call, attempt: Attempt, knobs: Knobs) -> Prepared:
    """The request for one channel and key.

    Raises:
        ChannelFault: the channel is misconfigured.
        UnsupportedEndpoint: its provider has no such kind of work.
        KnightError: a parameter override wants an error.
    """
    channel = attempt.channel
    provider = _provider(call, attempt)
    target = _target(call, attempt, knobs)
    setting = channel.setting
    own = overrides.headers(
        channel.header_override,
        target.key,
        call.head.headers,
        channel_test=call.is_test,
    )
    changed: Mapping[str, str | None] = own
    if knobs.pass_through or setting.get("pass_through_body_enabled"):
        body = call.body
    else:
        body, changed = _body(call, attempt, target, provider, knobs, own)
    attempt.model = target.model
    kind = SameChat if call.mode in _CHATTING else SamePlain
    return Prepared(
        url=provider.url(target),
        headers=_headers(call, target, provider, changed),
        translation=kind(call, target, provider, body),
        proxy=str(setting.get("proxy") or ""),
        guarded=bool(channel.settings.get("guarded_address")),
        forward_limits=bool(channel.settings.get("forward_ratelimit_headers")),
    )


def _provider(call: Call, attempt: Attempt) -> Provider:
    """The provider, if it can take the call."""
    channel = attempt.channel
    provider = providers.for_channel(channel)
    if provider is None:
        raise ChannelFault("the channel's type is unknown", code="invalid_api_type")
    if call.mode not in provider.modes:
        raise UnsupportedEndpoint(
            f"{provider.name} channels have no {call.mode.value}", retryable=True
        )
    if attempt.key_index == routing.NO_KEY or not channel.keys:
        raise ChannelFault(
            "the channel has no enabled key", code="channel:no_available_key"
        )
    return provider


def _target(call: Call, attempt: Attempt, knobs: Knobs) -> Target:
    channel = attempt.channel
    return Target(
        channel=channel,
        key=attempt.key,
        mode=call.mode,
        dialect=Dialect.CHAT,
        model=routing.map_model(channel.model_mapping, call.model),
        stream=call.stream,
        head=call.head,
        path=call.path,
        query=call.head.query,
        options=knobs.provider_options,
    )


def _body(
    call: Call,
    attempt: Attempt,
    target: Target,
    provider: Provider,
    knobs: Knobs,
    own: Mapping[str, str],
) -> tuple[bytes, Mapping[str, str | None]]:
    """Steps 3 to 8 of the specification: the provider's body, the channel's headers."""
    channel = target.channel
    body: Body = dict(call.top)
    prompt = channel.setting.get("system_prompt")
    if prompt and call.mode is Mode.CHAT:
        override = bool(channel.setting.get("system_prompt_override"))
        system_prompt.inject(body, call.dialect, str(prompt), override=override)
    provider.prepare(body, target)
    outgoing.remove_fields(body, target.dialect, channel.settings)
    if call.mode in _CHATTING:
        outgoing.ask_for_usage(
            body, target, provider, asked=call.include_usage, force=knobs.force_usage
        )
    changed: Mapping[str, str | None] = own
    if channel.param_override:
        context = _context(call, attempt, target, own)
        applied = overrides.apply_params(body, channel.param_override, context)
        call.audit, changed = list(applied.audit), applied.headers
    return _encoded(call, body), changed


def _encoded(call: Call, body: Body) -> bytes:
    """The body's bytes: the client's own when every member is still the client's."""
    sent = call.top
    if body.get("model") == call.model and "model" in sent:
        body["model"] = sent["model"]
    if len(body) == len(sent) and all(sent.get(n) is v for n, v in body.items()):
        return call.body
    return top.encode(body)


def _context(
    call: Call, attempt: Attempt, target: Target, own: Mapping[str, str]
) -> overrides.Context:
    """What the conditions of an override may ask."""
    return overrides.Context.of(
        upstream_model=target.model,
        original_model=call.model,
        path=call.path,
        client=call.head.headers,
        overridden=own,
        retry=len(call.attempts) - 1,
        last_error=call.last_error,
        channel_test=call.is_test,
        user_id=call.caller.user.id,
        group=attempt.group,
        channel_id=attempt.channel.id,
    )


def _headers(
    call: Call,
    target: Target,
    provider: Provider,
    changed: Mapping[str, str | None],
) -> Headers:
    """Default headers, the credential, and what the channel's overrides say (9.3)."""
    accept = call.head.get("accept")
    if not accept or accept == "*/*":
        accept = "text/event-stream" if call.stream else "application/json"
    headers: Headers = [
        ("Content-Type", "application/json"),
        ("Accept", accept),
        *provider.authorize(target),
    ]
    if not changed:
        return headers
    kept = [(name, value) for name, value in headers if name.lower() not in changed]
    return kept + [(name, value) for name, value in changed.items() if value]
