"""The letters that the gateway writes. What comes from elsewhere is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from knight_tw.notices.letters import Letter
from knight_tw.notices.words import say


def verification(spoken: str, to: str, site: str, code: str, minutes: int) -> Letter:
    """The letter with the code that proves an address, in the language `spoken`."""
    return plain(
        to,
        say(spoken, "code.subject", site=site),
        (
            say(spoken, "code.intro", site=site),
            code,
            say(spoken, "code.end", minutes=minutes),
        ),
    )


def password_reset(spoken: str, to: str, site: str, link: str, minutes: int) -> Letter:
    """The letter with the link that sets a new password."""
    return plain(
        to,
        say(spoken, "reset.subject", site=site),
        (
            say(spoken, "reset.intro", site=site),
            link,
            say(spoken, "reset.end", minutes=minutes),
        ),
    )


def mail_test(spoken: str, to: str, site: str) -> Letter:
    """The letter by which an administrator tries out the mail server."""
    subject = say(spoken, "test.subject", site=site)
    return plain(to, subject, (say(spoken, "test.text", site=site),))


def plain(to: str, subject: str, paragraphs: Iterable[str]) -> Letter:
    """A letter of paragraphs; those that are an address become a link."""
    told = [one for one in paragraphs if one]
    html = "\n".join(f"<p>{_linked(one)}</p>" for one in told)
    return Letter(to, subject, "\n\n".join(told) + "\n", f"{html}\n")


def _linked(paragraph: str) -> str:
    safe = escape(paragraph)
    if paragraph.startswith(("https://", "http://")) and " " not in paragraph:
        return f'<a href="{safe}">{safe}</a>'
    return safe
