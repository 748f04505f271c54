"""Gemini's contents in the middle form (conversion specification, 9).

Contents of one role that follow each other are one turn: Google's own chat client gives
back the pieces of a stream as contents of their own. Responses of functions become
messages before the rest of their turn; they are matched with the calls by id, or, as
Gemini itself does it, by name and order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field

from knight_tw.convert import parts as x_parts
from knight_tw.convert import reasoning, tools
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import signing
from knight_tw.convert.gemini.fences import fenced, joined
from knight_tw.convert.gemini.incoming_parts import (
    MEDIA,
    media_part,
    read_inline,
    read_object,
)
from knight_tw.convert.signatures import GOOGLE, owner
from knight_tw.errors import InvalidRequest

Part = dict[str, Any]
Message = dict[str, Any]

_ROLES = {"user": "user", "function": "user", "model": "model"}


def system_message(instruction: Any) -> list[Message]:
    """The system prompt as a message: its texts, line by line; none when it is empty.

    Raises:
        InvalidRequest: it is neither a text nor an object with parts.
    """
    if isinstance(instruction, str):
        return [{"role": "system", "content": instruction}] if instruction else []
    if instruction is None:
        return []
    where = "systemInstruction"
    parts = parts_of(read_object(instruction, where), where)
    text = "\n".join(t for part in parts if isinstance(t := part.get("text"), str))
    return [{"role": "system", "content": text}] if text else []


def parts_of(content: Mapping[str, Any], param: str) -> list[Part]:
    """The parts of a content; a single one may stand without a list."""
    parts = content.get("parts")
    if isinstance(parts, dict):
        return [parts]
    return x_parts.read_objects(parts, f"{param}.parts")


def from_contents(contents: Sequence[Part], context: Context) -> list[Message]:
    """The messages of the middle form for a request's contents.

    Raises:
        InvalidRequest: a content cannot be read.
        UnsupportedContent: a part that only Gemini itself can see.
    """
    reader = _Reader(context)
    found: list[Message] = []
    for role, run in _runs(contents):
        if role == "model":
            found.append(reader.model(run))
        else:
            found += reader.user(run)
    return found


_Run = list[tuple[int, Part]]


def _runs(contents: Sequence[Part]) -> Iterator[tuple[str, _Run]]:
    """Neighbours of one role together, each with its place in the request."""
    run: _Run = []
    last = "user"
    for index, content in enumerate(contents):
        named = content.get("role")
        role = _ROLES.get("user" if named in (None, "") else str(named))
        if role is None:
            where = f"contents.{index}.role"
            raise InvalidRequest(f"{where} is not a role: {named!r}"[:200], param=where)
        if run and role != last:
            yield last, run
            run = []
        last = role
        run.append((index, content))
    yield last, run


@define
class _Open:
    """A call without a response so far. `given` is the id that it came with."""

    call_id: str
    given: str
    name: str


@define(eq=False)
class _Reader:
    """Contents on their way to messages; remembers which calls wait for a response."""

    _context: Context
    _open: list[_Open] = field(factory=list)
    _ids: set[str] = field(factory=set)

    def user(self, run: _Run) -> Iterator[Message]:
        """The responses of functions in a user turn, then the rest of it."""
        rest: list[Message] = []
        for index, content in run:
            param = f"contents.{index}"
            found: list[x_parts.Part] = []
            answers = 0
            for place, part in enumerate(parts_of(content, param)):
                where = f"{param}.parts.{place}"
                if "functionResponse" in part:
                    yield self._response(part, where, (index, answers))
                    answers += 1
                else:
                    found += _user_part(part, where, self._context)
            if found or not answers:
                rest.append({"role": "user", "content": x_parts.collapsed(found) or ""})
        yield from rest

    def model(self, run: _Run) -> Message:
        """The assistant message for a model's turn."""
        turn = _Turn(self._context)
        for index, content in run:
            calls = 0
            for place, part in enumerate(parts_of(content, f"contents.{index}")):
                where = f"contents.{index}.parts.{place}"
                if "functionCall" in part:
                    turn.call(part, self._called(part, where, (index, calls)), where)
                    calls += 1
                else:
                    turn.take(part, where)
        return turn.close()

    def _called(self, part: Part, param: str, place: tuple[int, int]) -> str:
        """The id for a call, its own if it has one; it is open from now on."""
        call = read_object(part["functionCall"], f"{param}.functionCall")
        given = call.get("id")
        given = given if isinstance(given, str) else ""
        call_id = given or self._generated(place)
        self._ids.add(call_id)
        self._open.append(_Open(call_id, given, str(call.get("name") or "")))
        return call_id

    def _generated(self, place: tuple[int, int]) -> str:
        call_id = f"call_g_{place[0]}_{place[1]}"
        while call_id in self._ids:
            call_id += "_"
        return call_id

    def _response(self, part: Part, param: str, place: tuple[int, int]) -> Message:
        where = f"{param}.functionResponse"
        answer = read_object(part["functionResponse"], where)
        call_id = self._answered(answer) or self._generated(place)
        self._ids.add(call_id)
        text, failed = _said(answer.get("response"))
        content: Any = text
        media = [
            media_part(inner, f"{where}.parts.{n}")
            for n, inner in enumerate(parts_of(answer, where))
            if inner.keys() & MEDIA
        ]
        if media:
            content = ([x_parts.text_part(text)] if text else []) + media
        message: Message = {"role": "tool", "tool_call_id": call_id, "content": content}
        return {**message, "is_error": True} if failed else message

    def _answered(self, answer: Mapping[str, Any]) -> str:
        """The id of the call that this is the response to, empty when there is none."""
        given, name = answer.get("id"), answer.get("name")
        by_id = [c for c in self._open if given and given in (c.given, c.call_id)]
        by_name = [call for call in self._open if call.name == name]
        for call in (*by_id, *by_name):
            self._open.remove(call)
            return call.call_id
        return given if isinstance(given, str) and given not in self._ids else ""


def _said(response: Any) -> tuple[str, bool]:
    """The text of a function's response, and whether it is an error."""
    if not isinstance(response, Mapping):
        return "" if response is None else _text(response), False
    if len(response) == 1:
        (name, value), *_ = response.items()
        if name == "error":
            return _text(value), True
        if name in ("output", "result") and isinstance(value, str):
            return value, False
    return _text(response), False


def _text(value: Any) -> str:
    return value if isinstance(value, str) else tools.compact(value)


def _user_part(part: Part, param: str, context: Context) -> list[x_parts.Part]:
    if isinstance(part.get("text"), str):
        return [x_parts.text_part(part["text"])]
    if part.keys() & MEDIA:
        return [media_part(part, param)]
    block = fenced(part)
    if block is not None:
        return [x_parts.text_part(block)]
    for name in part.keys() - _BESIDE:
        context.drop(f"parts.{name}")
    return []


_BESIDE = frozenset(
    {"thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"}
)
"""Members of a part beside its content."""


@define(eq=False)
class _Turn:
    """A model's turn taken apart, part by part.

    Pieces of a thought that follow each other are one, up to its signature.
    """

    _context: Context
    _text: str = ""
    _thought: str = ""
    _thoughts: str = ""
    _details: list[reasoning.Detail] = field(factory=list)
    _calls: list[Part] = field(factory=list)
    _images: list[Part] = field(factory=list)

    def take(self, part: Part, param: str) -> None:
        """Any part but a call."""
        signature = signing.from_field(part.get("thoughtSignature"))
        text = part.get("text")
        if part.get("thought") is True:
            self._think(text if isinstance(text, str) else None, signature)
            return
        if isinstance(text, str):
            self._text += text
        elif block := fenced(part):
            self._text += joined(self._text, block) + "\n"
        elif "inlineData" in part:
            self._show(part, param)
        elif "fileData" in part:
            self._context.drop("parts.fileData")
        if signature:
            self._end_thought("")
            self._sign(signature)

    def call(self, part: Part, call_id: str, param: str) -> None:
        """A call."""
        function = part["functionCall"]
        where = f"{param}.functionCall"
        named = {"name": x_parts.read_text(function, "name", where)}
        named["arguments"] = tools.write_arguments(function.get("args"))
        call: Part = {"id": call_id, "type": "function", "function": named}
        signature = signing.from_field(part.get("thoughtSignature"))
        if owner(signature) == GOOGLE:
            call["extra_content"] = {"google": {"thought_signature": signature}}
        elif signature:
            self._end_thought("")
            self._sign(signature)
        self._calls.append(call)

    def close(self) -> Message:
        """The message."""
        self._end_thought("")
        message: Message = {"role": "assistant", "content": self._text}
        if self._calls and not self._text:
            message["content"] = None
        if self._thoughts:
            message["reasoning_content"] = self._thoughts
        if self._details:
            message["reasoning_details"] = self._details
        if self._images:
            message["images"] = self._images
        if self._calls:
            message["tool_calls"] = self._calls
        return message

    def _think(self, text: str | None, signature: str) -> None:
        if text is not None:
            self._thought += text
            if signature:
                self._end_thought(signature)
        elif signature:
            self._end_thought("")
            self._sign(signature)

    def _end_thought(self, signature: str) -> None:
        """Keep the thought so far; a wrapped signature names who thought it."""
        if self._thought or signature:
            letter = owner(signature) or GOOGLE
            if self._thought or letter != GOOGLE:
                detail = reasoning.text_detail(
                    letter, self._thought, len(self._details), signature
                )
                self._details.append(detail)
            else:
                self._sign(signature)
        self._thoughts += self._thought
        self._thought = ""

    def _sign(self, signature: str) -> None:
        """Keep a signature that has no thought of its own."""
        letter, place = owner(signature), len(self._details)
        self._details.append(reasoning.encrypted_detail(letter, signature, place))

    def _show(self, part: Part, param: str) -> None:
        """An image that the model drew; what else it gave is not kept."""
        content = read_inline(part["inlineData"], f"{param}.inlineData")
        if content.kind == "image":
            image = {"type": "image_url", "image_url": {"url": content.url}}
            self._images.append(image)
        else:
            self._context.drop(f"parts.{content.kind}")
