"""Images, audio, video and files: their types, and the data URLs they travel in (2.3).

Media stay base64 text on their way through a conversion; of a large picture only the
first bytes are decoded, to see what it is. What the bytes say counts, a declared type
only where they say nothing. A URL that the target cannot fetch was downloaded before
the conversion and is found in `Context.media`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from attrs import frozen

from knight_tw.convert.context import Context, Media
from knight_tw.errors import InvalidRequest, UnsupportedContent

UNKNOWN = "application/octet-stream"
PDF, PLAIN = "application/pdf", "text/plain"

CLAUDE_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""Image types that Claude takes; nothing is converted."""

GEMINI_TYPES = frozenset(
    {
        PDF,
        PLAIN,
        "audio/mpeg",
        "audio/mp3",
        "audio/wav",
        "audio/aac",
        "audio/flac",
        "audio/ogg",
        "image/png",
        "image/jpeg",
        "image/webp",
        "image/heic",
        "image/heif",
        "image/gif",
        "video/mov",
        "video/mpeg",
        "video/mp4",
        "video/mpg",
        "video/avi",
        "video/wmv",
        "video/mpegps",
        "video/flv",
        "video/webm",
        "video/3gpp",
    }
)
"""Types that Gemini takes, under the names it takes them."""

_SAME: Mapping[str, str] = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-mp3": "audio/mp3",
    "audio/x-flac": "audio/flac",
    "audio/x-aac": "audio/aac",
    "video/quicktime": "video/mov",
    "video/x-msvideo": "video/avi",
    "video/x-ms-wmv": "video/wmv",
    "video/x-flv": "video/flv",
    "application/x-pdf": PDF,
}
"""Other names of types to the one used here."""

_LIKE: Mapping[str, frozenset[str]] = {
    "audio/mp3": frozenset({"audio/mpeg"}),
    "audio/ogg": frozenset({"video/ogg", "application/ogg", "audio/opus"}),
    "video/mp4": frozenset({"audio/mp4", "audio/m4a", "video/3gpp", "video/x-m4v"}),
    "video/webm": frozenset({"audio/webm", "video/x-matroska"}),
    "image/heic": frozenset({"image/heif"}),
    "video/mpeg": frozenset({"video/mpg", "video/mpegps"}),
}
"""What the first bytes say, to other types that begin with the same bytes."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", PDF),
    (b"ID3", "audio/mp3"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"FLV\x01", "video/flv"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/wmv"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/avi"}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"})
_SNIFFED = 64
"""Characters of base64 text that are looked at."""

_EXTENSIONS: Mapping[str, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": PDF,
    "txt": PLAIN,
    "md": PLAIN,
    "csv": PLAIN,
    "json": PLAIN,
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp4": "video/mp4",
    "mov": "video/mov",
    "mpeg": "video/mpeg",
    "mpg": "video/mpg",
    "avi": "video/avi",
    "wmv": "video/wmv",
    "flv": "video/flv",
    "webm": "video/webm",
    "3gp": "video/3gpp",
}

_TEXTS = frozenset(
    {
        "application/json",
        "application/xml",
        "application/javascript",
        "application/yaml",
        "application/x-yaml",
        "application/toml",
        "application/x-sh",
        "application/sql",
        "application/typescript",
    }
)
"""Types outside `text/` that are nothing but text."""

_DATA_URL = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")
_BLANK = re.compile(r"\s")


@frozen
class Blob:
    """Media inside a body: the MIME type and the content as standard base64 text."""

    type: str
    data: str

    @property
    def url(self) -> str:
        """As a data URL."""
        return data_url(self.type, self.data)

    @property
    def kind(self) -> str:
        """The first half of the type: `image`, `audio`, `video`, `text`, ..."""
        return self.type.partition("/")[0]


def sniff(data: bytes) -> str:
    """The type that the first bytes show, empty when they show none.

    About 48 bytes are enough.
    """
    for magic, mime in _MAGIC:
        if data.startswith(magic):
            return mime
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12], "")
    if data[4:8] == b"ftyp":
        return _ftyp(data[8:12])
    if len(data) > 1 and data[0] == 0xFF:
        if data[1] in (0xF1, 0xF9):
            return "audio/aac"
        if data[1] in (0xFB, 0xFA, 0xF3, 0xF2):
            return "audio/mp3"
    return ""


def _ftyp(brand: bytes) -> str:
    """The type of an ISO base media file by its major brand."""
    if brand in _HEIF_BRANDS:
        return "image/heic"
    if brand == b"avif":
        return "image/avif"
    return "video/mov" if brand == b"qt  " else "video/mp4"


def named_type(declared: str) -> str:
    """A declared type in the one spelling used here, without its parameters."""
    plain = declared.partition(";")[0].strip().lower()
    return _SAME.get(plain, plain)


def true_type(data: bytes, declared: str = "") -> str:
    """What the bytes show; the declared type where they show nothing or agree with it.

    Args:
        data: The content, or its beginning.
    """
    shown, said = sniff(data), named_type(declared)
    if not shown or said in _LIKE.get(shown, ()):
        return said or UNKNOWN
    return shown


def blob(data: str, declared: str = "", param: str | None = None) -> Blob:
    """Base64 text with its true type.

    Blanks and the URL-safe alphabet, which some clients write, become standard.

    Raises:
        InvalidRequest: the text is no base64; `param` names the field.
    """
    text = _standard(data)
    try:
        start = base64.b64decode(text[:_SNIFFED], validate=True)
    except (binascii.Error, ValueError):
        where = param or "data"
        raise InvalidRequest(f"{where} must be base64", param=param) from None
    return Blob(true_type(start, declared), text)


def _standard(data: str) -> str:
    """Base64 text in the standard alphabet, without blanks, padded."""
    if "-" in data or "_" in data:
        data = data.translate(_URL_SAFE)
    if len(data) % 4 or _BLANK.search(data):
        data = "".join(data.split()).rstrip("=")
        data += "=" * (-len(data) % 4)
    return data


def is_data_url(url: str) -> bool:
    """True for a URL that carries its content."""
    return url[:5].lower() == "data:"


def read_data_url(url: str, param: str | None = None) -> Blob:
    """The content of a data URL with its true type.

    Raises:
        InvalidRequest: it is no data URL, or its content is no base64.
    """
    found = _DATA_URL.match(url)
    if found is None:
        where = param or "url"
        raise InvalidRequest(f"{where} must be a data URL", param=param)
    rest, declared = url[found.end() :], found[1]
    if ";base64" in found[2].lower():
        return blob(rest, declared, param)
    data = unquote_to_bytes(rest)
    return Blob(true_type(data, declared or PLAIN), base64.b64encode(data).decode())


def data_url(mime: str, data: str) -> str:
    """A data URL of base64 text."""
    return f"data:{mime};base64,{data}"


def as_blob(media: Media) -> Blob:
    """Downloaded media as it travels in a body."""
    mime = true_type(media.data[:_SNIFFED], media.type)
    return Blob(mime, base64.b64encode(media.data).decode())


def downloaded(url: str, context: Context, param: str | None = None) -> Blob:
    """What the URL led to; it was downloaded before the conversion.

    Raises:
        UnsupportedContent: it was not.
    """
    media = context.media.get(url)
    if media is None:
        raise UnsupportedContent("the URL could not be downloaded", param=param)
    return as_blob(media)


def content_of(url: str, context: Context, param: str | None = None) -> Blob:
    """The content behind a URL: its own for a data URL, else what was downloaded."""
    if is_data_url(url):
        return read_data_url(url, param)
    return downloaded(url, context, param)


def is_text(mime: str) -> bool:
    """True for types that are nothing but text."""
    return mime.startswith("text/") or mime in _TEXTS


def decoded_text(content: Blob, param: str | None = None) -> str:
    """The text in a text file; a byte order mark is left out.

    Raises:
        InvalidRequest: it is no UTF-8.
    """
    try:
        return base64.b64decode(content.data).decode("utf-8-sig")
    except ValueError:
        where = param or "file"
        raise InvalidRequest(f"{where} must be UTF-8 text", param=param) from None


def encoded_text(text: str) -> Blob:
    """A text as a plain text file."""
    return Blob(PLAIN, base64.b64encode(text.encode()).decode())


def type_of_name(name: str) -> str:
    """The type that a file name or a URL's path ends in, empty when unknown."""
    path = name.partition("?")[0].partition("#")[0]
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    return _EXTENSIONS.get(extension.lower(), "") if dot else ""


def read_file(data: str, filename: str = "", param: str | None = None) -> Blob:
    """`file.file_data`: a data URL, or bare base64 whose name tells what it is not.

    Raises:
        InvalidRequest: it is neither.
    """
    if is_data_url(data):
        found = read_data_url(data, param)
        if found.type != UNKNOWN:
            return found
        return Blob(type_of_name(filename) or UNKNOWN, found.data)
    return blob(data, type_of_name(filename), param)
