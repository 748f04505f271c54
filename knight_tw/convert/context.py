"""What a conversion gets besides the body, and what it remembers.

One `Context` belongs to one attempt. The request's conversion fills its `memory` and
its loss report; the answer's conversion, which shows another model name, works on
`answering()` of it, so that tool names changed on the way out change back on the way
in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define, evolve, field, frozen

from knight_tw.records import Dialect


@frozen
class Media:
    """Bytes that a URL in the request led to, and their MIME type (sniffed)."""

    data: bytes
    type: str


@define(eq=False)
class Ids:
    """New ids, each unique and the same again for the same request.

    They are hashes of the request's id and a counter: this layer knows no chance.
    """

    _request_id: str
    _given: int = field(default=0, init=False)

    def __call__(self, prefix: str) -> str:
        """`prefix` with 16 hexadecimal digits."""
        self._given += 1
        seed = f"{self._request_id}:{self._given}".encode()
        return prefix + hashlib.sha256(seed).hexdigest()[:16]


@define(eq=False)
class Memory:
    """What a request's conversion leaves for the conversion of its answer.

    Attributes:
        client: The dialect of the client.
        field_names: Fields of the middle form to the client's own names for them, for
            the loss report.
        custom_tools: Names of free-form tools that were offered as functions.
        tool_names: Names in the middle form, to what the client calls them; for names
            that the client's dialect had to change (namespaces). Its answers' side
            changes them back.
        sent_names: Names that were sent, to those of the middle form; for names that
            the target does not take. The target's answers' side changes them back.
        answer_tool: The function that was forced to get structured output, or empty:
            its arguments are the answer's content.
        legacy_functions: The client spoke of `functions` and gets a `function_call`.
        request: The client's own body, for answers that echo it.
        x: The request in the middle form.
    """

    client: Dialect = Dialect.CHAT
    field_names: dict[str, str] = field(factory=dict)
    custom_tools: set[str] = field(factory=set)
    tool_names: dict[str, Any] = field(factory=dict)
    sent_names: dict[str, str] = field(factory=dict)
    answer_tool: str = ""
    legacy_functions: bool = False
    request: Mapping[str, Any] = field(factory=dict)
    x: Mapping[str, Any] = field(factory=dict)


def _new_ids(context: Context) -> Callable[[str], str]:
    return Ids(context.request_id)


@define(eq=False)
class Context:
    """Everything one conversion needs besides the body.

    Attributes:
        model: The name for the target (request), or the client's name (answers).
        provider_type: The channel's type id.
        options: Administrator options by key (`claude.*`, `gemini.*`, `relay.*`),
            decoded.
        settings: The channel's `settings`.
        created: Unix seconds; there is no clock here.
        native: The client sent `X-Knight-Native: 1` and gets `native_blocks`.
        include_usage: A chat client gets the usage chunk.
        media: What the request's URLs led to, downloaded beforehand (`media_urls`).
        dropped: The loss report: names of fields that the target cannot be told.
        estimate: Prompt tokens as estimated, 0 when counting is off.
        ids: Gives a new unique id that starts with its argument.
        memory: See `Memory`.
        used: How often the answer used tools of the provider that cost extra, by the
            tool's price name.
    """

    model: str
    provider_type: int = 1
    options: Mapping[str, Any] = field(factory=dict)
    settings: Mapping[str, Any] = field(factory=dict)
    request_id: str = ""
    created: int = 0
    native: bool = False
    include_usage: bool = True
    media: Mapping[str, Media] = field(factory=dict)
    dropped: list[str] = field(factory=list)
    estimate: int = 0
    ids: Callable[[str], str] = Factory(_new_ids, takes_self=True)
    memory: Memory = field(factory=Memory)
    used: dict[str, int] = field(factory=dict)

    def drop(self, name: str) -> None:
        """Report a field that the target cannot be told; each name once.

        A name of the middle form is reported as the client calls it, an index or a
        member behind it stays: `stop[4]` of a Gemini client is `stopSequences[4]`.
        """
        end = min((at for at in map(name.find, ".[") if at > 0), default=len(name))
        name = self.memory.field_names.get(name[:end], name[:end]) + name[end:]
        if name not in self.dropped:
            self.dropped.append(name)

    def answering(self, model: str) -> Context:
        """The context for the answer, which shows `model`; memory and ids are shared.

        Losses of an answer are reported nowhere, so they get a list of their own.
        """
        return evolve(self, model=model, dropped=[])

    def use(self, tool: str, times: int) -> None:
        """Count uses of a tool of the provider that costs extra."""
        self.used[tool] = self.used.get(tool, 0) + times

    def accepts(self, name: str) -> bool | None:
        """What `settings.accepts` says about a field, None when it says nothing."""
        accepts = self.settings.get("accepts")
        said = accepts.get(name) if isinstance(accepts, Mapping) else None
        return said if isinstance(said, bool) else None

    def prefixed(self, option: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The model name prefixes in an option, `default` when it is not set."""
        names = self.options.get(option)
        if not isinstance(names, list | tuple):
            return default
        return tuple(name for name in names if isinstance(name, str) and name)
