"""One candidate of a Gemini answer, part by part, as deltas (specification, 8).

Whole answers and streams are read by the same code: a stream sends the deltas, a whole
answer puts them together. A delta is the change of one assistant message as OpenAI
streams it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from knight_tw.convert import finish, reasoning, tools
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import grounding, spoken
from knight_tw.convert.gemini.fences import fenced, joined
from knight_tw.convert.gemini.incoming_parts import read_inline
from knight_tw.convert.gemini.partial_calls import PartialCall
from knight_tw.convert.media import Blob
from knight_tw.convert.signatures import FORMATS, GOOGLE, wrap
from knight_tw.errors import InvalidRequest
from knight_tw.wire.answers import objects, unreadable
from knight_tw.wire.gemini_parts import keep_part
from knight_tw.wire.gemini_usage import SEARCH, searches_in

Delta = dict[str, Any]

KEPT_CITATIONS = 1000
"""Most citations of one candidate."""
KEPT_TEXT = 4 * 1024 * 1024
"""Most characters in which sources are given their place."""


@define(eq=False)
class Candidate:
    """A candidate as it grows.

    Attributes:
        index: Its number.
        reason: Gemini's `finishReason`, None until it is known.
        filled: It has content of any kind.
        parts: Gemini's own parts, kept for clients that want them.
    """

    index: int
    _context: Context
    reason: str | None = None
    filled: bool = False
    parts: list[Any] = field(factory=list)
    _message: str = ""
    _text: list[str] = field(factory=list)
    _length: int = 0
    _tail: str = ""
    _spans: dict[int, tuple[int, str]] = field(factory=dict)
    _fed: bool = False
    _after_block: bool = False
    _details: int = 0
    _thinking: bool = False
    _tools: int = 0
    _partial: PartialCall | None = None
    _images: int = 0
    _speech: spoken.Speech | None = None
    _speech_id: str = ""
    _grounding: Any = None
    _citations: list[Any] = field(factory=list)

    def feed(self, candidate: Mapping[str, Any]) -> list[Delta]:
        """The deltas for what one object says about this candidate."""
        content = candidate.get("content")
        parts = objects(content.get("parts")) if isinstance(content, Mapping) else []
        deltas: list[Delta] = []
        spans = {}
        for place, part in enumerate(parts):
            start = self._length
            new = self._part(part)
            text = "".join(str(delta.get("content", "")) for delta in new)
            if text:
                spans[place] = (start, text)
            deltas += new
        if parts:
            self._spans = {} if self._fed else spans
            self._fed = True
        if self._context.native:
            for part in parts:
                keep_part(self.parts, part)
        self._note(candidate)
        return deltas

    def end(self) -> list[Delta]:
        """The deltas that come last: open calls, the rest of the speech, sources."""
        deltas = self._end_call()
        if self._speech is not None and (rest := self._speech.close()):
            deltas.append({"audio": {"data": rest}})
        content = "".join(self._text)
        sources: Delta = {}
        cited = grounding.url_citations(self._grounding, content, self._spans)
        if cited:
            sources["annotations"] = [{**e, "index": n} for n, e in enumerate(cited)]
        if self._citations:
            named = grounding.citations(self._citations, content)
            sources["citations"] = [{**e, "index": n} for n, e in enumerate(named)]
        if sources:
            deltas.append(sources)
        return deltas + self._last()

    def ending(self) -> Delta:
        """The members of a choice that tell why it ended."""
        reason = finish.from_gemini(self.reason, self._tools > 0)
        named: Delta = {"finish_reason": reason}
        if self.reason is not None:
            named["native_finish_reason"] = self.reason
        return named

    def _note(self, candidate: Mapping[str, Any]) -> None:
        reason = candidate.get("finishReason")
        if isinstance(reason, str) and reason:
            self.reason = reason
        if isinstance(candidate.get("finishMessage"), str):
            self._message = candidate["finishMessage"]
        if candidate.get("groundingMetadata"):
            before, self._grounding = self._grounding, candidate["groundingMetadata"]
            more = searches_in(self._grounding) - searches_in(before)
            self._context.use(SEARCH, more)
        cited = candidate.get("citationMetadata")
        if isinstance(cited, Mapping):
            found = cited.get("citations") or cited.get("citationSources")
            for entry in objects(found)[:KEPT_CITATIONS]:
                room = len(self._citations) < KEPT_CITATIONS
                if room and entry not in self._citations:
                    self._citations.append(entry)

    def _last(self) -> list[Delta]:
        """The reason in words, when the answer was cut off for it; native parts."""
        deltas: list[Delta] = []
        if self._message and finish.from_gemini(self.reason) == "content_filter":
            deltas.append({"refusal": self._message})
        if self._context.native:
            kept = {"format": FORMATS[GOOGLE], "content": self.parts}
            deltas.append({"native_blocks": kept})
        return deltas

    # parts -------------------------------------------------------------------

    def _part(self, part: Mapping[str, Any]) -> list[Delta]:
        text = part.get("text")
        if part.get("thought") is True:
            deltas = self._thought(text)
        elif isinstance(text, str):
            deltas = self._content(text)
        elif "functionCall" in part:
            return self._call(part)
        elif "inlineData" in part:
            deltas = self._media(part["inlineData"])
        elif block := fenced(part):
            deltas = self._block(block)
        elif "fileData" in part:
            deltas = self._link(part["fileData"])
        else:
            deltas = []
        signature = part.get("thoughtSignature")
        return deltas + self._signature(signature) if signature else deltas

    def _content(self, text: str) -> list[Delta]:
        if not text:
            return []
        self._thinking, self.filled = False, True
        if self._after_block and not text.startswith("\n"):
            text = f"\n{text}"
        self._after_block = False
        return self._write(text)

    def _write(self, text: str) -> list[Delta]:
        if self._length < KEPT_TEXT:
            self._text.append(text)
        self._length += len(text)
        self._tail = text[-1:]
        self.filled = True
        return [{"content": text}]

    def _block(self, block: str) -> list[Delta]:
        deltas = self._write(joined(self._tail, block))
        self._after_block = True
        return deltas

    def _thought(self, text: Any) -> list[Delta]:
        """Visible reasoning; pieces that follow each other are one entry."""
        if not isinstance(text, str) or not text:
            return []
        entry: Delta = {"text": text, "index": self._details - 1}
        if not self._thinking:
            entry = reasoning.text_detail(GOOGLE, text, self._details)
            self._details += 1
            self._thinking = True
        self.filled = True
        return [{"reasoning_content": text, "reasoning_details": [entry]}]

    def _signature(self, signature: Any) -> list[Delta]:
        if not isinstance(signature, str):
            return []
        entry = reasoning.encrypted_detail(GOOGLE, signature, self._details)
        self._details += 1
        self._thinking = False
        return [{"reasoning_details": [entry]}]

    # calls -------------------------------------------------------------------

    def _call(self, part: Mapping[str, Any]) -> list[Delta]:
        call = part["functionCall"]
        if not isinstance(call, Mapping):
            return []
        self._thinking = False
        more = call.get("willContinue") is True
        partial = self._partial
        deltas: list[Delta] = []
        if call.get("name"):
            deltas = self._end_call()
            whole = not (more or call.get("partialArgs"))
            arguments = tools.write_arguments(call.get("args")) if whole else ""
            deltas.append(self._begin_call(part, call, arguments))
            if whole:
                return deltas
            partial = self._partial = PartialCall(self._tools - 1)
        elif partial is None:
            return []
        partial.feed(call)
        return deltas if more else deltas + self._end_call()

    def _begin_call(
        self, part: Mapping[str, Any], call: Mapping[str, Any], arguments: str
    ) -> Delta:
        name = tools.own_name(str(call["name"]), self._context.memory)
        call_id = call.get("id")
        named = isinstance(call_id, str) and call_id
        entry: Delta = {
            "index": self._tools,
            "id": named or self._context.ids("call_g_"),
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        signature = part.get("thoughtSignature")
        if isinstance(signature, str) and signature:
            signed = {"thought_signature": wrap(GOOGLE, signature)}
            entry["extra_content"] = {"google": signed}
        self._tools += 1
        self.filled = True
        return {"tool_calls": [entry]}

    def _end_call(self) -> list[Delta]:
        """The arguments of a call that came in pieces."""
        partial, self._partial = self._partial, None
        if partial is None:
            return []
        function = {"arguments": tools.write_arguments(partial.args)}
        return [{"tool_calls": [{"index": partial.place, "function": function}]}]

    # media -------------------------------------------------------------------

    def _media(self, inline: Any) -> list[Delta]:
        try:
            content = read_inline(inline, "inlineData")
        except InvalidRequest:
            raise unreadable(b"inlineData") from None
        mime = str(inline.get("mimeType") or "")
        self._thinking, self.filled = False, True
        if content.kind == "image":
            if self._context.settings.get("gemini_image_output") == "images":
                return [self._image(content)]
            return self._content(f"![image]({content.url})")
        asked = self._context.memory.x.get("modalities")
        if mime.startswith("audio/") and isinstance(asked, list) and "audio" in asked:
            return self._audio(mime, content)
        return self._content(f"[media]({content.url})")

    def _image(self, content: Blob) -> Delta:
        entry = {"type": "image_url", "image_url": {"url": content.url}}
        self._images += 1
        return {"images": [{**entry, "index": self._images - 1}]}

    def _audio(self, mime: str, content: Blob) -> list[Delta]:
        audio: Delta = {}
        if self._speech is None:
            asked = self._context.memory.x.get("audio")
            form = asked.get("format") if isinstance(asked, Mapping) else None
            self._speech = spoken.Speech(form == "pcm16")
            audio = {
                "id": self._context.ids("audio_"),
                "expires_at": self._context.created + spoken.LASTS,
                "transcript": "",
            }
        data = self._speech.feed(mime, content)
        return [{"audio": {**audio, "data": data}}] if audio or data else []

    def _link(self, file: Any) -> list[Delta]:
        uri = file.get("fileUri") if isinstance(file, Mapping) else None
        if not isinstance(uri, str) or not uri:
            return []
        return self._content(f"[{file.get('displayName') or uri}]({uri})")
