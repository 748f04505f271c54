"""Types of media, data URLs, and what was downloaded."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import media
from knight_tw.convert.context import Context, Media
from knight_tw.errors import InvalidRequest, UnsupportedContent

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
SNIFFED = (
    (PNG, "image/png"),
    (b"\xff\xd8\xff\xe0", "image/jpeg"),
    (b"GIF89a", "image/gif"),
    (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
    (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
    (b"RIFF\0\0\0\0AVI LIST", "video/avi"),
    (b"RIFF\0\0\0\0ELSE", ""),
    (b"\0\0\0\x18ftypheic", "image/heic"),
    (b"\0\0\0\x18ftypavif", "image/avif"),
    (b"\0\0\0\x18ftypqt  ", "video/mov"),
    (b"\0\0\0\x18ftypisom", "video/mp4"),
    (b"%PDF-1.7", "application/pdf"),
    (b"ID3\x04", "audio/mp3"),
    (b"\xff\xfb\x90", "audio/mp3"),
    (b"\xff\xf1\x50", "audio/aac"),
    (b"\xff\x00\x50", ""),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"plain", ""),
    (b"", ""),
)


def base64_of(data: bytes) -> str:
    """Standard base64 text."""
    return base64.b64encode(data).decode()


class Types(SynchronousTestCase):
    """What the bytes say, and what is declared."""

    def test_magic_numbers(self) -> None:
        """The first bytes tell the type, or nothing."""
        for data, wanted in SNIFFED:
            self.assertEqual(media.sniff(data), wanted, data)

    def test_bytes_beat_declarations(self) -> None:
        """A declared type counts only where the bytes show nothing or agree."""
        for data, declared, wanted in (
            (PNG, "image/jpeg", "image/png"),
            (b"text", "text/csv; charset=utf-8", "text/csv"),
            (b"text", "", media.UNKNOWN),
            (b"ID3", "audio/mpeg", "audio/mpeg"),
            (b"\0\0\0\x18ftypisom", "audio/mp4", "audio/mp4"),
            (b"AAAA", "image/jpg", "image/jpeg"),
        ):
            self.assertEqual(media.true_type(data, declared), wanted)

    def test_file_names(self) -> None:
        """An extension tells a type, also at the end of a URL's path."""
        for name, wanted in (
            ("https://a.example/b/c.PNG?x=1.pdf#y", "image/png"),
            ("report.pdf", "application/pdf"),
            ("https://a.example/clip", ""),
            ("noextension", ""),
            ("a.unknown", ""),
        ):
            self.assertEqual(media.type_of_name(name), wanted)


class Blobs(SynchronousTestCase):
    """Content as base64 text."""

    @given(st.binary(max_size=200), st.sampled_from(["standard", "url", "blank"]))
    @settings(max_examples=50, deadline=None)
    def test_any_spelling_becomes_standard(self, data: bytes, spelling: str) -> None:
        """The URL-safe alphabet, missing padding and blanks become standard base64."""
        text = base64_of(data)
        if spelling == "url":
            text = base64.urlsafe_b64encode(data).decode().rstrip("=")
        elif spelling == "blank":
            text = "\n".join(text[at : at + 10] for at in range(0, len(text), 10))
        self.assertEqual(media.blob(text).data, base64_of(data))

    def test_what_is_no_base64(self) -> None:
        """Other text is refused, with the field's path."""
        error = self.assertRaises(InvalidRequest, media.blob, "!!!!", "", "a.b")
        self.assertEqual(error.param, "a.b")

    def test_data_urls(self) -> None:
        """Data URLs carry base64 or percent-encoded content."""
        found = media.read_data_url(f"DATA:image/jpeg;base64,{base64_of(PNG)}")
        self.assertEqual((found.type, found.kind), ("image/png", "image"))
        self.assertEqual(found.url, f"data:image/png;base64,{base64_of(PNG)}")
        text = media.read_data_url("data:,a%20b")
        self.assertEqual(media.decoded_text(text), "a b")
        self.assertEqual(text.type, media.PLAIN)
        self.assertRaises(InvalidRequest, media.read_data_url, "https://a.example")
        self.assertTrue(media.is_data_url("Data:x"))

    def test_files(self) -> None:
        """A file is a data URL or bare base64; its name tells what it does not."""
        for data, name, wanted in (
            ("AAAA", "a.pdf", "application/pdf"),
            (f"data:;base64,{base64_of(b'x')}", "a.csv", "text/plain"),
            ("data:application/octet-stream;base64,AAAA", "a.mp4", "video/mp4"),
            (f"data:image/png;base64,{base64_of(PNG)}", "a.pdf", "image/png"),
        ):
            self.assertEqual(media.read_file(data, name).type, wanted)

    def test_texts(self) -> None:
        """A text file loses its byte order mark; other encodings are refused."""
        self.assertEqual(media.decoded_text(media.encoded_text("\ufeffé")), "é")
        latin = media.Blob("text/plain", base64_of(b"\xe9"))
        self.assertRaises(InvalidRequest, media.decoded_text, latin)
        self.assertTrue(media.is_text("application/json"))
        self.assertFalse(media.is_text("application/pdf"))


class Downloads(SynchronousTestCase):
    """What lies behind URLs."""

    def test_content_of_urls(self) -> None:
        """A data URL carries its content, another one was downloaded or is refused."""
        url = "https://a.example/x"
        context = Context(model="m", media={url: Media(PNG, "text/html")})
        self.assertEqual(media.content_of(url, context).type, "image/png")
        self.assertEqual(media.content_of("data:,x", context).type, media.PLAIN)
        error = self.assertRaises(
            UnsupportedContent, media.content_of, "https://b.example", context, "p"
        )
        self.assertEqual(error.param, "p")
