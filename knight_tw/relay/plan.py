"""The upstream request of one attempt (relay specification, section 9).

Everything starts from the client's stored body, so that attempts do not see each
other's changes. A `Plan` knows the target, the dialect and, between dialects, the
request in the middle form; `prepared` makes the bytes, once what the request's URLs
lead to is there. A body in which nothing changed is sent as the bytes it came in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from attrs import define, field, frozen

from knight_tw import overrides, providers, routing
from knight_tw.convert import claude, gemini, recall
from knight_tw.convert.context import Context, Media
from knight_tw.convert.responses.foreign import MARK, without_foreign
from knight_tw.errors import ChannelFault, InvalidRequest, UnsupportedEndpoint
from knight_tw.protocols.body import Machine
from knight_tw.providers import openai_family, outgoing
from knight_tw.providers.provider import (
    Body,
    Conversion,
    Exchange,
    Headers,
    Provider,
    Target,
)
from knight_tw.records import Dialect, Mode
from knight_tw.relay import dialects
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.converted import Converted, Upstream
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.media import UNFRAMED, act
from knight_tw.relay.media import translation as media_translation
from knight_tw.relay.same import (
    SameChat,
    SameClaude,
    SameGemini,
    SamePlain,
    SameResponses,
    shown_model,
)
from knight_tw.relay.translate import Translation
from knight_tw.wire import gemini as gemini_wire
from knight_tw.wire import responses, system_prompt, top
from knight_tw.wire.gemini_array import ArrayForm

_CHATTING = frozenset({Mode.CHAT, Mode.COMPLETIONS})
_OWN_FORM: Mapping[Mode, Dialect] = {
    Mode.RESPONSES: Dialect.RESPONSES,
    Mode.COMPACT: Dialect.RESPONSES,
    Mode.MESSAGES: Dialect.CLAUDE,
    Mode.COUNT_TOKENS: Dialect.CLAUDE,
    Mode.GEMINI: Dialect.GEMINI,
}
"""Kinds of work that are named after their dialect; all others are OpenAI's."""


@define(eq=False)
class Prepared:
    """Where an attempt goes, with what, and how its answer is read. Never changed.

    Attributes:
        guarded: The address passes the outbound guard first.
        forward_limits: The provider's `x-ratelimit-*` headers go to the client.
        exchange: What the token in the headers was got by, None without one.
        token: That token.
        recorder: Collects the answer's signed reasoning; None when none is kept.
    """

    url: str
    headers: Headers
    body: bytes
    translation: Translation
    proxy: str
    guarded: bool
    forward_limits: bool
    exchange: Exchange | None = None
    token: str = field(default="", repr=False)
    recorder: recall.Recorder | None = None


@frozen(eq=False)
class _Middle:
    """A request in the middle form, and the provider's side of the conversion."""

    context: Context
    x: Body
    side: Any
    """A `Conversion` of the provider's own, or a module of `convert`."""


@define(eq=False)
class Plan:
    """One attempt before it is sent.

    Attributes:
        media: URLs whose content `prepared` needs.
        exchange: How a token is got for the key, None when none is needed.
    """

    _call: Call
    _attempt: Attempt
    _knobs: Knobs
    _provider: Provider
    target: Target
    _own: Mapping[str, str]
    _middle: _Middle | None = None
    exchange: Exchange | None = field(init=False)
    _recorder: recall.Recorder | None = None

    @exchange.default
    def _needed(self) -> Exchange | None:
        exchange = self._provider.exchange
        return exchange and exchange(self.target.channel, self.target.key)

    @property
    def media(self) -> list[str]:
        """See the class."""
        middle = self._middle
        if middle is None:
            native = self._call.mode is Mode.GEMINI and self._call.generates
            return gemini.unfetchable_urls(self._call.top) if native else []
        urls: list[str] = middle.side.media_urls(middle.x, middle.context)
        return urls

    def recalling(self) -> list[str]:
        """Ids of the tool calls whose turns lack their signed reasoning, so that
        `recalled` can put it back; the answer's own will be recorded.

        Chat providers want none back: then nothing is lacking or recorded.
        """
        middle = self._middle
        if middle is None or self.target.dialect is Dialect.CHAT:
            return []
        if middle.x.get("tools"):
            self._recorder = recall.Recorder(middle.context)
        return recall.lacking(middle.x.get("messages") or ())

    def recalled(self, kept: Mapping[str, recall.Record]) -> None:
        """Puts back what was kept of the turns."""
        middle = self._middle
        if middle is not None and kept:
            x = middle.x
            x["messages"] = recall.put_back(x["messages"], kept, middle.context)

    def prepared(self, media: Mapping[str, Media], now: float) -> Prepared:
        """The request.

        Args:
            media: What `media` led to.
            now: Unix seconds, for signatures.

        Raises:
            KnightError: a parameter override wants an error, or the request has no
                form in the provider's dialect.
        """
        channel, target = self.target.channel, self.target
        setting, knobs = channel.setting, self._knobs
        changed: Mapping[str, str | None] = self._own
        passed = knobs.pass_through or setting.get("pass_through_body_enabled")
        if self._middle is not None:
            body, changed = self._converted(self._middle, media)
        elif passed and self._passes():
            body = self._call.body
        else:
            body, changed = self._same(media)
        for name in target.dropped:
            if name not in self._call.dropped:
                self._call.dropped.append(name)
        self._attempt.model = target.model
        self._attempt.dialect = target.dialect
        url = self._provider.url(target)
        headers = _headers(self._call, target, self._provider, changed)
        if self._provider.sign is not None:
            headers = self._provider.sign(target, "POST", url, headers, body, now)
        return Prepared(
            url=url,
            headers=headers,
            body=body,
            translation=self._translation(),
            proxy=str(setting.get("proxy") or ""),
            guarded=bool(channel.settings.get("guarded_address")),
            forward_limits=bool(channel.settings.get("forward_ratelimit_headers")),
            exchange=self.exchange,
            token=target.token,
            recorder=self._recorder,
        )

    # bodies ------------------------------------------------------------------

    def _passes(self) -> bool:
        """Whether the provider takes such a body as it comes."""
        mode = self._call.mode
        return mode is self.target.mode and mode not in self._provider.rewrites

    def _converted(
        self, middle: _Middle, media: Mapping[str, Media]
    ) -> tuple[bytes, Mapping[str, str | None]]:
        """The body in another dialect than the client's."""
        middle.context.media = media
        body = middle.side.request_from_x(middle.x, middle.context)
        self._call.dropped = middle.context.dropped
        return self._finished(body)

    def _same(
        self, media: Mapping[str, Media]
    ) -> tuple[bytes, Mapping[str, str | None]]:
        """The client's own body, changed where it must be."""
        if self.target.mode is not self._call.mode:
            return self._finished(dict(self.target.asked))
        body: Body = dict(self._call.top)
        if media:
            gemini.with_media(body, Context(self.target.model, media=media))
        _inject(self._call, self.target, body)
        counts = self._call.mode is Mode.COUNT_TOKENS
        if counts and self._call.dialect is Dialect.GEMINI:
            body = _counted(body, self._call, self.target)
        own = _OWN_CHANGES.get(self.target.dialect)
        if own is not None and self._call.mode in dialects.CONVERTED:
            body = own(body, self._call, self.target, self._knobs)
        return self._finished(body)

    def _finished(self, body: Body) -> tuple[bytes, Mapping[str, str | None]]:
        """The provider's own changes, removals, and the channel's override."""
        call, target, provider = self._call, self.target, self._provider
        channel = target.channel
        provider.prepare(body, target)
        outgoing.remove_fields(body, target.dialect, channel.settings)
        if (target.dialect is Dialect.CHAT and "messages" in body) or (
            call.mode is Mode.COMPLETIONS
        ):
            outgoing.ask_for_usage(
                body,
                target,
                provider,
                asked=call.include_usage,
                force=self._knobs.force_usage,
            )
        changed: Mapping[str, str | None] = self._own
        override: Mapping[str, Any] | None = channel.param_override
        if call.sticky is not None:
            override = overrides.merge(call.sticky.match.rule.template, override)
        if override:
            context = _told(call, self._attempt, target, self._own)
            applied = overrides.apply_params(body, override, context)
            call.audit, changed = list(applied.audit), applied.headers
        if target.mode is not call.mode:
            return top.encode(body), changed
        return _encoded(call, body), changed

    # answers -----------------------------------------------------------------

    def _translation(self) -> Translation:
        call, target = self._call, self.target
        if self._middle is not None:
            return self._back(self._middle)
        shown = shown_model(call, target)
        if call.mode in _CHATTING:
            return SameChat(call, target, self._provider)
        if call.mode is Mode.MESSAGES:
            return SameClaude(shown, self._provider.repeats_usage)
        if call.mode in (Mode.RESPONSES, Mode.COMPACT):
            return SameResponses(shown, responses.search_tool(call.top))
        other = media_translation(call, target, self._provider)
        if other is not None:
            return other
        if call.mode is Mode.GEMINI:
            wanted = gemini_wire.choice_count(call.top)
            return SameGemini(shown, wanted, call.array)
        return SamePlain(call, target, self._provider)

    def _back(self, middle: _Middle) -> Converted:
        target, side = self.target, middle.side
        shown = target.model
        if not target.channel.settings.get("expose_upstream_model"):
            shown = self._call.model
        own = isinstance(side, Conversion)
        return Converted(
            dialects.SIDES[self._call.dialect],
            Upstream(side.response_to_x, side.stream_to_x if own else side.StreamToX),
            middle.context.answering(shown),
            self._provider.raised_error,
            ArrayForm if self._call.array else _plain,
            self._recorder,
        )


def _plain(machine: Machine) -> Machine:
    return machine


def plan(call: Call, attempt: Attempt, knobs: Knobs, now: float) -> Plan:
    """The plan for one channel and key.

    Raises:
        ChannelFault: the channel is misconfigured.
        UnsupportedEndpoint: its provider has no such kind of work.
        InvalidRequest, UnsupportedContent: the body has no middle form.
    """
    channel = attempt.channel
    provider = provider_of(call, attempt)
    target = _target(call, attempt, provider, knobs, now)
    own = overrides.headers(
        channel.header_override,
        target.key,
        call.head.headers,
        channel_test=call.is_test,
    )
    if call.mode in dialects.CONVERTED and call.generates:
        conversion = provider.conversion(target) if provider.conversion else None
        if conversion is not None or target.dialect is not call.dialect:
            side = conversion or dialects.SIDES[target.dialect]
            middle = _into_middle(call, target, side, now)
            return Plan(call, attempt, knobs, provider, target, own, middle)
    return Plan(call, attempt, knobs, provider, target, own)


def _into_middle(call: Call, target: Target, side: Any, now: float) -> _Middle:
    """The client's request in the middle form."""
    context = Context(
        model=target.model,
        provider_type=target.channel.type,
        options=target.options,
        settings=target.channel.settings,
        request_id=call.request_id,
        created=int(now),
        native=call.head.get("x-knight-native") == "1",
        include_usage=call.include_usage,
    )
    body: Body = dict(call.top)
    _inject(call, target, body)
    decoded = top.decoded(top.encode(body), "the body")
    x: Body = dialects.SIDES[call.dialect].request_to_x(decoded, context)
    x["stream"] = call.stream
    suffixed = {Dialect.CLAUDE: claude, Dialect.GEMINI: gemini}.get(target.dialect)
    if suffixed is not None and not openai_family.opted_out(target):
        x = suffixed.apply_suffix(x, context)
        target.model = context.model
    return _Middle(context, x, side)


def provider_of(call: Call, attempt: Attempt) -> Provider:
    """The provider, if it can take the call."""
    channel = attempt.channel
    provider = providers.for_channel(channel)
    if provider is None:
        raise ChannelFault("the channel's type is unknown", code="invalid_api_type")
    if not {call.mode, call.work} & provider.modes:
        raise UnsupportedEndpoint(
            f"{provider.name} channels have no {call.work.value}", retryable=True
        )
    if attempt.key_index == routing.NO_KEY or not channel.keys:
        raise ChannelFault(
            "the channel has no enabled key", code="channel:no_available_key"
        )
    return provider


def _target(
    call: Call, attempt: Attempt, provider: Provider, knobs: Knobs, now: float
) -> Target:
    channel = attempt.channel
    model = routing.map_model(channel.model_mapping, call.model)
    if call.mode is Mode.COMPACT:
        model, call.billed_model = routing.map_compact(
            channel.model_mapping, call.model
        )
    dialect = _OWN_FORM.get(call.mode, Dialect.CHAT)
    native: tuple[Dialect, ...] = (dialect,)
    if call.mode in dialects.CONVERTED:
        options = knobs.provider_options
        native = providers.dialects(provider, channel, model, call.path, options)
    if call.mode in dialects.CONVERTED and call.generates:
        dialect = dialects.choose(
            call.dialect,
            native,
            partial(knobs.responses_policy.wants, channel, call.model),
        )
    target = Target(
        channel=channel,
        key=attempt.key,
        mode=call.mode,
        dialect=dialect,
        model=model,
        stream=call.stream,
        head=call.head,
        path=call.path,
        query=call.head.query,
        options=knobs.provider_options,
        client_model=call.model,
        asked=call.top,
        created=int(now),
    )
    if call.mode is Mode.GEMINI and not call.generates:
        act(target, call, provider, native)
    return target


def _inject(call: Call, target: Target, body: Body) -> None:
    """The channel's system prompt, in the client's dialect."""
    setting = target.channel.setting
    prompt = setting.get("system_prompt")
    if prompt and call.generates and call.mode in dialects.CONVERTED:
        override = bool(setting.get("system_prompt_override"))
        system_prompt.inject(body, call.dialect, str(prompt), override=override)


# A client's dialect on a channel of the same dialect -------------------------

OwnChange = Callable[[Body, Call, Target, Knobs], Body]


def _context_of(target: Target) -> Context:
    return Context(
        model=target.model,
        provider_type=target.channel.type,
        options=target.options,
        settings=target.channel.settings,
    )


def _own_claude(body: Body, call: Call, target: Target, knobs: Knobs) -> Body:
    """Foreign reasoning goes; a suffix of the model's name becomes fields."""
    claude.keep_own_reasoning(body)
    context = _context_of(target)
    small = _decoded(body, ("thinking", "output_config", "max_tokens"))
    if not openai_family.opted_out(target):
        body = claude.apply_to_body({**body, **small}, context)
        body = _restored(body, call.top, small)
        target.model = context.model
    return body


def _own_gemini(body: Body, call: Call, target: Target, knobs: Knobs) -> Body:
    """The same for Gemini; call ids go for Vertex."""
    context = _context_of(target)
    if not call.generates:
        return body
    gemini.keep_own_reasoning(body, context)
    gemini.without_call_ids(body, context)
    small = _decoded(body, ("generationConfig", "generation_config"))
    if not openai_family.opted_out(target):
        body = gemini.apply_to_body({**body, **small}, context)
        body = _restored(body, call.top, small)
        target.model = context.model
    return body


def _own_responses(body: Body, call: Call, target: Target, knobs: Knobs) -> Body:
    """Reasoning that other providers signed goes."""
    given = body.get("input")
    if isinstance(given, msgspec.Raw) and MARK in bytes(given):
        body["input"] = without_foreign(top.plain(body, "input"))
    return body


_OWN_CHANGES: Mapping[Dialect, OwnChange] = {
    Dialect.CLAUDE: _own_claude,
    Dialect.GEMINI: _own_gemini,
    Dialect.RESPONSES: _own_responses,
}


def _counted(body: Body, call: Call, target: Target) -> Body:
    """A whole request whose prompt is counted names the mapped model, too."""
    if target.model == call.model:
        return body
    return gemini.with_model(body, target.model)


def _decoded(body: Body, names: tuple[str, ...]) -> Body:
    """The decoded values of a few members."""
    return {name: top.plain(body, name) for name in names if name in body}


def _restored(body: Body, sent: Body, small: Body) -> Body:
    """The body with the client's own bytes wherever nothing changed the value."""
    for name, value in small.items():
        if body.get(name) == value and name in sent:
            body[name] = sent[name]
    return body


def _encoded(call: Call, body: Body) -> bytes:
    """The body's bytes: the client's own when every member is still the client's."""
    sent = call.top
    if call.form is not None:
        return call.form.encode(body)
    if body.get("model") == call.model and "model" in sent:
        body["model"] = sent["model"]
    if len(body) == len(sent) and all(sent.get(n) is v for n, v in body.items()):
        return call.body
    try:
        return top.encode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidRequest(f"the request cannot be written: {error}") from None


def _told(
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
    if not accept or accept == "*/*" or target.dialect is not call.dialect:
        accept = "text/event-stream" if call.stream else "application/json"
        if call.mode in UNFRAMED and not call.stream:
            accept = "*/*"
    kind = "application/json" if call.form is None else call.form.content_type
    headers: Headers = [
        ("Content-Type", kind),
        ("Accept", accept),
        *provider.authorize(target),
    ]
    if not changed:
        return headers
    kept = [(name, value) for name, value in headers if name.lower() not in changed]
    return kept + [(name, value) for name, value in changed.items() if value]
