"""Cloudflare Turnstile: was the form filled in by a person?

API: https://developers.cloudflare.com/turnstile/get-started/server-side-validation/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from knight_tw.errors import KnightError
from knight_tw.options import Options

log = Logger()

VERIFY_URL = "https://challenges.cloudflare.com/turnstile/v0/siteverify"
TIMEOUT_SECONDS = 10.0


class CaptchaFailed(KnightError):
    """No answer to the captcha, a wrong one, or nobody to ask."""

    status, code = 422, "captcha_failed"


class HttpClient(Protocol):
    """What is needed of `treq.client.HTTPClient`."""

    def post(
        self,
        url: str,
        /,
        *,
        data: dict[str, str],
        timeout: float,
        allow_redirects: bool,
    ) -> Deferred[Any]:
        """A response with `.content()`."""
        ...


@frozen
class Turnstile:
    """Asks Cloudflare, when the administrator switched the check on."""

    _options: Callable[[], Options]
    _http: HttpClient

    async def check(self, answer: str, client: str) -> None:
        """Returns when `answer` is right or the check is off.

        Args:
            answer: Query argument `turnstile`.
            client: The caller's address.

        Raises:
            CaptchaFailed.
        """
        options = self._options()
        if not options.flag("TurnstileCheckEnabled"):
            return
        if not answer:
            raise CaptchaFailed("the captcha has not been answered")
        form = {
            "secret": options.text("TurnstileSecretKey"),
            "response": answer,
            "remoteip": client,
        }
        try:
            verdict = await self._ask(form)
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - any failure of a foreign server
            log.warn("Turnstile could not be asked: {why}", why=repr(error))
            raise CaptchaFailed("the captcha could not be checked") from None
        if verdict.get("success") is not True:
            raise CaptchaFailed("the captcha was not accepted")

    async def _ask(self, form: Mapping[str, str]) -> dict[str, Any]:
        response = await self._http.post(
            VERIFY_URL, data=dict(form), timeout=TIMEOUT_SECONDS, allow_redirects=False
        )
        body: bytes = await response.content()
        return msgspec.json.decode(body[:65_536], type=dict[str, Any])
