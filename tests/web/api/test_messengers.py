"""WeChat and Telegram through the real site."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import user_writes
from tests.web.api.external import BOT_TOKEN, External, signed
from tests.web.api.shapes import LOGIN, misfit
from tests.web.gateway import NOW, Answer, Client, now

WECHAT_USER = "http://wechat.internal:3000/api/wechat/user"


class WeChat(SynchronousTestCase):
    """Codes that the WeChat account tells people."""

    def setUp(self) -> None:
        """A gateway whose WeChat server knows the code 123456."""
        self.gateway = External()
        self.gateway.set_up()
        self.gateway.switch_on("wechat")
        self.gateway.providers.answers[WECHAT_USER] = self.server

    def server(self, asked: Any) -> tuple[int, Any]:
        """The WeChat server's answer."""
        if asked.headers["Authorization"] != "wx-secret-1":
            return 401, {"success": False, "message": "who are you"}
        if asked.url.endswith("?code=123456"):
            return 200, {"success": True, "message": "", "data": "oAbC-77"}
        return 200, {"success": False, "message": "no such code", "data": ""}

    def test_login(self) -> None:
        """A right code opens a new account, and the same one later."""
        answer = self.gateway.ask("GET", "/api/oauth/wechat?code=123456")
        self.assertEqual(misfit(answer.data, LOGIN), "")
        self.assertEqual(answer.data["username"], "wechat_2")
        self.assertEqual(answer.data["display_name"], "WeChat User")
        self.assertEqual(answer.data["user"]["wechat_id"], "oAbC-77")
        again = self.gateway.ask("GET", "/api/oauth/wechat?code=123456&state=y")
        self.assertEqual(again.data["id"], 2)

    def test_off(self) -> None:
        """Switched off, the server is not asked."""
        self.gateway.set_option("WeChatAuthEnabled", "false")
        answer = self.gateway.ask("GET", "/api/oauth/wechat?code=x&state=y")
        self.assertEqual((answer.status, answer.code), (200, "login_closed"))
        self.assertEqual(self.gateway.providers.sent, [])

    def test_wrong_code(self) -> None:
        """What the server does not know is a wrong code; none is none."""
        ask = self.gateway.ask
        self.assertEqual(ask("GET", "/api/oauth/wechat?code=1%262").code, "wrong_code")
        (asked,) = self.gateway.providers.sent
        self.assertTrue(asked.url.endswith("?code=1%262"))
        self.assertEqual(ask("GET", "/api/oauth/wechat").code, "missing_field")

    def test_server_away(self) -> None:
        """Another answer is the server's failure."""
        self.gateway.providers.answers[WECHAT_USER] = (500, b"")
        answer = self.gateway.ask("GET", "/api/oauth/wechat?code=123456")
        self.assertEqual(answer.code, "upstream_failed")

    def test_other_site(self) -> None:
        """Another site cannot make a browser log in."""
        answer = self.gateway.ask(
            "GET",
            "/api/oauth/wechat?code=123456",
            None,
            {"Sec-Fetch-Site": "cross-site"},
        )
        self.assertEqual((answer.status, answer.code), (403, "AUTH_ORIGIN_FORBIDDEN"))

    def test_bind(self) -> None:
        """Both forms bind; without a login neither does."""
        ann = self.gateway.add_user("ann")
        path = "/api/oauth/wechat/bind"
        caller = self.gateway.browser("ann")
        self.assertTrue(caller.get(f"{path}?code=123456").json["success"])
        self.assertEqual(self.gateway.row(ann)["wechat_id"], "oAbC-77")
        self.assertTrue(caller.post(path, {"code": "123456"}).json["success"])
        self.assertEqual(caller.post(path, {"code": "9"}).code, "wrong_code")
        for method in ("GET", "POST"):
            answer = self.gateway.ask(method, f"{path}?code=123456")
            self.assertEqual(answer.status, 401)

    def test_bind_taken(self) -> None:
        """A WeChat account that opens another account is refused."""
        self.gateway.ask("GET", "/api/oauth/wechat?code=123456")
        self.gateway.add_user("ann")
        answer = self.gateway.bearer("ann").get("/api/oauth/wechat/bind?code=123456")
        self.assertEqual(answer.code, "already_exists")


class Telegram(SynchronousTestCase):
    """Statements of the widget."""

    def setUp(self) -> None:
        """A gateway where ann is bound to Telegram's 77."""
        self.gateway = External()
        self.gateway.set_up()
        self.gateway.switch_on("telegram")
        self.ann = self.gateway.add_user("ann")
        self.bob = self.gateway.add_user("bob")

    def login(self, told: dict[str, str], headers: Any = None) -> Answer:
        """The answer to a login with a statement."""
        path = f"/api/oauth/telegram/login?{urlencode(told)}"
        return self.gateway.ask("GET", path, None, headers)

    def bind(self, client: Client, told: dict[str, str], **headers: str) -> Answer:
        """The answer to a binding with a statement."""
        return client.get(f"/api/oauth/telegram/bind?{urlencode(told)}", **headers)

    def bound(self, user_id: int) -> str:
        """The account's Telegram id."""
        return str(self.gateway.row(user_id)["telegram_id"])

    def statement(self, **told: str) -> dict[str, str]:
        """A fresh statement; each has its own hash."""
        self.gateway.clock.advance(1)
        return signed(self.gateway.clock.seconds(), **told)

    def test_login(self) -> None:
        """The owner comes in; a statement counts once."""
        self.assertTrue(self.bind(self.gateway.bearer("ann"), self.statement()).json)
        told = self.statement(username="tea", last_name="Ünal & Co")
        answer = self.login(told)
        self.assertEqual(answer.data["username"], "ann")
        self.assertEqual(answer.data["session"]["login_method"], "telegram")
        again = self.login(told)
        self.assertEqual((again.status, again.code), (200, "wrong_credentials"))

    def test_not_bound(self) -> None:
        """Telegram opens no account that it is not bound to, and makes none."""
        self.assertEqual(self.login(self.statement()).code, "registration_closed")

    def test_forged(self) -> None:
        """Forged and old statements are refused, blanks and order do not matter."""
        good = self.statement()
        for told in (
            {**good, "id": "78"},
            {**good, "extra": ""},
            signed(NOW, "999:other"),
            signed(self.gateway.clock.seconds() - 301),
            {"id": "1", "hash": "x"},
            {f"p{n}": "x" for n in range(30)},
        ):
            self.assertEqual(self.login(told).code, "wrong_credentials", told)
        turned = dict(reversed(self.statement(first_name=" Tea ").items()))
        self.assertEqual(self.login(turned).code, "registration_closed")

    def test_off(self) -> None:
        """Switched off, nothing is looked at."""
        self.gateway.set_option("TelegramOAuthEnabled", "false")
        answer = self.gateway.ask("GET", "/api/oauth/telegram/login?id=1&hash=x")
        self.assertEqual((answer.status, answer.code), (200, "login_closed"))
        client = self.gateway.bearer("ann")
        path = "/api/oauth/telegram/bind/start"
        self.assertEqual(client.post(path).code, "login_closed")

    def test_login_by_another_site(self) -> None:
        """Another site cannot log a browser in as somebody else."""
        headers = {"Sec-Fetch-Site": "cross-site"}
        self.assertEqual(self.login(self.statement(), headers).status, 403)

    def test_bind_by_page(self) -> None:
        """The widget of older consoles sends the browser, which has only its cookie."""
        client = self.gateway.browser("ann")
        del client.headers["New-Api-User"]
        page = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
        answer = self.bind(client, self.statement(), **page)
        self.assertEqual((answer.status, answer.body), (302, b""))
        self.assertEqual(answer.get("Location"), "/console/personal")
        self.assertEqual(self.bound(self.ann), "77")

    def test_bind_by_another_site(self) -> None:
        """Another site, or a pasted address, cannot bind a stranger's Telegram."""
        client = self.gateway.browser("ann")
        del client.headers["New-Api-User"]
        for site in ("cross-site", "none"):
            headers = {"Sec-Fetch-Site": site}
            answer = self.bind(client, self.statement(), **headers)
            self.assertEqual(answer.code, "AUTH_ORIGIN_FORBIDDEN")
        self.assertEqual(self.bound(self.ann), "")

    def test_bind_without_login(self) -> None:
        """Nobody is nobody."""
        client = Client(self.gateway, {})
        self.assertEqual(self.bind(client, self.statement()).status, 401)

    def test_bind_taken(self) -> None:
        """A bound Telegram account does not change hands."""
        self.bind(self.gateway.bearer("ann"), self.statement())
        answer = self.bind(self.gateway.bearer("bob"), self.statement())
        self.assertEqual(answer.code, "already_exists")
        self.assertEqual((self.bound(self.ann), self.bound(self.bob)), ("77", ""))

    def test_bind_by_flow(self) -> None:
        """A flow token binds to the account that began it, once."""
        data = self.gateway.bearer("ann").post("/api/oauth/telegram/bind/start").data
        self.assertEqual(set(data), {"flow_token", "expires_at"})
        asked = urlencode(self.statement())
        path = f"/api/oauth/telegram/bind/{data['flow_token']}?{asked}"
        answer = self.gateway.ask("GET", path)
        self.assertEqual(answer.json, {"success": True, "message": "bind"})
        self.assertEqual(self.bound(self.ann), "77")
        again = self.gateway.ask("GET", path)
        self.assertEqual((again.status, again.code), (403, "code_expired"))

    def test_flow_of_an_ended_session(self) -> None:
        """When the session that began it is over, nothing is bound."""
        client = self.gateway.bearer("ann")
        token = client.post("/api/oauth/telegram/bind/start").data["flow_token"]
        client.post("/api/user/auth/logout")
        asked = urlencode(self.statement())
        answer = self.gateway.ask("GET", f"/api/oauth/telegram/bind/{token}?{asked}")
        self.assertEqual((answer.status, answer.code), (401, "AUTH_SESSION_REVOKED"))

    def test_expired_flow(self) -> None:
        """After ten minutes a flow token is nothing."""
        client = self.gateway.bearer("ann")
        token = client.post("/api/oauth/telegram/bind/start").data["flow_token"]
        self.gateway.clock.advance(601)
        asked = urlencode(self.statement())
        answer = self.gateway.ask("GET", f"/api/oauth/telegram/bind/{token}?{asked}")
        self.assertEqual(answer.status, 403)

    def test_deleted_owner(self) -> None:
        """The owner's deletion closes this way in too."""
        self.bind(self.gateway.bearer("ann"), self.statement())
        now(self.gateway.db.run(user_writes.soft_delete, self.ann, NOW))
        self.assertEqual(self.login(self.statement()).code, "login_closed")

    def test_secret_stays(self) -> None:
        """No answer holds the bot's token."""
        for answer in (
            self.login(self.statement()),
            self.gateway.ask("GET", "/api/status"),
        ):
            self.assertNotIn(BOT_TOKEN.encode(), answer.body)
