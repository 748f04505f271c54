"""What everybody may know: `/api/status`, the public texts, the published ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.first_start import FirstStart
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.errors import DatabaseAway
from knight_tw.options import Options
from knight_tw.records import ROLE_ADMIN
from knight_tw.storage import oauth_queries
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import Refusal, client_ip, install, ok
from knight_tw.web.auth import Guard, Viewer, Who, allow, mark

_FLAGS = {
    "email_verification": "EmailVerificationEnabled",
    "github_oauth": "GitHubOAuthEnabled",
    "discord_oauth": "discord.enabled",
    "linuxdo_oauth": "LinuxDOOAuthEnabled",
    "telegram_oauth": "TelegramOAuthEnabled",
    "wechat_login": "WeChatAuthEnabled",
    "turnstile_check": "TurnstileCheckEnabled",
    "display_in_currency": "DisplayInCurrencyEnabled",
    "enable_drawing": "DrawingEnabled",
    "enable_task": "TaskEnabled",
    "enable_data_export": "DataExportEnabled",
    "default_collapse_sidebar": "DefaultCollapseSidebar",
    "mj_notify_enabled": "MjNotifyEnabled",
    "demo_site_enabled": "DemoSiteEnabled",
    "self_use_mode_enabled": "SelfUseModeEnabled",
    "register_enabled": "RegisterEnabled",
    "password_login_enabled": "PasswordLoginEnabled",
    "password_register_enabled": "PasswordRegisterEnabled",
    "default_use_auto_group": "DefaultUseAutoGroup",
    "api_info_enabled": "console_setting.api_info_enabled",
    "uptime_kuma_enabled": "console_setting.uptime_kuma_enabled",
    "announcements_enabled": "console_setting.announcements_enabled",
    "faq_enabled": "console_setting.faq_enabled",
    "oidc_enabled": "oidc.enabled",
    "passkey_login": "passkey.enabled",
    "passkey_allow_insecure": "passkey.allow_insecure_origin",
    "checkin_enabled": "checkin_setting.enabled",
}
_TEXTS = {
    "github_client_id": "GitHubClientId",
    "discord_client_id": "discord.client_id",
    "linuxdo_client_id": "LinuxDOClientId",
    "telegram_bot_name": "TelegramBotName",
    "system_name": "SystemName",
    "logo": "Logo",
    "footer_html": "Footer",
    "wechat_qrcode": "WeChatAccountQRCodeImageURL",
    "turnstile_site_key": "TurnstileSiteKey",
    "docs_link": "general_setting.docs_link",
    "quota_display_type": "general_setting.quota_display_type",
    "custom_currency_symbol": "general_setting.custom_currency_symbol",
    "data_export_default_time": "DataExportDefaultTime",
    "HeaderNavModules": "HeaderNavModules",
    "SidebarModulesAdmin": "SidebarModulesAdmin",
    "oidc_client_id": "oidc.client_id",
    "oidc_authorization_endpoint": "oidc.authorization_endpoint",
    "passkey_user_verification": "passkey.user_verification",
    "passkey_attachment": "passkey.attachment_preference",
    "top_up_link": "TopUpLink",
    "chat_link": "ChatLink",
}
_NUMBERS = {
    "linuxdo_minimum_trust_level": "LinuxDOMinimumTrustLevel",
    "quota_per_unit": "QuotaPerUnit",
    "custom_currency_exchange_rate": "general_setting.custom_currency_exchange_rate",
    "usd_exchange_rate": "USDExchangeRate",
    "price": "Price",
    "stripe_unit_price": "StripeUnitPrice",
}
_PUBLISHED_RATIOS = {
    "model_ratio": "ModelRatio",
    "completion_ratio": "CompletionRatio",
    "cache_ratio": "CacheRatio",
    "create_cache_ratio": "CreateCacheRatio",
    "model_price": "ModelPrice",
}
_PUBLISHED_IF_SET = {
    "billing_mode": "billing_setting.billing_mode",
    "billing_expr": "billing_setting.billing_expr",
}

LOCAL_ADDRESS = "http://localhost:3000"
"""`server_address` while the administrator named none."""


@frozen(eq=False)
class StatusApi:
    """The public routes about the site itself.

    Args:
        active: How many requests are being answered.
        warnings: Codes of what is wrong with this process, for administrators.
        started_at: Start of the process, unix seconds.
    """

    _db: Database
    _guard: Guard
    _limits: Limits
    _start: FirstStart
    _options: Callable[[], Options]
    _active: Callable[[], int]
    _warnings: Callable[[], Sequence[str]]
    _version: str
    _started_at: int

    app = Klein()
    install(app)

    @app.route("/api/status", methods=["GET"])
    @mark(Who.ANYONE)
    async def status(self, request: Request) -> bytes:
        """Everything a console needs before anybody logs in."""
        data = site_facts(self._options())
        data["version"] = self._version
        data["start_time"] = self._started_at
        away = False
        try:
            data["setup"] = await self._start.done()
            providers = await self._db.read(oauth_queries.public_providers)
            if providers:
                data["custom_oauth_providers"] = providers
            viewer = await self._guard.visitor(request)
        except DatabaseAway:
            # The page must come up all the same; only a set-up gateway has an outage.
            data.setdefault("setup", True)
            viewer, away = None, True
        if viewer is not None and viewer.role >= ROLE_ADMIN:
            data["warnings"] = list(self._warnings())
        elif away:
            data["warnings"] = ["database_unavailable"]
        return ok(data)

    @app.route("/api/status/test", methods=["GET"])
    @allow(Who.ADMIN)
    async def test(self, request: Request, viewer: Viewer) -> bytes:
        """That the server and its database answer; 503 when they do not."""
        return ok(
            message="the server is running",
            http_stats={"active_connections": self._active()},
        )

    @app.route("/api/notice", methods=["GET"])
    @mark(Who.ANYONE)
    def notice(self, request: Request) -> bytes:
        """The administrator's notice."""
        return ok(self._options().text("Notice"))

    @app.route("/api/about", methods=["GET"])
    @mark(Who.ANYONE)
    def about(self, request: Request) -> bytes:
        """The page about the site."""
        return ok(self._options().text("About"))

    @app.route("/api/home_page_content", methods=["GET"])
    @mark(Who.ANYONE)
    def home_page_content(self, request: Request) -> bytes:
        """The administrator's own front page."""
        return ok(self._options().text("HomePageContent"))

    @app.route("/api/user-agreement", methods=["GET"])
    @mark(Who.ANYONE)
    def user_agreement(self, request: Request) -> bytes:
        """The terms of use."""
        return ok(self._options().text("legal.user_agreement"))

    @app.route("/api/privacy-policy", methods=["GET"])
    @mark(Who.ANYONE)
    def privacy_policy(self, request: Request) -> bytes:
        """The privacy policy."""
        return ok(self._options().text("legal.privacy_policy"))

    @app.route("/api/ratio_config", methods=["GET"])
    @mark(Who.ANYONE)
    async def ratio_config(self, request: Request) -> bytes:
        """The ratios, for other gateways to copy, when the administrator allows it."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        options = self._options()
        if not options.flag("ExposeRatioEnabled"):
            raise Refusal("the ratios are not public", 403, code="not_configured")
        data = {name: options.json(key) for name, key in _PUBLISHED_RATIOS.items()}
        for name, key in _PUBLISHED_IF_SET.items():
            if options.json(key):
                data[name] = options.json(key)
        return ok(data)


def site_facts(options: Options) -> dict[str, Any]:
    """The part of the status that the options alone decide."""
    facts: dict[str, Any] = {name: options.flag(key) for name, key in _FLAGS.items()}
    facts.update({name: options.text(key) for name, key in _TEXTS.items()})
    facts.update({name: options.decimal(key) for name, key in _NUMBERS.items()})
    address = options.text("ServerAddress") or LOCAL_ADDRESS
    system_name = options.text("SystemName")
    facts.update(
        theme="default",
        server_address=address,
        chats=options.json("Chats") or [],
        enable_batch_update=False,
        oidc_display_name=options.text("oidc.display_name") or "OIDC",
        passkey_display_name=options.text("passkey.rp_display_name") or system_name,
        passkey_rp_id=options.text("passkey.rp_id") or urlsplit(address).hostname or "",
        passkey_origins=options.text("passkey.origins") or address,
        user_agreement_enabled=bool(options.text("legal.user_agreement")),
        privacy_policy_enabled=bool(options.text("legal.privacy_policy")),
    )
    for name in ("api_info", "announcements", "faq"):
        if facts[f"{name}_enabled"]:
            facts[name] = _listed(options, name)
    return facts


def _listed(options: Options, name: str) -> list[Any]:
    """Entries of a console list with an id each; announcements newest first."""
    entries = options.json(f"console_setting.{name}") or []
    numbered = [{"id": place, **entry} for place, entry in enumerate(entries, 1)]
    if name == "announcements":
        numbered.sort(key=lambda entry: str(entry.get("publishDate")), reverse=True)
    return numbered
