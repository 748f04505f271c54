"""What a request asks a model to read: its texts, and the tokens of what is no text.

One function per dialect walks the body. Unknown parts are passed over: this is for
counting, not for validation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from attrs import define, field

from knight_tw.counting import images
from knight_tw.counting.audio import heard
from knight_tw.records import Dialect, Mode

MESSAGE = 3
"""Tokens that frame a chat message."""

REPLY = 3
"""Tokens that open the answer."""

PAGE = 258
"""Tokens of a page of a document that is not text, where pages are counted."""

PAGE_BYTES = 50_000
"""Bytes that such a page is taken for."""

MAX_DEPTH = 32


@define(eq=False)
class Prompt:
    """The texts of a request, and tokens that are known without counting.

    Attributes:
        media: Pictures are looked at; otherwise each counts the same.
    """

    model: str
    media: bool = True
    texts: list[str] = field(factory=list)
    tokens: int = 0

    def text(self, value: Any) -> None:
        """Take a text; anything else is passed over."""
        if isinstance(value, str) and value:
            self.texts.append(value)

    def json(self, value: Any) -> None:
        """Take a structure as the JSON that the model reads; a text as it is."""
        if isinstance(value, str):
            self.text(value)
        elif value:
            self.texts.append(msgspec.json.encode(value).decode())

    def picture(self, source: Any, detail: Any = "auto") -> None:
        """Take a picture: a data URL or base64 tells its size, an address does not."""
        if not self.media:
            self.tokens += images.UNCOUNTED
            return
        size = None
        if isinstance(source, str) and not source.startswith(("http:", "https:")):
            size = images.size_of(source)
        self.tokens += images.tokens(self.model, size, str(detail))

    def sound(self, encoded: Any, kind: Any = "") -> None:
        """Take recorded sound in base64."""
        if isinstance(encoded, str):
            self.tokens += heard(len(encoded) * 3 // 4, str(kind))

    def document(self, encoded: Any) -> None:
        """Take a document that is not text, in base64: by the page, as near as its
        size tells."""
        if isinstance(encoded, str):
            self.tokens += PAGE * max(1, len(encoded) * 3 // 4 // PAGE_BYTES)


class _Members:
    """A JSON object some of whose members nobody has decoded."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body

    def get(self, *names: str) -> Any:
        """The first member that there is, decoded."""
        for name in names:
            value = self._body.get(name)
            if isinstance(value, msgspec.Raw):
                value = msgspec.json.decode(value)
            if value is not None:
                return value
        return None


def read(
    body: Mapping[str, Any],
    mode: Mode,
    dialect: Dialect,
    model: str,
    media: bool = True,
) -> Prompt:
    """The prompt of a request body, whose members may be `msgspec.Raw`."""
    prompt = Prompt(model, media)
    walk = _BY_MODE.get(mode) or _BY_DIALECT.get(dialect)
    if walk is not None:
        walk(prompt, _Members(body))
    return prompt


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects in a list; a lone object counts as a list of one."""
    if isinstance(value, Mapping):
        yield value
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping):
                yield item


def _chat(prompt: Prompt, body: _Members) -> None:
    prompt.tokens += REPLY
    for message in _objects(body.get("messages")):
        prompt.tokens += MESSAGE
        prompt.text(message.get("role"))
        prompt.text(message.get("name"))
        _content(prompt, message.get("content"))
        prompt.text(message.get("reasoning_content"))
        for call in _objects(message.get("tool_calls")):
            _call(prompt, call.get("function"))
            _call(prompt, call.get("custom"))
        _call(prompt, message.get("function_call"))
    for name in ("tools", "functions", "response_format"):
        for tool in _objects(body.get(name)):
            prompt.json(tool.get("function") or tool.get("json_schema") or tool)


def _responses(prompt: Prompt, body: _Members) -> None:
    prompt.tokens += REPLY
    prompt.text(body.get("instructions"))
    given = body.get("input")
    prompt.text(given)
    for item in _objects(given):
        prompt.tokens += MESSAGE
        prompt.text(item.get("role"))
        _content(prompt, item.get("content"))
        _call(prompt, item)
        _content(prompt, item.get("output"))
        _content(prompt, item.get("summary"))
    for tool in _objects(body.get("tools")):
        prompt.json(tool)
    text = body.get("text")
    if isinstance(text, Mapping):
        prompt.json(text.get("format"))


def _claude(prompt: Prompt, body: _Members) -> None:
    prompt.tokens += REPLY
    _content(prompt, body.get("system"))
    for message in _objects(body.get("messages")):
        prompt.tokens += MESSAGE
        prompt.text(message.get("role"))
        _content(prompt, message.get("content"))
    for tool in _objects(body.get("tools")):
        prompt.json(tool)


def _gemini(prompt: Prompt, body: _Members) -> None:
    _turns(prompt, body.get("systemInstruction", "system_instruction"))
    _turns(prompt, body.get("contents"))
    _turns(prompt, body.get("content"))
    for request in _objects(body.get("requests")):
        _turns(prompt, request.get("content"))
    for tool in _objects(body.get("tools")):
        named = tool.get("functionDeclarations") or tool.get("function_declarations")
        for function in _objects(named):
            prompt.json(function)
    for instance in _objects(body.get("instances")):
        prompt.text(instance.get("prompt"))


def _turns(prompt: Prompt, contents: Any) -> None:
    prompt.text(contents)
    for turn in _objects(contents):
        for part in _objects(turn.get("parts")):
            _gemini_part(prompt, part)


def _gemini_part(prompt: Prompt, part: Mapping[str, Any]) -> None:
    prompt.text(part.get("text"))
    called = part.get("functionCall") or part.get("function_call")
    answered = part.get("functionResponse") or part.get("function_response")
    for thing in _objects([called, answered]):
        prompt.text(thing.get("name"))
        prompt.json(thing.get("args") or thing.get("response"))
    for name in ("inlineData", "inline_data", "fileData", "file_data"):
        for file in _objects(part.get(name)):
            kind = str(file.get("mimeType") or file.get("mime_type") or "")
            _file(prompt, kind, file.get("data"))


def _file(prompt: Prompt, kind: str, encoded: Any) -> None:
    """A file by its media type; without data it is somewhere else, of unknown size."""
    if kind.startswith("image/"):
        prompt.picture(encoded)
    elif kind.startswith("audio/"):
        prompt.sound(encoded, kind.removeprefix("audio/"))
    else:
        prompt.document(encoded)


def _content(prompt: Prompt, content: Any, depth: int = 0) -> None:
    """A text, or parts of a chat, Responses or Claude message."""
    prompt.text(content)
    if depth < MAX_DEPTH and isinstance(content, list):
        for part in content:
            if isinstance(part, Mapping):
                _part(prompt, part, depth)
            else:
                prompt.text(part)


def _part(prompt: Prompt, part: Mapping[str, Any], depth: int) -> None:
    kind = part.get("type")
    for name in ("text", "refusal", "thinking", "title", "context"):
        prompt.text(part.get(name))
    if kind in ("image_url", "input_image"):
        _image_url(prompt, part)
    elif kind in ("image", "document"):
        _source(prompt, kind, part.get("source"), depth)
    elif kind == "input_audio":
        sound = part.get("input_audio")
        if isinstance(sound, Mapping):
            prompt.sound(sound.get("data"), sound.get("format"))
    elif kind in ("file", "input_file"):
        file = part.get("file")
        holder = file if isinstance(file, Mapping) else part
        prompt.document(holder.get("file_data"))
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
        prompt.text(part.get("name"))
        prompt.json(part.get("input"))
    else:
        _content(prompt, part.get("content"), depth + 1)


def _image_url(prompt: Prompt, part: Mapping[str, Any]) -> None:
    image = part.get("image_url")
    if isinstance(image, Mapping):
        prompt.picture(image.get("url"), image.get("detail") or "auto")
    else:
        prompt.picture(image, part.get("detail") or "auto")


def _source(prompt: Prompt, kind: str, source: Any, depth: int) -> None:
    """Where a Claude picture or document comes from."""
    if not isinstance(source, Mapping):
        return
    form = source.get("type")
    if kind == "image":
        prompt.picture(source.get("data") or source.get("url"))
    elif form == "text":
        prompt.text(source.get("data"))
    elif form == "content":
        _content(prompt, source.get("content"), depth + 1)
    else:
        prompt.document(source.get("data") or "")


def _call(prompt: Prompt, call: Any) -> None:
    """A function or tool that was called."""
    if isinstance(call, Mapping):
        prompt.text(call.get("name"))
        for name in ("arguments", "input"):
            prompt.text(call.get(name))


def _texts_or_tokens(prompt: Prompt, value: Any) -> None:
    """A text, texts, token numbers, or lists of them, as embeddings take."""
    prompt.text(value)
    for item in value if isinstance(value, list) else ():
        if isinstance(item, int):
            prompt.tokens += 1
        elif isinstance(item, list):
            prompt.tokens += len(item)
        elif isinstance(item, Mapping):
            _part(prompt, item, 0)
        else:
            prompt.text(item)


def _completions(prompt: Prompt, body: _Members) -> None:
    _texts_or_tokens(prompt, body.get("prompt"))
    prompt.text(body.get("suffix"))


def _embeddings(prompt: Prompt, body: _Members) -> None:
    _texts_or_tokens(prompt, body.get("input"))


def _pictures(prompt: Prompt, body: _Members) -> None:
    """The description, and the pictures to work on, alone or in a list: an address or
    base64, an object that has one, or one that names a file somewhere else."""
    prompt.text(body.get("prompt"))
    for name in ("image", "images", "mask"):
        given = body.get(name)
        for one in given if isinstance(given, list) else (given,):
            if isinstance(one, Mapping):
                found = (one.get(n) for n in ("image_url", "url", "b64_json"))
                prompt.picture(next(filter(None, found), None))
            elif isinstance(one, str) and one:
                prompt.picture(one)


def _rerank(prompt: Prompt, body: _Members) -> None:
    prompt.text(body.get("query"))
    _texts_or_tokens(prompt, body.get("documents"))


def _speech(prompt: Prompt, body: _Members) -> None:
    """Older speech models count characters."""
    spoken = body.get("input")
    if prompt.model.startswith("tts") and isinstance(spoken, str):
        prompt.tokens += len(spoken)
    else:
        prompt.text(spoken)


_Walk = Callable[[Prompt, _Members], None]

_BY_MODE: Mapping[Mode, _Walk] = {
    Mode.COMPLETIONS: _completions,
    Mode.EMBEDDINGS: _embeddings,
    Mode.MODERATIONS: _embeddings,
    Mode.IMAGES: _pictures,
    Mode.IMAGE_EDITS: _pictures,
    Mode.RERANK: _rerank,
    Mode.SPEECH: _speech,
}
_BY_DIALECT: Mapping[Dialect, _Walk] = {
    Dialect.CHAT: _chat,
    Dialect.RESPONSES: _responses,
    Dialect.CLAUDE: _claude,
    Dialect.GEMINI: _gemini,
}
