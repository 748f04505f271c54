"""Files of a native Gemini request that Gemini itself cannot fetch.

Gemini reads its own files, Google's storage, YouTube and public `https` addresses; what
stands at a plain `http` address is fetched here and sent along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from msgspec import Raw

from knight_tw.convert import media as x_media
from knight_tw.convert.context import Context
from knight_tw.wire import top

Json = dict[str, Any]

_PLAIN = "http://"
_MARK = b"http:"


def file_urls(body: MutableMapping[str, Any]) -> list[str]:
    """The plain `http` addresses of files in a request, each once."""
    contents = body.get("contents")
    if isinstance(contents, Raw) and _MARK not in bytes(contents):
        return []
    found = (_address(part) for part in _parts(top.plain(body, "contents")))
    return list(dict.fromkeys(url for url in found if url))


def send_files(body: MutableMapping[str, Any], context: Context) -> None:
    """Put what was downloaded (`context.media`) into the request, in place.

    Raises:
        InvalidRequest: a file could not be had.
    """
    contents = top.plain(body, "contents")

    def inlined(part: Json) -> Json:
        url = _address(part)
        if not url:
            return part
        blob = x_media.downloaded(url, context)
        kept = {k: v for k, v in part.items() if k not in ("fileData", "file_data")}
        return {**kept, "inlineData": {"mimeType": blob.type, "data": blob.data}}

    body["contents"] = _changed(contents, inlined)


def _address(part: Mapping[str, Any]) -> str:
    """The plain address that a part names, or an empty text."""
    file = part.get("fileData", part.get("file_data"))
    if not isinstance(file, Mapping):
        return ""
    url = file.get("fileUri", file.get("file_uri"))
    plain = isinstance(url, str) and url.lower().startswith(_PLAIN)
    return str(url) if plain and "youtu" not in str(url) else ""


def _parts(contents: Any) -> Iterator[Json]:
    for content in contents if isinstance(contents, list) else [contents]:
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict):
                yield part


def _changed(contents: Any, change: Callable[[Json], Json]) -> Any:
    if isinstance(contents, list):
        return [_changed(content, change) for content in contents]
    if not isinstance(contents, dict) or not isinstance(contents.get("parts"), list):
        return contents
    parts = [change(p) if isinstance(p, dict) else p for p in contents["parts"]]
    return {**contents, "parts": parts}
