"""External logins that go wrong: old rows, providers that refuse or are silent."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from knight_tw.accounts.external import built_in
from knight_tw.accounts.external.built_in import Addresses
from knight_tw.errors import UpstreamFailed
from knight_tw.storage import user_writes
from tests.web.api.external import GITHUB_TOKEN, GITHUB_USER, OCTO, OAuthCase
from tests.web.gateway import NOW, now


class OldGitHubRows(OAuthCase):
    """Rows of older programs hold GitHub's user name, which can change hands."""

    def old(self, name: str, created_at: int = NOW - 86_400, **columns: Any) -> int:
        """An account that an older program bound by name."""
        return self.gateway.add_user(
            "veteran", github_id=name, created_at=created_at, **columns
        )

    def test_moved(self) -> None:
        """The name becomes the id when the GitHub account is the older one."""
        old = self.old("Octo")
        self.assertEqual(self.gateway.come("github", OCTO).data["id"], old)
        self.assertEqual(self.gateway.row(old)["github_id"], "583231")
        self.assertIn("GitHub by its id", "".join(self.gateway.contents()))
        renamed = {**OCTO, "login": "somebody"}
        self.assertEqual(self.gateway.come("github", renamed).data["id"], old)

    def test_recycled_name(self) -> None:
        """A younger GitHub account of that name gets an account of its own."""
        old = self.old("octo")
        young = {**OCTO, "created_at": "2026-11-25T00:00:00Z"}
        made = self.gateway.come("github", young).data["id"]
        self.assertNotEqual(made, old)
        self.assertEqual(self.gateway.row(old)["github_id"], "octo")

    def test_age_unknown(self) -> None:
        """Where our account's age is unknown, ninety days of theirs are needed."""
        old = self.old("octo", created_at=0)
        recent = {**OCTO, "created_at": "2026-10-01T00:00:00Z"}
        self.assertNotEqual(self.gateway.come("github", recent).data["id"], old)
        grown = {**OCTO, "id": 2, "created_at": "2026-08-01T00:00:00Z"}
        self.assertEqual(self.gateway.come("github", grown).data["id"], old)

    def test_no_age_told(self) -> None:
        """Without a creation time nothing is moved."""
        old = self.old("octo", created_at=0)
        for told in (None, "yesterday", 5):
            person = {**OCTO, "created_at": told}
            self.assertNotEqual(self.gateway.come("github", person).data["id"], old)

    def test_name_that_looks_like_an_id(self) -> None:
        """Somebody who is called like another's id does not get the other's account."""
        victim = self.gateway.come("github", OCTO).data["id"]
        thief = {**OCTO, "id": 7, "login": "583231"}
        self.assertNotEqual(self.gateway.come("github", thief).data["id"], victim)

    def test_deleted(self) -> None:
        """A deleted veteran is refused."""
        old = self.old("octo")
        now(self.gateway.db.run(user_writes.soft_delete, old, NOW))
        self.assertEqual(self.gateway.come("github", OCTO).code, "login_closed")


class Failures(OAuthCase):
    """Providers that refuse, break off, or answer nonsense."""

    def fails(self, token: Any, user: Any = (404, {})) -> dict[str, Any]:
        """The refusal when the provider answers so."""
        self.gateway.providers.answers.update({GITHUB_TOKEN: token, GITHUB_USER: user})
        state, _ = self.gateway.begin("github")
        answer = self.gateway.back("github", "right", state)
        self.assertEqual((answer.status, answer.code), (200, "upstream_failed"))
        self.assertNotIn(b"gh-secret-1", answer.body)
        self.assertEqual(self.count(), 1)
        return dict(answer.json)

    def test_refused_code(self) -> None:
        """The provider's reason is told, shortened, without our secret."""
        told = {"error": "bad", "error_description": "gh-secret-1 is " + "x" * 900}
        refusal = self.fails((200, told))
        self.assertLess(len(refusal["message"]), 400)

    def test_secrets_in_their_words(self) -> None:
        """Neither our secret nor the person's token is passed on in an error."""
        told = {"error_description": "client gh-secret-1 is unknown"}
        self.assertIn("is unknown", self.fails((401, told))["message"])
        told = {"message": "token-of-right-1 may not"}
        refusal = self.fails((200, {"access_token": "token-of-right-1"}), (403, told))
        self.assertNotIn("token-of-right-1", refusal["message"])

    def test_statuses(self) -> None:
        """Any status but success is a failure, and is named."""
        self.assertEqual(self.fails((503, b"<html>"))["params"]["status"], 503)
        good = (200, {"access_token": "t"})
        self.assertEqual(self.fails(good, (401, {}))["params"]["status"], 401)

    def test_nonsense(self) -> None:
        """Bodies that are no objects, tokens that are no texts, people without id."""
        for token in ((200, b"[]"), (200, b"\xff"), (200, {"access_token": 5})):
            self.fails(token)
        self.fails((200, {"access_token": "a\r\nb"}))
        good = (200, {"access_token": "t"})
        for user in (b"null", {}, {"id": True}, {"id": ""}, {"id": {"a": 1}}):
            self.fails(good, (200, user))
        self.fails(good, (200, {"id": "9" * 300}))

    def test_form_answer(self) -> None:
        """A token endpoint may answer with a form."""
        token = (200, b"access_token=token-of-right&scope=user")
        self.gateway.providers.knows("github", "right", OCTO)
        self.gateway.providers.answers[GITHUB_TOKEN] = token
        state, _ = self.gateway.begin("github")
        self.assertTrue(self.gateway.back("github", "right", state).data)

    def test_unreachable(self) -> None:
        """The reason of a broken connection stays in the log."""
        broken = UpstreamFailed("failed", detail="10.0.0.1 said no")
        self.assertNotIn("10.0.0.1", self.fails(broken)["message"])

    def test_too_large(self) -> None:
        """More than a megabyte is not read."""
        self.fails((200, b" " * 1_048_577))

    def test_silent(self) -> None:
        """After ten seconds the login is given up, and the request with it."""
        cancelled: list[object] = []
        silent: Deferred[Any] = Deferred(cancelled.append)
        self.gateway.providers.answers[GITHUB_TOKEN] = silent
        github = built_in.make("github", self.gateway.options, Addresses())
        asking = Deferred.fromCoroutine(
            self.gateway.exchange.claims(github, "right", "")
        )
        self.gateway.clock.advance(9.9)
        self.assertNoResult(asking)
        self.gateway.clock.advance(0.2)
        failure = self.failureResultOf(asking)
        self.assertIn("no answer in time", failure.getErrorMessage())
        self.assertEqual(len(cancelled), 1)

    def test_error_from_the_provider(self) -> None:
        """What the provider put into the address is told; the state is used up."""
        state, _ = self.gateway.begin("github")
        answer = self.gateway.back(
            "github", "", state, error="access_denied", error_description="No thanks"
        )
        self.assertEqual(answer.code, "upstream_failed")
        self.assertIn("No thanks", answer.json["message"])
        self.assertEqual(self.gateway.back("github", "x", state).status, 403)

    def test_no_code(self) -> None:
        """A callback without a code is refused before the provider is asked."""
        state, _ = self.gateway.begin("github")
        self.assertEqual(self.gateway.back("github", "", state).code, "missing_field")
        self.assertEqual(self.gateway.providers.sent, [])

    def test_real_statuses(self) -> None:
        """Consoles that ask for real statuses get them."""
        real = {"X-Knight-Status": "real"}
        state, _ = self.gateway.begin("github")
        answer = self.gateway.back("github", "right", state, real)
        self.assertEqual((answer.status, answer.code), (502, "upstream_failed"))
