"""Multipart forms (RFC 7578), in which clients upload pictures and recordings.

A form is read strictly: what two readers could understand differently is refused, since
the model that is checked and charged here must be the one the provider sees. It is
always written anew, in one plain spelling: files and fields that nobody changed keep
their bytes, the boundary is the client's own (it cannot occur in what it delimits).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from attrs import evolve, field, frozen
from multipart import (  # type: ignore[import-untyped]  # it has no types
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from knight_tw.errors import InvalidRequest

TYPE = "multipart/form-data"
MOST_PARTS = 128

FLAGS, WHOLES = frozenset({"stream"}), frozenset({"n"})
"""Fields that the gateway reads as what they are in JSON."""

FILE_TOKENS, BYTES_PER_TOKEN = 8192, 32
"""Bounds: a picture has no more tokens, a recording has more bytes for each."""

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,199}[0-9A-Za-z'()+_,\-./:=?]")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False, "": False}
_WHOLE = re.compile(r"\d{1,9}")
_QUOTED = str.maketrans({"\r": "%0D", "\n": "%0A", '"': "%22"})


@frozen(eq=False)
class Part:
    """One field or file.

    Attributes:
        filename: None for a field.
        content_type: As it came, empty when it has none.
    """

    name: str
    data: bytes = field(repr=False)
    filename: str | None = None
    content_type: str = ""

    @property
    def head(self) -> str:
        """The lines in front of the part's bytes."""
        lines = [f'Content-Disposition: form-data; name="{_quoted(self.name)}"']
        if self.filename is not None:
            lines[0] += f'; filename="{_quoted(self.filename)}"'
        if self.content_type:
            lines.append(f"Content-Type: {self.content_type}")
        return "\r\n".join([*lines, "", ""])


@frozen(eq=False)
class Form:
    """A form.

    Attributes:
        fields: The texts by name, a list for a name that came more than once; `stream`
            and `n` as a truth value and a number.
    """

    boundary: str
    parts: tuple[Part, ...]
    fields: Mapping[str, Any]

    @property
    def content_type(self) -> str:
        """The header of a body that `encode` makes."""
        return f'{TYPE}; boundary="{self.boundary}"'

    @property
    def weight(self) -> int:
        """A number that its tokens cannot exceed."""
        return sum(
            len(part.data)
            if part.filename is None
            else FILE_TOKENS + len(part.data) // BYTES_PER_TOKEN
            for part in self.parts
        )

    def files(self, name: str = "") -> list[Part]:
        """The files, all or those with a name."""
        found = (part for part in self.parts if part.filename is not None)
        return [part for part in found if not name or part.name == name]

    def with_parts(self, parts: tuple[Part, ...]) -> Form:
        """The same texts with other files."""
        return evolve(self, parts=parts)

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """The body with these fields in the place of `self.fields`.

        What is missing is left out, what is new comes last; None counts as missing.
        """
        pieces: list[bytes] = []
        for part in self._chosen(fields):
            pieces += (
                b"--",
                self.boundary.encode(),
                b"\r\n",
                part.head.encode(),
                part.data,
                b"\r\n",
            )
        return b"".join([*pieces, b"--", self.boundary.encode(), b"--\r\n"])

    def _chosen(self, fields: Mapping[str, Any]) -> Iterator[Part]:
        written: set[str] = set()
        for part in self.parts:
            value = fields.get(part.name)
            if part.filename is not None or value == self.fields[part.name]:
                yield part
            elif part.name not in written:
                written.add(part.name)
                yield from _written(part.name, value)
        for name, value in fields.items():
            if name not in self.fields:
                yield from _written(name, value)


def is_form(content_type: str) -> bool:
    """True for the content type of a form."""
    return content_type.partition(";")[0].strip().lower() == TYPE


def read(body: bytes, content_type: str) -> Form:
    """The form in a body.

    Raises:
        InvalidRequest: it cannot be read, or could be read in more than one way.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequest("the content type of the form has no usable boundary")
    try:
        parts = tuple(_parts(body, boundary))
    except MultipartError as error:
        raise InvalidRequest(f"the form cannot be read: {error}") from None
    fields: dict[str, Any] = {}
    for part in parts:
        if part.filename is None:
            _add(fields, part)
    for part in parts:
        if part.filename is not None and part.name in {"model", *fields}:
            raise InvalidRequest(f"{part.name} must not be a file", param=part.name)
    return Form(boundary, parts, fields)


def _parts(body: bytes, boundary: str) -> Iterator[Part]:
    parser = PushMultipartParser(
        boundary, len(body), max_segment_count=MOST_PARTS, strict=True
    )
    pieces: list[bytes] = []
    segment: MultipartSegment | None = None
    with parser:
        for event in parser.parse(body):
            if event is None:
                yield _part(segment, b"".join(pieces))
                pieces = []
            elif isinstance(event, MultipartSegment):
                segment = event
            else:
                pieces.append(event)


def _part(segment: MultipartSegment, data: bytes) -> Part:
    name = segment.name
    if not name:
        raise InvalidRequest("a part of the form has no name")
    kind = segment.header("Content-Type", "") if segment.filename is not None else ""
    return Part(name, data, segment.filename, kind)


def _add(fields: dict[str, Any], part: Part) -> None:
    """Take in a text; a repeated one makes a list."""
    name = part.name
    try:
        text: Any = part.data.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{name} is not UTF-8", param=name) from None
    if name in FLAGS:
        text = _TRUTHS.get(text.lower())
        if text is None:
            raise InvalidRequest(f"{name} must be true or false", param=name)
    elif name in WHOLES:
        if not _WHOLE.fullmatch(text):
            raise InvalidRequest(f"{name} must be a whole number", param=name)
        text = int(text)
    if name not in fields:
        fields[name] = text
    elif isinstance(fields[name], list):
        fields[name].append(text)
    else:
        fields[name] = [fields[name], text]


def _written(name: str, value: Any) -> Iterator[Part]:
    """The parts for a value that did not come from the client."""
    if isinstance(value, list):
        for entry in value:
            yield from _written(name, entry)
    elif isinstance(value, str):
        yield Part(name, value.encode())
    elif value is not None:
        yield Part(name, msgspec.json.encode(value))


def _quoted(text: str) -> str:
    return text.translate(_QUOTED)
