"""Pictures: OpenAI's generations and edits, requests, answers and streams.

An answer is `data`, a list of `{b64_json}` or `{url}`, beside `usage` for models that
are priced by tokens. A stream (`stream: true`) is named events: previews
(`image_generation.partial_image`), then one `image_generation.completed` per picture,
each with its picture and its usage; edits say `image_edit`. Ark sends
`partial_succeeded` per picture and one `completed` with the usage of all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec
from attrs import evolve
from msgspec import Struct

from knight_tw.errors import EmptyAnswer, InvalidRequest
from knight_tw.records import Mode
from knight_tw.wire import sse, top
from knight_tw.wire.answers import AS_OPENAI, EMPTY, Plain, Reading, read_plain
from knight_tw.wire.forms import Form, Part
from knight_tw.wire.named_pass import Mark, NamedEvent, NamedPass, is_filled
from knight_tw.wire.rendered import Rendered

Body = MutableMapping[str, Any]

DEFAULT_MODEL = "gpt-image-1"
MOST_PICTURES = 128
PREVIEW_TOKENS = 100
"""Output tokens of a preview in a stream."""

SIZES: Mapping[str, frozenset[str]] = {
    "dall-e-2": frozenset({"256x256", "512x512", "1024x1024"}),
    "dall-e-3": frozenset({"1024x1024", "1024x1792", "1792x1024"}),
}
"""Of models that know no others."""

QUALITIES: Mapping[str, str] = {"dall-e-3": "standard", "gpt-image-1": "auto"}
"""What quality a model takes when none is asked for."""

TYPES: Mapping[str, str] = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
}
"""Media types by the end of a file's name (providers specification, 7.1)."""

_IMAGE = re.compile(r"image(?:\[\d*\])?")


# Requests ---------------------------------------------------------------------


def validate(body: Body) -> None:
    """Refuse what no provider can answer (relay specification, section 6).

    Raises:
        InvalidRequest: `param` names the member at fault.
    """
    model = top.read_model(body, DEFAULT_MODEL)
    size = asked_size(body)
    if "\u00d7" in size:
        raise InvalidRequest("size must be written with the letter x", param="size")
    known = SIZES.get(model)
    if known is not None and size and size not in known:
        choice = ", ".join(sorted(known))
        raise InvalidRequest(f"size must be one of {choice}", param="size")
    if picture_count(body) > 1 and model == "dall-e-3":
        raise InvalidRequest("n must be 1 for this model", param="n")
    asked_quality(body)


def picture_count(body: Body) -> int:
    """How many pictures the client asks for."""
    return top.read_whole(body, "n", 0, MOST_PICTURES) or 1


def asked_size(body: Body) -> str:
    """The size asked for, empty when none is."""
    return top.read_text(body, "size") or ""


def asked_quality(body: Body) -> str:
    """The quality asked for, else the model's usual one."""
    model = top.read_model(body, DEFAULT_MODEL)
    return top.read_text(body, "quality") or QUALITIES.get(model, "")


def uploaded(form: Form) -> Form:
    """The form as providers take it: several pictures are each named `image[]`, and
    pictures have the media type that their file's name says."""
    pictures = [part for part in form.files() if _IMAGE.fullmatch(part.name)]
    name = "image[]" if len(pictures) > 1 else "image"

    def sent(part: Part) -> Part:
        if part in pictures:
            return evolve(part, name=name, content_type=_type_of(part))
        if part.name == "mask" and part.filename is not None:
            return evolve(part, content_type=_type_of(part))
        return part

    return form.with_parts(tuple(map(sent, form.parts)))


def _type_of(part: Part) -> str:
    ending = (part.filename or "").rpartition(".")[2].lower()
    return TYPES.get(ending, "image/png")


# Answers ----------------------------------------------------------------------


class _Picture(Struct, gc=False):
    b64_json: msgspec.Raw = msgspec.Raw()
    url: Any = None
    error: Any = None

    @property
    def there(self) -> bool:
        """True when it was delivered."""
        return is_filled(self.b64_json) or bool(self.url)


class _Answer(Struct, gc=False):
    data: list[_Picture] | None = None
    images: list[_Picture] | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def read_answer(
    body: bytes, *, model: str | None = None, reading: Reading = AS_OPENAI
) -> tuple[Plain, int | None]:
    """The answer in a 200 body, and how many pictures it brings; None = unknown.

    Args:
        model: The name to show; None leaves the provider's.

    Raises:
        UpstreamRefused: the body reports an error.
        EmptyAnswer: there is no picture in it.
        BadUpstreamBody: it is not JSON.
    """
    answer = read_plain(body, model=model, reading=reading)
    count = delivered(answer.body)
    if count == 0:
        raise EmptyAnswer(EMPTY)
    return answer, count


def delivered(body: bytes) -> int | None:
    """How many pictures are in an answer, None when it is of an unknown form."""
    try:
        answer = _ANSWER.decode(body)
    except msgspec.DecodeError:
        return None
    found = answer.data if answer.data is not None else answer.images
    if found is None:
        return None
    return sum(picture.there for picture in found)


# Streams ----------------------------------------------------------------------


class ImagesPass(NamedPass):
    """The events of a provider's picture stream to the bytes for the client.

    Args:
        wanted: How many pictures the client asks for.
        tokens: What a picture counts as when the provider reports no usage.
    """

    def __init__(self, wanted: int, tokens: int, reading: Reading = AS_OPENAI) -> None:
        super().__init__(reading)
        self._wanted = wanted
        self._tokens = tokens
        self.produced.pictures = 0

    def note(self, event: NamedEvent, produced: Rendered) -> Mark:
        """See `NamedPass`."""
        kind = event.type.rpartition(".")[2]
        if kind == "partial_image":
            produced.painted += PREVIEW_TOKENS
            return Mark.CONTENT
        if kind not in ("completed", "partial_succeeded"):
            return Mark.FRAME
        brought = event.has_picture
        if brought:
            produced.pictures = (produced.pictures or 0) + 1
            produced.painted += self._tokens
        if kind == "partial_succeeded":
            return Mark.CONTENT
        last = not brought or (produced.pictures or 0) >= self._wanted
        return Mark.END if last else Mark.CONTENT


def restream(answer: Mapping[str, Any], mode: Mode) -> bytes:
    """The stream for an answer in one piece: an event per picture, the last one with
    the usage of all."""
    kind = "image_edit" if mode is Mode.IMAGE_EDITS else "image_generation"
    name = f"{kind}.completed"
    pictures = [p for p in answer.get("data") or () if isinstance(p, Mapping)]
    told = {n: v for n, v in answer.items() if n not in ("data", "usage", "created")}
    events = [
        {"type": name, "created_at": answer.get("created"), **told, **picture}
        for picture in pictures
    ]
    if events and "usage" in answer:
        events[-1]["usage"] = answer["usage"]
    return b"".join(sse.encode(top.encode(event), name) for event in events)


def assembled(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer in one piece for the events of a stream."""
    answer: dict[str, Any] = {"created": 0, "data": []}
    for event in events:
        kind = str(event.get("type")).rpartition(".")[2]
        if kind not in ("completed", "partial_succeeded"):
            continue
        picture = {n: event[n] for n in ("b64_json", "url") if event.get(n)}
        if picture:
            answer["data"].append(picture)
        answer["created"] = event.get("created_at") or answer["created"]
        if event.get("usage"):
            answer["usage"] = event["usage"]
    return answer
