"""One call of a client: what was asked, and what has happened so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol

from attrs import define, field

from knight_tw.errors import KnightError
from knight_tw.providers.provider import Body
from knight_tw.records import Caller, Channel, Dialect, Head, Mode, Usage
from knight_tw.routing_affinity import AffinityRules, Match
from knight_tw.wire.forms import Form

_ACTED: Mapping[str, Mode] = {
    "embedContent": Mode.EMBEDDINGS,
    "batchEmbedContents": Mode.EMBEDDINGS,
    "predict": Mode.IMAGES,
}
"""Actions of Gemini's paths that are another kind of work."""

_NO_RATIOS: Mapping[str, Decimal] = {}


@define(eq=False)
class Attempt:
    """One try on one channel and key."""

    channel: Channel
    key_index: int
    group: str
    began: float
    model: str = ""
    """The upstream's name of the model."""
    dialect: Dialect = Dialect.CHAT
    """What the upstream was spoken to in."""
    begin_by: float = 0.0
    """When the answer must have begun, reactor seconds; 0 = any time."""
    upstream_id: str = ""
    """The provider's id of this request."""
    sent: float = 0.0
    """When its request was given to a connection or began to wait for one."""
    connected: float = 0.0
    """When its request left, 0 when that is not known."""
    heard: float = 0.0
    """When the head of its answer was there."""
    ended: float = 0.0
    """When it failed."""
    error: KnightError | None = None
    """What it failed of."""
    outrun: bool = False
    """Another attempt beside it spoke first."""

    @property
    def key(self) -> str:
        """The credential of this attempt."""
        return self.channel.keys[self.key_index]


@define(eq=False)
class Sticky:
    """A call whose conversation should stay on its channel (relay specification, 8).

    Attributes:
        channel_id: The remembered channel, 0 when there is none.
        used: It got the first attempt.
        kept: It could not be asked now, and is to stay remembered.
        charged: Is told the match, the caller's group and the usage that the call was
            charged by, and whether that is Claude's, whose prompts count no cache.
    """

    match: Match
    rules: AffinityRules
    charged: Callable[[Match, str, Usage, bool], None] | None = None
    channel_id: int = 0
    used: bool = False
    kept: bool = False


@define(eq=False)
class Load:
    """The calls that this process has on a channel with a limit.

    Attributes:
        limit: Most at once, while the channel's limit is adaptive.
        good: Answers since the limit last changed.
        halved: When trouble last halved it, reactor seconds.
    """

    limit: int
    calls: int = 0
    good: int = 0
    halved: float = 0.0


class Record(Protocol):
    """Gathers how a call was decided (`relay.explaining`)."""

    def closing(self, now: float) -> None:
        """The answer is here; from now on it is about the charge."""
        ...

    def told(self, call: Call, now: float) -> Any:
        """All of it, for the log row: what `msgspec` encodes."""
        ...


@define(eq=False)
class Call:
    """What the client wants, read once; mutable only in what happens to it.

    Attributes:
        body: The request body with its content coding undone.
        top: Top level of a JSON body, untouched members as `msgspec.Raw`; of a form its
            fields.
        form: The body when it is a form.
        model: The name the client sent; prices and logs use it.
        action: What Gemini's path asks for.
        path: The path providers know (`/v1/...`), aliases rewritten.
        is_test: A channel test, which has no client.
        generates: An answer is generated (Gemini's other actions do not).
        array: A stream goes out as a JSON array (Gemini without `alt=sse`).
        billed_model: The name that is billed, when it is not `model`.
        include_usage: The client wants the usage chunk of a chat stream.
        began: Reactor seconds at which the head had arrived.
        waited: Seconds that went by for providers, with what they streamed.
    """

    request_id: str
    head: Head
    mode: Mode
    dialect: Dialect
    path: str
    caller: Caller
    began: float
    body: bytes = b""
    top: Body = field(factory=dict)
    model: str = ""
    action: str = ""
    stream: bool = False
    include_usage: bool = False
    is_test: bool = False
    generates: bool = True
    array: bool = False
    billed_model: str = ""
    output_limit: int | None = None
    choices: int = 1
    attempts: list[Attempt] = field(factory=list)
    first_byte: float = 0.0
    waited: float = 0.0
    dropped: list[str] = field(factory=list)
    audit: list[str] = field(factory=list)
    last_error: KnightError | None = None
    counted: bool = False
    """The usage is our own count."""
    notes: dict[str, Any] = field(factory=dict)
    """Further members of the log row's `other`."""
    form: Form | None = None
    ratios: Mapping[str, Decimal] = _NO_RATIOS
    """Factors of a price per call: pictures, their size and quality."""
    sticky: Sticky | None = None
    """What the affinity rules say of the call, None when none matches."""
    auth: float = 0.0
    """Seconds that the credential took, as far as it was waited for."""
    hedged: bool = False
    """A second attempt was made beside one that was silent."""
    record: Record | None = None
    """How the call was decided, when that is wanted in its log row."""
    seat: Load | None = None
    """Where the call counts as being under way."""

    @property
    def work(self) -> Mode:
        """The kind of work, also where Gemini's path names it behind its colon."""
        return _ACTED.get(self.action, self.mode)

    @property
    def weight(self) -> int:
        """A number that the prompt's tokens cannot exceed, known at once."""
        return len(self.body) if self.form is None else self.form.weight

    @property
    def attempt(self) -> Attempt | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None
