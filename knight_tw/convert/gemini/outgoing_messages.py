"""Messages of the middle form as Gemini's contents (conversion specification, 7).

Gemini knows two roles, `user` and `model`, and wants the responses of functions in the
content right after the calls, one for each, in their order. Neighbours of equal role
are one content. All system messages go into `systemInstruction`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from attrs import define, field

from knight_tw.convert import parts as x_parts
from knight_tw.convert import reasoning, tools
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import models, signing
from knight_tw.convert.gemini.outgoing_names import sent_name
from knight_tw.convert.gemini.outgoing_parts import images_of, split_images, to_parts
from knight_tw.convert.signatures import FORMATS, GOOGLE
from knight_tw.errors import InvalidRequest, UnsupportedContent

Part = dict[str, Any]
Content = dict[str, Any]

NOTHING = "..."
"""The text of a request that has none: the API refuses empty contents."""
ATTACHED = "(see attached)"
"""The output of a function that gave only images or files."""
NO_RESULT = "no result"
GENERATED = "call_g_"
"""What ids begin with that Gemini did not give itself."""

_SYSTEM = ("system", "developer")
_ANY = msgspec.json.Decoder()


def to_contents(
    messages: Sequence[dict[str, Any]], context: Context
) -> tuple[list[Part], list[Content]]:
    """The parts of `systemInstruction`, and the contents.

    Raises:
        InvalidRequest: a message cannot be read.
        UnsupportedContent: a part that Gemini cannot see.
    """
    system: list[Part] = []
    turns = _Turns(context)
    for index, message in enumerate(messages):
        role, param = message.get("role"), f"messages.{index}"
        if message.get("name") and role != "tool":
            context.drop("name")
        if role in _SYSTEM:
            system += _system_parts(message, f"{param}.content")
        elif role == "user":
            turns.add_user(message, f"{param}.content")
        elif role == "assistant":
            turns.add_assistant(message, param)
        elif role == "tool":
            turns.add_result(message, param)
        else:
            where = f"{param}.role"
            raise InvalidRequest(f"{where} is not a role: {role!r}"[:200], param=where)
    return system, turns.close()


def _system_parts(message: Mapping[str, Any], param: str) -> list[Part]:
    """One part for each text of a system message."""
    found: list[Part] = []
    for index, part in enumerate(x_parts.read_parts(message.get("content"), param)):
        if part["type"] != "text":
            raise UnsupportedContent(
                f"a system message cannot hold {part['type']}"[:200],
                param=f"{param}.{index}.type",
            )
        if part["text"]:
            found.append({"text": part["text"]})
    return found


@define(eq=False)
class _Call:
    """A call in the last turn, and its response once it has come."""

    call_id: str
    function: Part
    response: Part | None = None

    def answered(self, response: Mapping[str, Any]) -> Part:
        """The response's part: id and name are the call's."""
        same = {k: v for k, v in self.function.items() if k != "args"}
        return {"functionResponse": {**same, **response}}


@define(eq=False)
class _Turns:
    """Gemini's contents as they grow; the results of calls are held until their turn.

    `_attached` is what a result holds beside its response.
    """

    _context: Context
    _contents: list[Content] = field(factory=list)
    _calls: list[_Call] = field(factory=list)
    _attached: list[Part] = field(factory=list)

    def add_user(self, message: Mapping[str, Any], param: str) -> None:
        """A user message, after the results that stand before it."""
        parts = x_parts.read_parts(message.get("content"), param)
        self._flush()
        self._append("user", to_parts(parts, param, self._context))

    def add_assistant(self, message: Mapping[str, Any], param: str) -> None:
        """An assistant message; its calls wait for their results."""
        self._flush()
        calls = x_parts.read_objects(message.get("tool_calls"), f"{param}.tool_calls")
        parts = _native_parts(message, calls)
        if parts is None:
            parts = _said_parts(message, param, self._context)
            called = _call_parts(calls, self._context)
            _sign(parts, called, message, self._context)
            parts += called
        self._append("model", parts)
        functions = [part["functionCall"] for part in parts if "functionCall" in part]
        self._calls = [
            _Call(str(call.get("id") or ""), function)
            for call, function in zip(calls, functions, strict=True)
        ]

    def add_result(self, message: Mapping[str, Any], param: str) -> None:
        """The result of a call; one that nobody asked for becomes a text."""
        call_id = x_parts.read_text(message, "tool_call_id", param)
        where = f"{param}.content"
        found = to_parts(
            x_parts.read_parts(message.get("content"), where), where, self._context
        )
        texts = [part["text"] for part in found if "text" in part]
        media = [part for part in found if "text" not in part]
        text = "\n".join(texts) if texts or not media else ATTACHED
        call = self._waiting(call_id)
        if call is None:
            self._attached.append({"text": f"[result of {call_id}] {text}".rstrip()})
            self._attached += media
            return
        answer: Part = {"response": _response(text, message.get("is_error") is True)}
        if models.is_third(self._context):
            inside = [part for part in media if "inlineData" in part]
            media = [part for part in media if "inlineData" not in part]
            if inside:
                answer["parts"] = inside
        call.response = call.answered(answer)
        self._attached += media

    def close(self) -> list[Content]:
        """All contents; never none."""
        self._flush()
        if not self._contents:
            self._append("user", [{"text": NOTHING}])
        return self._contents

    def _waiting(self, call_id: str) -> _Call | None:
        """The first call with this id that has no response yet."""
        for call in self._calls:
            if call.call_id == call_id and call.response is None:
                return call
        return None

    def _flush(self) -> None:
        """Write the responses to the last calls, in the order of the calls."""
        missing = {"response": {"error": NO_RESULT}}
        parts = [call.response or call.answered(missing) for call in self._calls]
        parts += self._attached
        self._calls, self._attached = [], []
        self._append("user", parts)

    def _append(self, role: str, parts: list[Part]) -> None:
        if not parts:
            return
        last = self._contents[-1] if self._contents else {}
        if last.get("role") == role:
            last["parts"] += parts
        else:
            self._contents.append({"role": role, "parts": parts})


def _response(text: str, failed: bool) -> dict[str, Any]:
    """The `response` of a function: an object, whatever its text is."""
    try:
        value: Any = _ANY.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = text
    if failed:
        return {"error": value}
    return value if isinstance(value, dict) else {"output": value}


def _native_parts(
    message: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]
) -> list[Part] | None:
    """Gemini's own parts that a client gives back, if it did not edit them."""
    kept = message.get("native_blocks")
    if not isinstance(kept, Mapping) or kept.get("format") != FORMATS[GOOGLE]:
        return None
    content = kept.get("content")
    if not isinstance(content, list) or not content:
        return None
    parts = [part for part in content if isinstance(part, dict)]
    said = [part for part in parts if not part.get("thought")]
    if x_parts.joined(said) != x_parts.text_of(message.get("content")):
        return None
    functions = [part["functionCall"] for part in parts if "functionCall" in part]
    ids = [call.get("id") for call in calls]
    if len(functions) != len(ids) or any(
        function.get("id", call_id) != call_id
        for function, call_id in zip(functions, ids, strict=True)
    ):
        return None
    return parts


def _said_parts(message: Mapping[str, Any], param: str, context: Context) -> list[Part]:
    """Google's own signed thoughts, the text with the images in it, other images."""
    parts: list[Part] = []
    for piece in reasoning.pieces(message):
        signature = _own_signature(piece)
        if signature is not None and piece.text:
            thought = {"text": piece.text, "thought": True}
            parts.append({**thought, "thoughtSignature": signature})
    content = message.get("content")
    if isinstance(content, str):
        parts += split_images(content)
    else:
        where = f"{param}.content"
        for part in to_parts(x_parts.read_parts(content, where), where, context):
            parts += split_images(part["text"]) if "text" in part else [part]
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal and refusal != content:
        parts.append({"text": refusal})
    if message.get("audio"):
        context.drop("audio")
    return parts + images_of(message, param, context)


def _own_signature(piece: reasoning.Piece) -> str | None:
    return signing.own(piece.signature) if piece.letter == GOOGLE else None


def _call_parts(calls: Sequence[Mapping[str, Any]], context: Context) -> list[Part]:
    parts: list[Part] = []
    for call in calls:
        name = sent_name(tools.call_name(call), context)
        function: dict[str, Any] = {"name": name}
        call_id = str(call.get("id") or "")
        if call_id and not call_id.startswith(GENERATED) and models.takes_ids(context):
            function = {"id": call_id, **function}
        function["args"] = tools.parse_arguments(tools.call_arguments(call))
        part: Part = {"functionCall": function}
        extra = call.get("extra_content")
        google = extra.get("google") if isinstance(extra, Mapping) else None
        if isinstance(google, Mapping):
            signature = signing.own(google.get("thought_signature"))
            if signature is not None:
                part["thoughtSignature"] = signature
        parts.append(part)
    return parts


def _sign(
    parts: list[Part],
    calls: list[Part],
    message: Mapping[str, Any],
    context: Context,
) -> None:
    """Put signatures that stand for themselves on the part they belong to, in place.

    That is the text; without one the first call. A first call that is left without gets
    the placeholder where the model insists.
    """
    loose = [
        signature
        for piece in reasoning.pieces(message)
        if not piece.text and (signature := _own_signature(piece)) is not None
    ]
    texts = [part for part in parts if "text" in part and not part.get("thought")]
    first = calls[0] if calls else None
    if loose and texts:
        texts[-1]["thoughtSignature"] = loose.pop(0)
    if loose and first is not None:
        first.setdefault("thoughtSignature", loose.pop(0))
    elif loose:
        parts.append({"text": "", "thoughtSignature": loose[0]})
    if first is not None and models.wants_placeholder(context):
        first.setdefault("thoughtSignature", signing.PLACEHOLDER)
