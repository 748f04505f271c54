"""The domain's values: what the layers hand to each other, frozen and without behaviour
beyond reading themselves.

Money is whole quota units (500 000 to the US dollar), ratios are `Decimal`, times are
unix seconds unless a name says otherwise.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from attrs import define, field, frozen


class Dialect(enum.Enum):
    """The format that a client or an upstream speaks; errors follow the route's."""

    __hash__ = object.__hash__  # members are unique; the name's hash costs a call
    CHAT = "chat"
    RESPONSES = "responses"
    CLAUDE = "claude"
    GEMINI = "gemini"
    REALTIME = "realtime"
    TASK = "task"
    MJ = "mj"
    API = "api"


class Mode(enum.Enum):
    """What kind of work a relay route asks for."""

    __hash__ = object.__hash__  # as above
    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    COMPACT = "compact"
    ALPHA_SEARCH = "alpha_search"
    MESSAGES = "messages"
    COUNT_TOKENS = "count_tokens"
    GEMINI = "gemini"
    EMBEDDINGS = "embeddings"
    MODERATIONS = "moderations"
    IMAGES = "images"
    IMAGE_EDITS = "image_edits"
    SPEECH = "speech"
    TRANSCRIPTIONS = "transcriptions"
    TRANSLATIONS = "translations"
    RERANK = "rerank"
    REALTIME = "realtime"


ENABLED, DISABLED = 1, 2
"""Status of users, tokens and channels."""
AUTO_DISABLED = 3
"""Channel (or key of a channel) disabled by the gateway itself."""
TOKEN_EXPIRED, TOKEN_EXHAUSTED = 3, 4
"""Further statuses of tokens."""

ROLE_GUEST, ROLE_USER, ROLE_ADMIN, ROLE_ROOT = 0, 1, 10, 100


@frozen
class User:
    """An account, as the relay needs it."""

    id: int
    username: str
    role: int
    status: int
    group: str
    quota: int
    email: str = ""
    setting: Mapping[str, Any] = field(factory=dict)


@frozen
class Token:
    """A relay credential: a row of `tokens`. `key` has no `sk-` in front."""

    id: int
    user_id: int
    key: str
    name: str
    status: int
    expired_time: int
    remain_quota: int
    unlimited_quota: bool
    model_limits_enabled: bool = False
    model_limits: frozenset[str] = frozenset()
    allow_ips: tuple[str, ...] = ()
    group: str = ""
    cross_group_retry: bool = False
    auto_groups: tuple[str, ...] = ()
    used_quota: int = 0


@frozen(eq=False)
class Caller:
    """Who makes a call, after every check of the credential.

    Attributes:
        token: None for the playground, whose calls a dashboard session makes.
        group: The effective group, `auto` included.
        auto_groups: The ordered groups to walk when `group` is `auto`.
        pinned_channel: The channel id an administrator asked for, or None.
    """

    user: User
    token: Token | None
    group: str
    auto_groups: tuple[str, ...] = ()
    pinned_channel: int | None = None


@frozen(eq=False)
class Channel:
    """A row an administrator made, its JSON columns parsed once.

    Attributes:
        keys: The credentials; one, or several with `multi_key`.
        key_status: Index to status of the keys that are not enabled.
        multi_key_mode: `random` or `polling`.
        setting, settings: Two JSON columns, different things in spite of the names.
        model_mapping: Client's name to upstream's name.
        param_override, header_override: Parsed JSON objects, or None.
        created_time: Unix seconds, 0 for a row without one, None when not read.
    """

    id: int
    type: int
    name: str
    status: int
    keys: tuple[str, ...]
    base_url: str = ""
    other: str = ""
    models: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("default",)
    priority: int = 0
    weight: int = 0
    auto_ban: bool = True
    tag: str = ""
    organization: str = ""
    test_model: str = ""
    model_mapping: Mapping[str, str] = field(factory=dict)
    status_code_mapping: Mapping[str, int] = field(factory=dict)
    param_override: Mapping[str, Any] | None = None
    header_override: Mapping[str, str] | None = None
    setting: Mapping[str, Any] = field(factory=dict)
    settings: Mapping[str, Any] = field(factory=dict)
    multi_key: bool = False
    multi_key_mode: str = "random"
    multi_key_polling_index: int = 0
    key_status: Mapping[int, int] = field(factory=dict)
    response_time: int = 0
    created_time: int | None = None


@frozen
class Usage:
    """What an answer consumed, in the shape every dialect is mapped to.

    `prompt` includes cached and cache-write tokens, `completion` includes reasoning
    (OpenAI semantics). `write` is the whole cache creation; `write_5m` and `write_1h`
    are its known parts; `cached_audio` is the part of `cached` that is audio, where it
    is told apart. `tool_calls` counts billable built-in tool uses by tool name.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    write: int = 0
    write_5m: int = 0
    write_1h: int = 0
    reasoning: int = 0
    image_in: int = 0
    image_out: int = 0
    audio_in: int = 0
    audio_out: int = 0
    total: int = 0
    tool_calls: Mapping[str, int] = field(factory=dict)
    cached_audio: int = 0

    @property
    def empty(self) -> bool:
        """True when the provider reported nothing worth charging."""
        return not (self.prompt or self.completion or self.total)


@frozen
class Price:
    """What one model costs one caller; see `pricing` for the formulas.

    `per_call` (US dollars) set means price mode; the ratios are ignored for the amount
    but kept for the log row. A non-empty `expression` (its text) decides the amount
    before both. `group_ratio` is the one that applies to this call,
    `user_group_ratio` the special one when it came from `GroupGroupRatio`.
    """

    model: str
    model_ratio: Decimal
    completion_ratio: Decimal
    group_ratio: Decimal
    per_call: Decimal | None = None
    cache_ratio: Decimal = Decimal(1)
    write_ratio: Decimal = Decimal("1.25")
    write_1h_ratio: Decimal = Decimal(2)
    image_ratio: Decimal = Decimal(1)
    audio_ratio: Decimal = Decimal(1)
    audio_completion_ratio: Decimal = Decimal(1)
    has_audio_ratio: bool = False
    audio_input_price: Decimal | None = None
    user_group_ratio: Decimal | None = None
    unit: Decimal = Decimal(500_000)
    expression: str = ""
    reckoned: dict[str, Any] = field(factory=dict, init=False, eq=False, repr=False)
    """What `pricing` reckons from a price once and keeps with it."""


@frozen(eq=False)
class Head:
    """A request's head: everything known before the body.

    `headers` keeps the client's order, names lower-cased; `query` is the raw query
    string without `?`. `peer` is the address of the connection, `client` the address
    after trusted proxies.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    peer: str
    client: str
    _first: Mapping[str, str] = field(init=False, repr=False)

    @_first.default
    def _first_values(self) -> Mapping[str, str]:
        return dict(reversed(self.headers))

    def get(self, name: str) -> str:
        """The first value of a header (lower-case name), or an empty string."""
        return self._first.get(name, "")


@define(eq=False)
class Stopwatch:
    """Moments of one call, in seconds of the reactor's clock; 0 = not yet."""

    began: float
    sent: float = 0.0
    first_byte: float = 0.0
