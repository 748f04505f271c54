"""What a charge rests on: the provider's usage, else what was produced, counted.

The order is billing's (section 9): provider > counted > estimated. When the provider
reports nothing, the prompt is our estimate and the completion is counted from the text;
when nothing was produced either, nothing is charged and the row says so. Pictures and
sound are counted by the number and the length of what was delivered.
"""

from __future__ import annotations

from attrs import evolve

from knight_tw.counting import speech_tokens
from knight_tw.ledger import COUNTED, PROVIDER
from knight_tw.records import Usage
from knight_tw.relay.tab import Tab
from knight_tw.wire.produced import Produced
from knight_tw.wire.rendered import Rendered

UNBILLED = "the upstream gave no billing information"


async def settle(tab: Tab, usage: Usage | None, produced: Produced) -> Usage:
    """Charges a finished or broken-off answer once; the usage it was charged by.

    `usage` of an answer that broke off may know the prompt but not the completion.
    """
    reported = settle_reported(tab, usage, produced)
    if reported is not None:
        return reported
    return await settle_counted(tab, usage, produced)


def settle_reported(tab: Tab, usage: Usage | None, produced: Produced) -> Usage | None:
    """Charges an answer whose usage the provider has reported, as nearly always; else
    None, and `settle_counted` has to follow."""
    tab.closing()
    if usage is None or not (usage.completion or not produced.characters):
        return None
    pictures = produced.pictures if isinstance(produced, Rendered) else None
    tab.settle(usage, PROVIDER, "", pictures)
    return usage


async def settle_counted(tab: Tab, usage: Usage | None, produced: Produced) -> Usage:
    """Charges an answer by what was delivered; see `settle`."""
    rendered = produced if isinstance(produced, Rendered) else None
    if rendered is not None and rendered.there:
        charged = await _reckoned(tab, rendered)
        content = ""
    elif not produced.characters and usage is None and not tab.input_only:
        charged, content = Usage(), UNBILLED
    else:
        charged = await _counted(tab, usage or Usage(), produced)
        content = ""
    pictures = None if rendered is None else rendered.pictures
    tab.settle(charged, COUNTED, content, pictures)
    return charged


async def _reckoned(tab: Tab, rendered: Rendered) -> Usage:
    """The prompt's estimate, and what the pictures and the sound count as."""
    prompt, spoken, sound = await tab.estimate(), 0, rendered.sound
    if sound is not None:
        spoken = speech_tokens(sound.size, sound.kind, sound.seconds)
    completion = rendered.painted + spoken
    return Usage(
        prompt=prompt,
        completion=completion,
        total=prompt + completion,
        image_out=rendered.painted,
        audio_out=spoken,
    )


async def _counted(tab: Tab, usage: Usage, produced: Produced) -> Usage:
    """The usage with what is missing counted."""
    prompt = usage.prompt or await tab.estimate()
    completion = await tab.count(produced)
    return evolve(
        usage, prompt=prompt, completion=completion, total=prompt + completion
    )
