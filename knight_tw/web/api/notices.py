"""Trying out where the own notices go: `POST /api/user/setting/test`."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.limits import Limits, Mark
from knight_tw.notices.sending import Sending
from knight_tw.notices.ways import EMAIL, LOW_BALANCE, MARK, Notice, way
from knight_tw.notices.words import language, say
from knight_tw.options import Options
from knight_tw.storage import users
from knight_tw.storage.database import Database
from knight_tw.web.api import user_fields
from knight_tw.web.api.answers import (
    client_ip,
    header,
    install,
    json_body,
    not_found,
    ok,
)
from knight_tw.web.auth import Guard, Viewer, Who, allow


@frozen(eq=False)
class NoticesApi:
    """The route that sends a test notice."""

    _db: Database
    _guard: Guard
    _limits: Limits
    _send: Sending
    _options: Callable[[], Options]

    app = Klein()
    install(app)

    @app.route("/api/user/setting/test", methods=["POST"])
    @allow(Who.USER)
    async def test(self, request: Request, viewer: Viewer) -> bytes:
        """Send one test notice as the body, a form of the settings, says."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        changes = user_fields.setting(json_body(request), viewer.role)
        user = await self._db.read(users.find, viewer.id)
        if user is None:
            raise not_found("user")
        setting = {**user.setting, **changes}
        if way(setting) == EMAIL:
            to = str(setting.get("notification_email") or user.email)
            for who in (viewer.id, to.strip().lower()):
                await self._limits.check(Mark.EMAIL_CODE, who)
        site = self._options().text("SystemName")
        spoken = language(
            str(setting.get("language") or ""), header(request, "Accept-Language")
        )
        await self._send(setting, user.email, trial(spoken, site))
        return ok()


def trial(spoken: str, site: str) -> Notice:
    """The notice that shows that notices arrive; of the kind that users get."""
    title, content = say(spoken, "trial.title"), say(spoken, "trial.text", mark=MARK)
    return Notice(LOW_BALANCE, title, content, (title, site))
