"""Token counts of calls, made in threads: a large text takes milliseconds, the first
one of a process loads a vocabulary."""

from __future__ import annotations

from attrs import frozen

from knight_tw import counting
from knight_tw.relay.call import Call
from knight_tw.relay.inflating import InThread
from knight_tw.relay.media import form_tokens
from knight_tw.wire.produced import Produced

CHARACTERS_PER_TOKEN = 4
"""Of a text that may not be counted (`CountToken=false`)."""


@frozen(eq=False)
class Counts:
    """Implements `relay.tab.Count`."""

    _in_thread: InThread
    _exact: bool

    async def prompt(self, call: Call) -> int:
        """Of what the client sent."""
        if call.form is not None:
            uploaded: int = await self._in_thread(form_tokens, call)
            return uploaded
        if not self._exact:
            return len(call.body) // CHARACTERS_PER_TOKEN
        counted: int = await self._in_thread(
            counting.estimate, call.top, call.mode, call.dialect, call.model
        )
        return counted

    async def answer(self, model: str, produced: Produced) -> int:
        """Of what came back."""
        if not produced.characters:
            return 0
        if not self._exact:
            return produced.characters // CHARACTERS_PER_TOKEN
        counted: int = await self._in_thread(
            counting.estimate_text, produced.text, model, produced.characters
        )
        return counted
