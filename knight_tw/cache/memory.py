"""The cache of one process: what Redis does for several, bounded, in memory."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

MAX_KEYS = 100_000
"""Keys of each kind (windows, values) that are kept; the least used ones go first."""

MAX_MOMENTS = 100_000
"""Moments that one sliding window keeps; limits above it are not enforced."""

MAX_BYTES = 64 * 1024 * 1024
"""Characters that all values may have together."""

Heard = Callable[[str, str], None]
"""Called with kind and reference of a change that another process announced."""


@define(eq=False)
class _Value:
    text: str
    expires: float


@define(eq=False)
class _Tally:
    numbers: dict[str, int]
    expires: float


@define(eq=False)
class MemoryCache:
    """Sliding windows and short-lived values of one process. It answers at once."""

    _clock: IReactorTime
    _max_keys: int = MAX_KEYS
    _max_bytes: int = MAX_BYTES
    _windows: OrderedDict[str, deque[float]] = field(factory=OrderedDict, init=False)
    _values: OrderedDict[str, _Value] = field(factory=OrderedDict, init=False)
    _tallies: OrderedDict[str, _Tally] = field(factory=OrderedDict, init=False)
    _bytes: int = field(default=0, init=False)

    shared = False
    """Other processes do not see what is here."""

    up = True

    def allow(
        self, key: str, limit: int, window: float, now: float
    ) -> tuple[bool, float]:
        """Records a moment when fewer than `limit` lie in the window before `now`.

        Returns: whether it was recorded, else the seconds until it can be.
        """
        moments = self._window(key, window, now)
        over = len(moments) - limit
        if over >= 0:
            free = moments[over] if limit > 0 else now
            return False, max(free + window - now, 0.0)
        moments.append(now)
        return True, 0.0

    def count(self, key: str, window: float, now: float) -> tuple[int, float]:
        """How many moments lie in the window; the seconds until the first leaves."""
        moments = self._window(key, window, now)
        if not moments:
            return 0, 0.0
        return len(moments), max(moments[0] + window - now, 0.0)

    def record(self, key: str, window: float, now: float) -> None:
        """Records a moment, whatever lies in the window."""
        self._window(key, window, now).append(now)

    def get(self, key: str) -> str | None:
        """The text stored under a key, until its time is over."""
        value = self._values.get(key)
        if value is None:
            return None
        if value.expires <= self._clock.seconds():
            self.delete(key)
            return None
        self._values.move_to_end(key)
        return value.text

    def set(self, key: str, value: str, ttl: float) -> None:
        """Stores a text for `ttl` seconds; one too large for the cache is not kept."""
        self.delete(key)
        if len(value) > self._max_bytes // 4:
            return
        self._values[key] = _Value(value, self._clock.seconds() + ttl)
        self._bytes += len(key) + len(value)
        while len(self._values) > self._max_keys or self._bytes > self._max_bytes:
            self.delete(next(iter(self._values)))

    def delete(self, key: str) -> None:
        """Forgets a key."""
        value = self._values.pop(key, None)
        if value is not None:
            self._bytes -= len(key) + len(value.text)

    def scan(self, prefix: str, cursor: str = "") -> tuple[list[str], str]:
        """The keys of the values that begin with a prefix, all at once."""
        now = self._clock.seconds()
        found = [
            key
            for key, value in self._values.items()
            if key.startswith(prefix) and value.expires > now
        ]
        return found, ""

    def forget(self, keys: Sequence[str]) -> int:
        """Forgets keys; how many of them there were."""
        before = len(self._values)
        for key in keys:
            self.delete(key)
        return before - len(self._values)

    def tally(
        self, key: str, added: Mapping[str, int], stated: Mapping[str, int], ttl: float
    ) -> None:
        """Adds to some numbers under a key and states others; all live `ttl` seconds
        from now."""
        now = self._clock.seconds()
        tally = self._tallies.pop(key, None)
        if tally is None or tally.expires <= now:
            tally = _Tally({}, now)
        numbers = tally.numbers
        for name, number in added.items():
            numbers[name] = numbers.get(name, 0) + number
        numbers.update(stated)
        tally.expires = now + ttl
        self._tallies[key] = tally
        if len(self._tallies) > self._max_keys:
            self._tallies.popitem(last=False)

    def tallied(self, key: str) -> dict[str, int]:
        """The numbers under a key; empty when their time is over."""
        tally = self._tallies.get(key)
        if tally is None or tally.expires <= self._clock.seconds():
            return {}
        return dict(tally.numbers)

    def hold_at_most(self, keys: int) -> None:
        """From now on at most so many values are kept."""
        self._max_keys = keys

    def increment(self, key: str, ttl: float | None = None) -> int:
        """Adds 1 to a counter, which begins at 1 and lives `ttl` seconds from then."""
        number = int(self.get(key) or 0) + 1
        if number == 1:
            self.set(key, "1", float("inf") if ttl is None else ttl)
        else:
            value = self._values[key]
            self._bytes += len(str(number)) - len(value.text)
            value.text = str(number)
        return number

    def publish(self, kind: str, ref: str) -> bool:
        """False: there is nobody to tell through this cache."""
        return False

    def subscribe(self, heard: Heard) -> None:
        """Nothing will be heard."""

    def broadcast(self, channel: str, text: str) -> bool:
        """False, as `publish`."""
        return False

    def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """Nothing will be heard."""

    def close(self) -> Deferred[None]:
        """Nothing is open."""
        return succeed(None)

    def _window(self, key: str, window: float, now: float) -> deque[float]:
        """The moments of a key that are younger than the window, oldest first."""
        moments = self._windows.get(key)
        if moments is None:
            moments = self._windows[key] = deque(maxlen=MAX_MOMENTS)
            if len(self._windows) > self._max_keys:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(key)
        while moments and moments[0] <= now - window:
            moments.popleft()
        return moments
