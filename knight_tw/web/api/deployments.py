"""`/api/deployments/`: machines rented at io.net, which are not managed here."""

from __future__ import annotations

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.web.api.answers import Refusal, install, ok
from knight_tw.web.auth import Guard, Viewer, Who, allow

_METHODS = ["GET", "POST", "PUT", "DELETE"]


@frozen(eq=False)
class DeploymentsApi:
    """The routes of the deployment pages; consoles show them as switched off."""

    _guard: Guard

    app = Klein()
    install(app)

    @app.route("/api/deployments/settings", methods=["GET"])
    @allow(Who.ADMIN)
    async def settings(self, request: Request, viewer: Viewer) -> bytes:
        """Nothing is set up."""
        return ok(
            {
                "provider": "io.net",
                "enabled": False,
                "configured": False,
                "can_connect": False,
            }
        )

    @app.route("/api/deployments/", methods=["GET", "POST"])
    @allow(Who.ADMIN)
    async def listing(self, request: Request, viewer: Viewer) -> bytes:
        """There are no deployments."""
        raise _refusal()

    @app.route("/api/deployments/<path:what>", methods=_METHODS)
    @allow(Who.ADMIN)
    async def others(self, request: Request, viewer: Viewer, what: str) -> bytes:
        """Nor anything to do with one."""
        raise _refusal()


def _refusal() -> Refusal:
    return Refusal("io.net deployments are not configured", code="not_configured")
