"""Filling in the OIDC options from the provider's discovery document.

Source: OpenID Connect Discovery 1.0, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from knight_tw.accounts.external.exchange import Exchange, ProviderFailed, is_web

WELL_KNOWN = "oidc.well_known"
ENDPOINTS: Mapping[str, str] = {
    "oidc.authorization_endpoint": "authorization_endpoint",
    "oidc.token_endpoint": "token_endpoint",
    "oidc.user_info_endpoint": "userinfo_endpoint",
}
"""Options, and the members of the document that fill them."""

LONGEST = 512


@frozen
class OidcDiscovery:
    """Completes writes of options."""

    _exchange: Exchange

    async def completed(self, rows: Mapping[str, str | None]) -> dict[str, str | None]:
        """`rows` with the endpoints of a new `oidc.well_known`; what they say stays.

        The address is root's own, like those of channels: it may be inside the network.

        Raises:
            ProviderFailed: the document cannot be read, or names no endpoints.
        """
        completed = dict(rows)
        url = (rows.get(WELL_KNOWN) or "").strip()
        wanted = [option for option in ENDPOINTS if not rows.get(option)]
        if not url or not wanted:
            return completed
        if not is_web(url):
            raise ProviderFailed(
                f"{WELL_KNOWN} is not an address of HTTP",
                status=422,
                code="invalid_field",
                param=WELL_KNOWN,
            )
        document = await self._exchange.discovery(url, guarded=False)
        for option in wanted:
            found = document.get(ENDPOINTS[option])
            if not isinstance(found, str) or not is_web(found) or len(found) > LONGEST:
                raise ProviderFailed(
                    f"the discovery document has no {ENDPOINTS[option]}"
                )
            completed[option] = found
        return completed
