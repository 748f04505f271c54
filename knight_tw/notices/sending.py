"""Brings one notice to one account: by mail, or by a request to an address it chose.

Such an address leads wherever its owner likes, so the outbound guard decides about it,
redirects are not followed and the answer's body is not shown to anybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from knight_tw.errors import KnightError
from knight_tw.notices import texts, ways
from knight_tw.notices.letters import BadAddress, Letter, address
from knight_tw.notices.smtp import MailFailed
from knight_tw.notices.ways import EMAIL, Errand, Notice, NoWay
from knight_tw.options import Options

STEP_SECONDS = 10.0
"""How long the receiver may take to be reached, and to answer."""


class NotTaken(KnightError):
    """The receiver did not answer, or did not like the notice."""

    status, code = 502, "upstream_failed"


class Post(Protocol):
    """What is needed of `mail.Mailer`."""

    async def send(self, letter: Letter) -> None:
        """Returns when the letter was taken."""
        ...


class Send(Protocol):
    """What is needed of `Upstream.send`."""

    def __call__(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        guarded: bool,
        connect_timeout: float,
        first_byte_timeout: float,
    ) -> Deferred[Any]:
        """An `Answer`."""
        ...


@frozen(eq=False)
class Sending:
    """Sends notices, one at a time and at once.

    Attributes:
        _allowed: Returns when the guard lets an address through; for errands that the
            worker runs.
    """

    _options: Callable[[], Options]
    _post: Post
    _send: Send
    _allowed: Callable[[str], Awaitable[None]]
    _clock: IReactorTime

    async def __call__(
        self, setting: Mapping[str, Any], email: str, notice: Notice
    ) -> None:
        """Returns when the receiver took the notice.

        Args:
            setting: The account's; says how it wants to be told, and where.
            email: The account's own address, for want of another.

        Raises:
            NoWay, NoMailServer, AddressRefused, NotTaken, UpstreamFailed,
            UpstreamTimeout.
        """
        if ways.way(setting) == EMAIL:
            await self._mail(setting.get("notification_email") or email, notice)
            return
        asked = ways.errand(setting, notice, int(self._clock.seconds()))
        options = self._options()
        worker = options.text("WorkerUrl").strip()
        if not worker:
            await self._run(asked, guarded=True)
            return
        await self._allowed(asked.url)
        key = options.text("WorkerValidKey")
        await self._run(ways.through_worker(asked, worker, key), guarded=False)

    async def _mail(self, to: object, notice: Notice) -> None:
        try:
            plain = address(to if isinstance(to, str) else "")
        except BadAddress:
            raise NoWay("no address for notices is set") from None
        site = self._options().text("SystemName")
        subject = f"{site}: {notice.title}"
        letter = texts.plain(plain, subject, notice.text.split("\n"))
        try:
            await self._post.send(letter)
        except MailFailed:  # what the mail server said is for administrators
            raise NotTaken("the letter could not be sent") from None

    async def _run(self, asked: Errand, *, guarded: bool) -> None:
        answer = await self._send(
            asked.method,
            asked.url,
            list(asked.headers),
            asked.body,
            guarded=guarded,
            connect_timeout=STEP_SECONDS,
            first_byte_timeout=STEP_SECONDS,
        )
        status = int(answer.status)
        answer.abort()
        if not 200 <= status < 300:
            raise NotTaken(f"the receiver answered with status {status}")
