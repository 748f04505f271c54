"""Pictures, speech, transcripts and Gemini's embeddings: translations between equal
forms, and what an uploaded form counts as."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen

from knight_tw import counting, providers
from knight_tw.convert import gemini
from knight_tw.counting import images as counted_images
from knight_tw.errors import BadUpstreamBody, UnsupportedEndpoint
from knight_tw.pricing import IMAGE_OUTPUT_TOKENS
from knight_tw.protocols.body import Machine
from knight_tw.providers.provider import Provider, Target, context_of
from knight_tw.records import Dialect, Mode
from knight_tw.relay.call import Call
from knight_tw.relay.same import SamePlain, shown_model
from knight_tw.relay.translate import Translation, Whole
from knight_tw.wire import answers, audio, images, sse, top
from knight_tw.wire import gemini as gemini_wire
from knight_tw.wire.produced import Produced
from knight_tw.wire.rendered import Rendered
from knight_tw.wire.sounds import measured

IMAGEN_TOKENS = 258
"""What one of Imagen's pictures counts as."""

PICTURES = frozenset({Mode.IMAGES, Mode.IMAGE_EDITS})
TRANSCRIPTS = frozenset({Mode.TRANSCRIPTIONS, Mode.TRANSLATIONS})
UPLOADING = TRANSCRIPTS | {Mode.IMAGE_EDITS}
"""Kinds of work whose requests may be forms."""

UNFRAMED = TRANSCRIPTS | {Mode.SPEECH}
"""Kinds of work whose answers need not be JSON."""

_OWN_EMBEDDINGS = frozenset({41})
"""Types that speak Gemini, but embed in a way of their own (Vertex by `predict`)."""

_HEAD = 73_728
"""Bytes of a picture that are looked at for its size; a multiple of three."""


def translation(call: Call, target: Target, provider: Provider) -> Translation | None:
    """How the answers of such work are read; None for other work."""
    if target.mode is not call.mode:
        return GeminiEmbeddings(SamePlain(call, target, provider), call.action)
    if call.mode in PICTURES:
        return SameImages(call, target, provider)
    if call.mode is Mode.SPEECH:
        return SameSpeech(call, target, provider)
    if call.mode in TRANSCRIPTS:
        return SameTranscript(call, target, provider)
    if call.mode is Mode.GEMINI and not call.generates:
        return SameGeminiAction(call.action)
    return None


def act(
    target: Target, call: Call, provider: Provider, native: tuple[Dialect, ...]
) -> None:
    """Fit the target to one of Gemini's actions that generate nothing: embeddings
    become OpenAI's where the channel does not have Gemini's.

    Args:
        native: The dialects that the channel speaks.

    Raises:
        UnsupportedEndpoint: the channel has no such thing.
        InvalidRequest, UnsupportedContent: a content cannot be embedded.
    """
    embeds = call.work is Mode.EMBEDDINGS
    own = embeds and provider.type_id in _OWN_EMBEDDINGS
    if Dialect.GEMINI in native and not own:
        return
    if not embeds or Mode.EMBEDDINGS not in provider.modes:
        raise UnsupportedEndpoint(
            f"the channel has no {call.work.value} of this form", retryable=True
        )
    target.mode, target.dialect = Mode.EMBEDDINGS, Dialect.CHAT
    target.path, target.query = "/v1/embeddings", ""
    asked = {name: top.plain(call.top, name) for name in call.top}
    target.asked = gemini.embeddings_to_openai(asked, context_of(target))


@frozen(eq=False)
class SameImages:
    """Pictures, generated or edited."""

    _call: Call
    _target: Target
    _provider: Provider

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        read, count = images.read_answer(
            answer,
            model=shown_model(self._call, self._target),
            reading=self._reading(),
        )
        number = self._call.choices if count is None else count
        return Whole(
            read.body, read.usage, Rendered(number, number * IMAGE_OUTPUT_TOKENS)
        )

    def assembled(self, stream: bytes) -> Whole:
        """See `Translation`."""
        return self.whole(top.encode(images.assembled(_objects(stream))))

    def restreamed(self, whole: Whole) -> bytes:
        """See `Translation`."""
        return images.restream(answers.decode_object(whole.body), self._call.mode)

    def machine(self) -> Machine:
        """See `Translation`."""
        return images.ImagesPass(
            self._call.choices, IMAGE_OUTPUT_TOKENS, self._reading()
        )

    def _reading(self) -> answers.Reading:
        return providers.reading(self._provider, self._target)


@frozen(eq=False)
class SameSpeech:
    """Speech: bytes, which go on as they come (`player`), or events."""

    _call: Call
    _target: Target
    _provider: Provider

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`; what is JSON is an error, or for the client to judge."""
        sound = measured(answer, self._kind)
        with suppress(BadUpstreamBody):
            found = answers.decode_object(answer)
            answers.refuse_errors(found, self._provider.raised_error)
        return Whole(answer, None, Rendered(sound=sound), verbatim=True)

    def assembled(self, stream: bytes) -> Whole:
        """See `Translation`."""
        machine, recording = self.machine(), []
        for event in _events(stream):
            machine.feed(event)
            value = answers.decode_object(event.data)
            recording.append(audio.decoded(value.get("audio")))
        data, kind = b"".join(recording), audio.SOUND_TYPES.get(self._kind, "")
        return Whole(data, machine.usage, machine.produced, kind or "audio/mpeg")

    def restreamed(self, whole: Whole) -> bytes:
        """See `Translation`."""
        return audio.restream_speech(whole.body)

    def machine(self) -> Machine:
        """See `Translation`."""
        reading = providers.reading(self._provider, self._target)
        return audio.SpeechPass(self._kind, reading)

    def player(self) -> Machine:
        """A machine for a recording that is sent on as it comes."""
        return audio.SoundPass(self._kind)

    @property
    def _kind(self) -> str:
        return audio.sound_format(dict(self._call.top))

    @property
    def content_type(self) -> str:
        """Of a recording whose provider names none."""
        return audio.SOUND_TYPES.get(self._kind, "application/octet-stream")


@frozen(eq=False)
class SameTranscript:
    """Transcripts and translations of recordings."""

    _call: Call
    _target: Target
    _provider: Provider

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        read = audio.read_transcript(
            answer,
            self._kind,
            model=shown_model(self._call, self._target),
            reading=self._reading(),
        )
        return Whole(read.body, read.usage, Produced(), verbatim=True)

    def assembled(self, stream: bytes) -> Whole:
        """See `Translation`."""
        found = audio.transcript_of(_objects(stream))
        usage = audio.transcript_usage(found.get("usage"), self._reading())
        if self._kind in audio.TEXTS:
            text = str(found["text"]).encode()
            return Whole(text, usage, Produced(), "text/plain; charset=utf-8")
        return Whole(top.encode(found), usage, Produced())

    def restreamed(self, whole: Whole) -> bytes:
        """See `Translation`."""
        if self._kind in audio.TEXTS:
            found = {"text": whole.body.decode(errors="replace")}
        else:
            found = answers.decode_object(whole.body)
        return audio.restream_transcript(found)

    def machine(self) -> Machine:
        """See `Translation`."""
        return audio.TranscriptPass(self._reading())

    @property
    def _kind(self) -> str:
        return audio.text_format(dict(self._call.top))

    def _reading(self) -> answers.Reading:
        return providers.reading(self._provider, self._target)


@frozen(eq=False)
class SameGeminiAction:
    """What Gemini's models do beside generating: embeddings, pictures (`predict`)."""

    _action: str

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        read = gemini_wire.read_other(answer)
        if self._action != "predict":
            return Whole(read.body, read.usage, Produced())
        number = _predicted(answers.decode_object(read.body))
        return Whole(read.body, read.usage, Rendered(number, number * IMAGEN_TOKENS))

    def assembled(self, stream: bytes) -> Whole:
        """A stream is no such answer."""
        raise answers.unreadable(stream)

    def restreamed(self, whole: Whole) -> bytes:
        """Such work is never streamed; the answer goes as it is."""
        return whole.body

    def machine(self) -> Machine:
        """Never asked for."""
        return gemini_wire.GeminiPass()


def _predicted(answer: Mapping[str, Any]) -> int:
    """The pictures in a `predict` answer."""
    found = answers.objects(answer.get("predictions"))
    return sum(bool(one.get("bytesBase64Encoded")) for one in found)


@frozen(eq=False)
class GeminiEmbeddings:
    """Gemini's embeddings on a channel that knows OpenAI's."""

    _plain: SamePlain
    _action: str

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        read = self._plain.whole(answer)
        found = gemini.embeddings_from_openai(
            answers.decode_object(read.body),
            batch=self._action == "batchEmbedContents",
        )
        return Whole(top.encode(found), read.usage, read.produced)

    def assembled(self, stream: bytes) -> Whole:
        """A stream is no such answer."""
        raise answers.unreadable(stream)

    def restreamed(self, whole: Whole) -> bytes:
        """Such work is never streamed; the answer goes as it is."""
        return whole.body

    def machine(self) -> Machine:
        """Never asked for."""
        return self._plain.machine()


def _events(stream: bytes) -> list[sse.Event]:
    decoder = sse.Decoder()
    found = (*decoder.feed(stream), *decoder.close())
    return [event for event in found if event.data.strip() not in (b"", b"[DONE]")]


def _objects(stream: bytes) -> list[dict[str, Any]]:
    """The objects of a stream that nobody asked for, errors raised."""
    found = [answers.decode_object(event.data) for event in _events(stream)]
    for value in found:
        answers.refuse_errors(value)
    return found


def form_tokens(call: Call) -> int:
    """Prompt tokens of a form: its texts, its pictures, the minutes of its recording.

    Takes as long as the recording is large: call it in a thread.
    """
    form = call.form
    if form is None:
        return 0
    if call.mode in TRANSCRIPTS:
        return sum(_heard(part.data) for part in form.files())
    tokens = counting.estimate(call.top, call.mode, call.dialect, call.model)
    for part in form.files():
        size = counted_images.size_of(b64encode(part.data[:_HEAD]).decode())
        tokens += counted_images.tokens(call.model, size)
    return tokens


def _heard(recording: bytes) -> int:
    """1000 tokens a minute; by its bytes when its length cannot be read."""
    seconds = measured(recording).seconds
    if seconds is None:
        return math.ceil(len(recording) / 1000)
    return counting.timed(seconds)
