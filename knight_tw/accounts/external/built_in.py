"""The providers that the options describe, and what each of them is like.

Sources: GitHub https://docs.github.com/apps/oauth-apps (web application flow), Discord
https://discord.com/developers/docs/topics/oauth2, Linux DO https://connect.linux.do,
OpenID Connect Core 1.0 (UserInfo), the gateway's authentication specification 10.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from knight_tw.accounts.external.policy import Condition, Policy
from knight_tw.accounts.external.provider import Fields, Provider, Style
from knight_tw.options import Options
from knight_tw.settings import Settings
from knight_tw.storage.external_queries import Source

GITHUB, DISCORD, LINUXDO, OIDC = "github", "discord", "linuxdo", "oidc"
WECHAT, TELEGRAM = "wechat", "telegram"

LINUXDO_TOKEN = "https://connect.linux.do/oauth2/token"  # noqa: S105 - an address
LINUXDO_USER = "https://connect.linux.do/api/user"

SOURCES: Mapping[str, Source] = {
    GITHUB: Source(GITHUB, "github_id"),
    DISCORD: Source(DISCORD, "discord_id"),
    LINUXDO: Source(LINUXDO, "linux_do_id"),
    OIDC: Source(OIDC, "oidc_id"),
    WECHAT: Source(WECHAT, "wechat_id"),
    TELEGRAM: Source(TELEGRAM, "telegram_id"),
}
"""Built-in providers by slug, and the columns with the ids of their people."""


@frozen
class Addresses:
    """Addresses that the process settings may replace."""

    linuxdo_token: str = LINUXDO_TOKEN
    linuxdo_user: str = LINUXDO_USER

    @classmethod
    def of(cls, settings: Settings) -> Addresses:
        """Those of one process."""
        return cls(
            settings.linux_do_token_endpoint or LINUXDO_TOKEN,
            settings.linux_do_user_endpoint or LINUXDO_USER,
        )


def make(slug: str, options: Options, addresses: Addresses) -> Provider:
    """The built-in provider of that name, as today's options have it."""
    return _MAKERS[slug](options, addresses)


def _github(options: Options, _: Addresses) -> Provider:
    return Provider(
        slug=GITHUB,
        name="GitHub",
        source=SOURCES[GITHUB],
        prefix="github_",
        enabled=options.flag("GitHubOAuthEnabled"),
        client_id=options.text("GitHubClientId"),
        client_secret=options.text("GitHubClientSecret"),
        token_endpoint="https://github.com/login/oauth/access_token",  # noqa: S106
        user_endpoint="https://api.github.com/user",
        style=Style.JSON,
        fields=Fields(
            subject="id", username="login", display_name="name", email="email"
        ),
        moves_names=True,
    )


def _discord(options: Options, _: Addresses) -> Provider:
    return Provider(
        slug=DISCORD,
        name="Discord",
        source=SOURCES[DISCORD],
        prefix="discord_",
        enabled=options.flag("discord.enabled"),
        client_id=options.text("discord.client_id"),
        client_secret=options.text("discord.client_secret"),
        token_endpoint="https://discord.com/api/v10/oauth2/token",  # noqa: S106
        user_endpoint="https://discord.com/api/v10/users/@me",
        redirect="/oauth/discord",
        fields=Fields(subject="id", username="username", display_name="global_name"),
    )


def _linuxdo(options: Options, addresses: Addresses) -> Provider:
    least = options.integer("LinuxDOMinimumTrustLevel")
    return Provider(
        slug=LINUXDO,
        name="Linux DO",
        source=SOURCES[LINUXDO],
        prefix="linuxdo_",
        enabled=options.flag("LinuxDOOAuthEnabled"),
        client_id=options.text("LinuxDOClientId"),
        client_secret=options.text("LinuxDOClientSecret"),
        token_endpoint=addresses.linuxdo_token,
        user_endpoint=addresses.linuxdo_user,
        style=Style.BASIC,
        redirect="/api/oauth/linuxdo",
        fields=Fields(subject="id", username="username", display_name="name"),
        policy=Policy(
            (
                Condition("trust_level", "gte", least),
                Condition("silenced", "ne", True),
            )
        ),
        denied="{{provider}} does not let you in here: {{field}} is {{current}}",
    )


def _oidc(options: Options, _: Addresses) -> Provider:
    return Provider(
        slug=OIDC,
        name=options.text("oidc.display_name") or "OIDC",
        source=SOURCES[OIDC],
        prefix="oidc_",
        enabled=options.flag("oidc.enabled"),
        client_id=options.text("oidc.client_id"),
        client_secret=options.text("oidc.client_secret"),
        token_endpoint=options.text("oidc.token_endpoint"),
        user_endpoint=options.text("oidc.user_info_endpoint"),
        redirect="/oauth/oidc",
        fields=Fields(
            subject="sub",
            username="preferred_username",
            display_name="name",
            email="email",
        ),
        needs=("sub", "email"),
    )


def _wechat(options: Options, _: Addresses) -> Provider:
    return Provider(
        slug=WECHAT,
        name="WeChat",
        source=SOURCES[WECHAT],
        prefix="wechat_",
        enabled=options.flag("WeChatAuthEnabled"),
        client_secret=options.text("WeChatServerToken"),
        user_endpoint=options.text("WeChatServerAddress"),
        fields=Fields(subject="data"),
    )


def _telegram(options: Options, _: Addresses) -> Provider:
    return Provider(
        slug=TELEGRAM,
        name="Telegram",
        source=SOURCES[TELEGRAM],
        prefix="telegram_",
        enabled=options.flag("TelegramOAuthEnabled"),
        registers=False,
        client_secret=options.text("TelegramBotToken"),
        fields=Fields(subject="id"),
    )


_MAKERS: Mapping[str, Callable[[Options, Addresses], Provider]] = {
    GITHUB: _github,
    DISCORD: _discord,
    LINUXDO: _linuxdo,
    OIDC: _oidc,
    WECHAT: _wechat,
    TELEGRAM: _telegram,
}

WITH_CODES = frozenset({GITHUB, DISCORD, LINUXDO, OIDC})
"""Those that the common OAuth callback serves."""
