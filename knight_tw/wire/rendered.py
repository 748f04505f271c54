"""Answers that are no text: what was delivered, for charges without reported usage."""

from __future__ import annotations

from knight_tw.wire.produced import Produced
from knight_tw.wire.sounds import Sound


class Rendered(Produced):
    """Pictures and sound of one answer.

    Attributes:
        pictures: How many were delivered; None when that cannot be told.
        painted: What they count as, tokens.
        sound: What was spoken, None when nothing is.
    """

    __slots__ = ("painted", "pictures", "sound")

    def __init__(
        self,
        pictures: int | None = None,
        painted: int = 0,
        sound: Sound | None = None,
    ) -> None:
        super().__init__()
        self.pictures = pictures
        self.painted = painted
        self.sound = sound

    @property
    def there(self) -> bool:
        """True when anything was delivered, if only a preview."""
        heard = self.sound is not None and self.sound.size > 0
        return bool(self.pictures or self.painted or heard)
