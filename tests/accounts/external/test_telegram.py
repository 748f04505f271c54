"""Statements of the Telegram widget."""

from __future__ import annotations

import hashlib
import hmac

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.external import telegram
from knight_tw.accounts.external.telegram import TelegramRefused

NOW = 1_795_604_332
TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
TOLD = {
    "id": "77",
    "first_name": "Tea",
    "username": "tea",
    "photo_url": "https://t.me/i/a.jpg",
    "auth_date": str(NOW),
}


def signed(**changes: str) -> dict[str, str]:
    """A statement, signed after the changes."""
    told = {**TOLD, **changes}
    return {**told, "hash": telegram.signature(told, TOKEN)}


class Statements(SynchronousTestCase):
    """`subject` and `signature`."""

    def refuses(self, told: dict[str, str], why: str, token: str = TOKEN) -> None:
        """The statement is refused for that reason."""
        with self.assertRaises(TelegramRefused) as refused:
            telegram.subject(told, token, NOW)
        self.assertIn(why, refused.exception.message)

    def test_signature(self) -> None:
        """It is the one that Telegram's page describes."""
        lines = (
            f"auth_date={NOW}\nfirst_name=Tea\nid=77\n"
            "photo_url=https://t.me/i/a.jpg\nusername=tea"
        )
        key = hashlib.sha256(TOKEN.encode()).digest()
        right = hmac.new(key, lines.encode(), hashlib.sha256).hexdigest()
        self.assertEqual(telegram.signature(TOLD, TOKEN), right)

    def test_good(self) -> None:
        """A right and fresh statement names the person; our own token is not signed."""
        self.assertEqual(telegram.subject(signed(), TOKEN, NOW), "77")
        told = {**signed(), "flow_token": "abc"}
        self.assertEqual(telegram.subject(told, TOKEN, NOW), "77")

    def test_forged(self) -> None:
        """Any change, addition or other token makes the signature wrong."""
        good = signed()
        for change in ({"id": "78"}, {"last_name": "x"}, {"hash": ""}, {"hash": "é"}):
            self.refuses({**good, **change}, "not Telegram's")
        self.refuses({**good, "hash": good["hash"].upper()}, "not Telegram's")
        self.refuses({k: v for k, v in good.items() if k != "hash"}, "not Telegram's")
        self.refuses(good, "not Telegram's", "110201543:other")

    def test_line_breaks(self) -> None:
        """A break in a name that Telegram signed does not become another id."""
        good = signed(first_name="Tea\nid=88")
        split = {**good, "first_name": "Tea", "id": "88"}
        split["id=77\nphoto_url"] = split.pop("photo_url")
        self.assertEqual(telegram.signature(split, TOKEN), good["hash"])
        self.refuses(split, "not Telegram's")

    def test_without_a_bot_token(self) -> None:
        """An empty token signs nothing."""
        told = {**TOLD, "hash": telegram.signature(TOLD, "")}
        self.refuses(told, "not Telegram's", "")

    def test_age(self) -> None:
        """Five minutes back and two ahead are the limits."""
        for shift, fine in ((-300, True), (-301, False), (120, True), (121, False)):
            told = signed(auth_date=str(NOW + shift))
            if fine:
                self.assertEqual(telegram.subject(told, TOKEN, NOW), "77")
            else:
                self.refuses(told, "too old")

    def test_no_date(self) -> None:
        """A statement without a readable date is refused."""
        for date in ("", "soon", "-5", "9" * 30):
            self.refuses(signed(auth_date=date), "no date")

    def test_nobody(self) -> None:
        """A statement must name somebody by number."""
        for person in ("", "abc", "7" * 21):
            self.refuses(signed(id=person), "nobody")
