"""Administration of payments beyond options: the declaration of compliance, Waffo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.storage import option_queries
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    encode,
    flag,
    install,
    invalid,
    json_body,
    ok,
    refuse,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.top_ups import TERMS_VERSION
from knight_tw.web.auth import Guard, Viewer, Who, allow

_KEYS = "payment_setting.compliance_"


@frozen(eq=False)
class PaymentSettingsApi:
    """Root's routes about payments."""

    _db: Database
    _guard: Guard
    _audit: Audit
    _changed: Callable[[str, str], Awaitable[None]]
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/option/payment_compliance", methods=["POST"])
    @allow(Who.ROOT)
    async def confirm(self, request: Request, viewer: Viewer) -> bytes:
        """Note that the operator declared to follow the law; nothing depends on it."""
        if not flag(json_body(request), "confirmed", False):
            raise invalid("confirmed", "true")
        now = int(self._now())
        rows = {
            f"{_KEYS}confirmed": "true",
            f"{_KEYS}terms_version": TERMS_VERSION,
            f"{_KEYS}confirmed_at": str(now),
            f"{_KEYS}confirmed_by": str(viewer.id),
            f"{_KEYS}confirmed_ip": client_ip(request),
        }
        await self._db.run(option_queries.save_all, rows, (), viewer.id, now)
        told = {"terms_version": TERMS_VERSION}
        self._audit.write(request, viewer, "option.payment_compliance", told)
        await self._changed("option", "")
        return ok(
            {
                "confirmed": True,
                "confirmed_at": now,
                "confirmed_by": viewer.id,
                "terms_version": TERMS_VERSION,
            }
        )

    @app.route("/api/option/waffo-pancake/<path:what>", methods=["GET", "POST"])
    @allow(Who.ROOT)
    async def pancake(self, request: Request, viewer: Viewer, what: str) -> bytes:
        """Waffo Pancake's set-up, which this gateway does not have."""
        why = "Waffo Pancake is not configured"
        refusal = Refusal(why, code="not_configured")
        refuse(request, refusal)
        return encode(
            {
                "success": False,
                "message": "error",
                "data": why,
                "code": refusal.code,
                "params": {},
            }
        )
