"""The settings of a process, read once from its environment and frozen.

`Settings` is the table: one field per variable, named after it in lower case, with
its kind, default, example and meaning (`docs/configuration.md` is made from it). What
is not here is not read. Run-time options, which administrators change while the gateway
runs, are another matter: see `options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from knight_tw.dotenv import dotenv
from knight_tw.variables import (
    ADDRESS,
    ANYTHING,
    ENDPOINTS,
    PROCESSES,
    REDIS,
    SECRET,
    SettingsError,
    Variable,
    addresses,
    choice,
    computed,
    flag,
    flag_or_none,
    number_or_none,
    opaque,
    proxy,
    seconds,
    text,
    web,
    whole,
    words,
)

__all__ = [
    "LATER",
    "VARIABLES",
    "WITHOUT_EFFECT",
    "Settings",
    "SettingsError",
    "dotenv",
]

OURS = "KNIGHT_"
"""Variables with this prefix are ours alone, so an unknown one is a mistake."""

ELSEWHERE = ("KNIGHT_TEST_", "KNIGHT_CONSOLE")
"""Prefixes of ours that the tests and the build read, not the gateway."""

WITHOUT_EFFECT = (
    "ENABLE_PPROF",
    "PYROSCOPE_*",
    "THEME",
    "USER_CONTENT_REQUEST_PROXY",
    "ENABLE_METRIC",
    "METRIC_*",
    "TEST_PROMPT",
    "GEMINI_VISION_MAX_IMAGE_NUM",
    "GEMINI_MODEL_MAP",
)
"""Variables of older gateways that are accepted and ignored; the log says so once."""

LATER = "Accepted for parts to come"
"""Heading of the variables that are checked but that no part reads yet."""

PORTS = 65535
DSN = "root:pw@tcp(127.0.0.1:3306)/knight"


def _default_listen(settings: Settings) -> tuple[str, ...]:
    return (f"tcp:{settings.port}",)


def _default_crypto_secret(settings: Settings) -> str:
    return settings.session_secret


@frozen(kw_only=True)
class Settings:
    """What the environment says; `Settings()` holds every default.

    Times are seconds unless a name says otherwise, sizes are in the unit of their name.
    """

    port: int = whole(
        3000, "8080", "TCP port, on all addresses.", most=PORTS, begins="Listening"
    )
    listen: tuple[str, ...] = computed(
        ENDPOINTS,
        _default_listen,
        "ssl:443:privateKey=key.pem:certKey=cert.pem",
        "Where to listen: one or more Twisted endpoint strings, separated by blanks. "
        "Wins over `PORT`.",
        shown="tcp:$PORT",
    )
    workers: int = computed(
        PROCESSES,
        lambda _: 1,
        "1",
        "Processes that share the port; `auto` is one per core. "
        "This version runs one process and refuses other values.",
        shown="1",
    )
    fast_lane: bool = flag(
        True,
        "Relay calls are answered by the gateway's own HTTP protocol. "
        "With `false` all go through `twisted.web`: slower, same answers.",
    )
    trusted_proxies: tuple[str, ...] = addresses(
        "127.0.0.0/8,::1/128",
        "10.0.0.0/8,127.0.0.1",
        "Addresses and networks whose `X-Forwarded-*` headers are believed; "
        "`none` believes nobody.",
    )
    client_head_timeout: float = seconds(
        15, "10", "A client must send its whole request head within this time."
    )
    client_idle_timeout: float = seconds(
        120,
        "75",
        "A kept-alive connection without a request is closed after this time.",
    )
    client_write_timeout: float = seconds(
        30, "60", "A client that takes no byte of its answer for this long is dropped."
    )
    drain_timeout: float = seconds(
        120,
        "30",
        "Calls in flight may finish this long after SIGTERM.",
        aliases=("SHUTDOWN_TIMEOUT_SECONDS",),
    )
    max_request_body_mb: int = whole(
        128, "32", "Largest request body of a relay call, after decompression.", least=1
    )
    anonymous_request_body_limit_kb: int = whole(
        512, "64", "Largest request body of a caller who is not logged in.", least=1
    )

    data_dir: str = text(
        "data",
        "/var/lib/knight-omega",
        "Folder of the SQLite file, the journal and the generated secret.",
        begins="Storage",
    )
    sql_dsn: str = computed(
        ADDRESS,
        lambda _: "",
        DSN,
        "Main database: `user:pw@tcp(host:3306)/db` (MySQL, MariaDB), "
        "`postgres://user:pw@host/db`, or an SQLAlchemy URL. Empty or `local`: SQLite.",
        shown="",
        secret=True,
    )
    log_sql_dsn: str = text(
        "",
        "postgres://knight:pw@127.0.0.1/logs",
        "A separate database for the call log; empty: the main one.",
        secret=True,
    )
    sqlite_path: str = text(
        "one-api.db?_busy_timeout=30000",
        "knight.db",
        "SQLite file, relative to `DATA_DIR`; of the query part only `_busy_timeout` "
        "(milliseconds) counts.",
    )
    sql_max_idle_conns: int = whole(
        4, "2", "Database connections kept open.", least=1, most=1000
    )
    sql_max_open_conns: int = whole(
        16,
        "32",
        "Most database connections, and the size of the database thread pool.",
        least=1,
        most=1000,
    )
    sql_max_lifetime: float = seconds(
        60, "300", "A database connection is renewed at this age; 0: never."
    )
    sql_slow_threshold_ms: int = whole(
        200, "1000", "Database work that takes longer is logged; 0: none is."
    )
    redis_conn_string: str = computed(
        REDIS,
        lambda _: "",
        "redis://127.0.0.1:6379/0",
        "Redis for rate limits and invalidations between processes; empty: memory.",
        shown="",
        secret=True,
    )
    redis_pool_size: int = whole(10, "20", "Connections to Redis.", least=1, most=1000)
    redis_timeout_ms: int = whole(
        50,
        "100",
        "Longest wait for Redis before memory is used instead.",
        least=1,
        most=60_000,
    )
    redis_key_prefix: str = text(
        "", "staging:", "Put before each Redis key, in front of `knight:`."
    )
    sync_frequency: float = seconds(
        60, "30", "Options, channels and prices are re-read this often.", least=1
    )
    memory_cache_enabled: bool = flag(
        False, "No effect: channels are always kept in memory."
    )

    journal_fsync: str = choice(
        "interval",
        "always",
        "When the journal is forced to the disk: at each write, at an interval, or "
        "when the system likes.",
        ("always", "interval", "never"),
        begins="Money",
    )
    journal_fsync_seconds: float = seconds(
        1, "0.2", "The interval of `JOURNAL_FSYNC=interval`.", least=0.01
    )
    journal_max_mb: int = whole(
        1024,
        "4096",
        "Journal that the database has not yet taken; beyond it calls get 503.",
        least=1,
    )
    ledger_flush_seconds: float = seconds(
        0.1, "1", "Period in which charges and log rows reach the database.", least=0.01
    )
    interrupt_drain_max: int = whole(
        100, "20", "Interrupted streams that are read to their end at the same time."
    )
    interrupt_drain_seconds: float = seconds(
        120, "60", "Longest reading of an interrupted stream for its true usage."
    )
    batch_update_enabled: bool = flag(
        False, "No effect: charges are always written in batches."
    )
    batch_update_interval: float = seconds(
        5, "5", "No effect: see `LEDGER_FLUSH_SECONDS`."
    )

    session_secret: str = computed(
        SECRET,
        lambda _: "",
        "9f0c…",
        "Signs the session cookies. Empty: made once and kept in "
        "`DATA_DIR/session_secret`. Several machines must share one.",
        shown="generated",
        secret=True,
        begins="Accounts and access",
    )
    crypto_secret: str = computed(
        ANYTHING,
        _default_crypto_secret,
        "51e2…",
        "Root of the keys that encrypt and hash stored values.",
        shown="$SESSION_SECRET",
        secret=True,
    )
    initial_root_password: str = opaque(
        "correct-horse", "The first start makes the user `root` with this password."
    )
    initial_root_token: str = opaque(
        "sk-…", "The first start gives `root` this API token (48 letters and digits)."
    )
    initial_root_access_token: str = opaque(
        "0b7d…", "The first start gives `root` this access token for the API."
    )
    session_cookie_secure: bool = flag(
        False, "Cookies are `Secure` also when the request did not come over TLS."
    )
    session_cookie_trusted_url: str = web(
        "",
        "https://gateway.example.com",
        "An origin, besides the gateway's own, that may refresh and end sessions.",
    )
    user_session_active_limit: int = whole(
        50, "10", "Sessions of one user at the same time.", least=1
    )
    user_session_issuance_limit: int = whole(
        100, "50", "Sessions one user may begin within the window.", least=1
    )
    user_session_issuance_window_seconds: int = whole(
        86400, "3600", "The window of `USER_SESSION_ISSUANCE_LIMIT`.", least=1
    )
    user_session_revoked_retention_days: int = whole(
        7, "30", "Ended sessions are kept this long.", least=1
    )
    user_session_hourly_alert_threshold: int = whole(
        5000, "500", "More new sessions in an hour are logged as a warning."
    )
    global_api_rate_limit_enable: bool = flag(
        True, "Limits requests of one address to `/api`."
    )
    global_api_rate_limit: int = whole(360, "600", "Requests in its window.", least=1)
    global_api_rate_limit_duration: int = whole(
        180, "60", "The window, in seconds.", least=1
    )
    global_web_rate_limit_enable: bool = flag(
        True, "Limits requests of one address to pages and files."
    )
    global_web_rate_limit: int = whole(120, "300", "Requests in its window.", least=1)
    global_web_rate_limit_duration: int = whole(
        180, "60", "The window, in seconds.", least=1
    )
    critical_rate_limit_enable: bool = flag(
        True, "Limits log-in, access tokens and other delicate routes per address."
    )
    critical_rate_limit: int = whole(20, "10", "Requests in its window.", least=1)
    critical_rate_limit_duration: int = whole(
        1200, "600", "The window, in seconds.", least=1
    )
    search_rate_limit_enable: bool = flag(True, "Limits searches of one user.")
    search_rate_limit: int = whole(10, "30", "Requests in its window.", least=1)
    search_rate_limit_duration: int = whole(
        60, "60", "The window, in seconds.", least=1
    )
    linux_do_token_endpoint: str = web(
        "",
        "https://connect.example.com/oauth2/token",
        "Token address of Linux DO.",
        shown="Linux DO's",
    )
    linux_do_user_endpoint: str = web(
        "",
        "https://connect.example.com/api/user",
        "User address of Linux DO.",
        shown="Linux DO's",
    )

    streaming_timeout: float = seconds(
        300,
        "120",
        "Longest silence of an upstream within a stream.",
        least=0.001,
        begins="Relay",
    )
    relay_timeout: float = seconds(
        0, "600", "Longest upstream call from its first byte to its last; 0: no limit."
    )
    relay_first_byte_timeout: float = seconds(
        900,
        "120",
        "Longest wait for the first byte of an answer that is not streamed; "
        "0: no limit.",
    )
    upstream_connect_timeout: float = seconds(
        30, "5", "Longest TCP connect and TLS handshake with an upstream.", least=0.001
    )
    relay_max_conns_per_host: int = whole(
        1000, "200", "Open connections to one upstream; further calls wait.", least=1
    )
    relay_idle_conn_timeout: float = seconds(
        90, "30", "An unused upstream connection is closed after this time."
    )
    relay_max_idle_conns: int = whole(
        500, "200", "Unused connections to all upstreams."
    )
    relay_max_idle_conns_per_host: int = whole(
        100, "50", "Unused connections to one upstream."
    )
    relay_proxy: str = proxy(
        "socks5://127.0.0.1:1080",
        "Proxy for channels that name none.",
    )
    http_proxy: str = proxy(
        "http://proxy.example.com:3128",
        "Proxy for `http` addresses when neither channel nor `RELAY_PROXY` names one.",
        aliases=("http_proxy",),
    )
    https_proxy: str = proxy(
        "http://proxy.example.com:3128",
        "The same for `https` addresses.",
        aliases=("https_proxy",),
    )
    no_proxy: tuple[str, ...] = words(
        "",
        "localhost,.example.com,10.0.0.0/8",
        "Hosts that are reached without those two.",
        aliases=("no_proxy",),
    )
    address_guard_allow: tuple[str, ...] = words(
        "",
        "ollama.lan,10.1.0.0/16,127.0.0.1:9000",
        "Hosts, addresses and networks, optionally with a port, that the outbound "
        "guard always lets through.",
    )
    tls_insecure_skip_verify: bool = flag(
        False, "Accepts any certificate of an upstream. For tests only."
    )
    stream_scanner_max_buffer_mb: int = whole(
        64, "16", "Longest single event of an upstream's stream.", least=1
    )
    force_stream_option: bool = flag(
        True,
        "Asks each upstream for usage in streams, also when the client did not.",
        aliases=("ENFORCE_INCLUDE_USAGE",),
    )
    count_token: bool = flag(
        True,
        "Counts text locally when an upstream reports no usage.",
        name="CountToken",
    )
    get_media_token: bool = flag(True, "Counts images in such an estimate.")
    get_media_token_not_stream: bool = flag(
        False, "Counts them also when the answer is not streamed."
    )
    tiktoken_cache_dir: str = text(
        "", "/var/cache/tiktoken", "Folder with tokenizer files."
    )
    data_gym_cache_dir: str = text("", "/var/cache/tiktoken", "Older name of the same.")
    azure_default_api_version: str = text(
        "2025-04-01-preview",
        "2024-12-01-preview",
        "`api-version` of Azure channels that name none.",
    )
    sync_upstream_base: str = web(
        "https://basellm.github.io/llm-metadata",
        "https://mirror.example.com/llm-metadata",
        "Where descriptions of models come from when an administrator asks for them.",
    )
    sync_http_timeout_seconds: float = seconds(
        10, "30", "Longest such download.", least=0.1
    )
    sync_http_retry: int = whole(3, "1", "Tries of such a download.", most=100)
    sync_http_max_mb: int = whole(10, "20", "Largest such download.", least=1)
    error_log_enabled: bool = flag(False, "Failed calls get a log row too.")

    node_type: str = choice(
        "master",
        "slave",
        "A `slave` changes no tables and takes no background work.",
        ("master", "slave"),
        begins="Node and background work",
    )
    node_name: str = text("", "gateway-2", "Label of this node.", shown="host name")
    channel_test_frequency: float | None = number_or_none(
        "30", "Minutes between tests of all channels.", shown="the option"
    )
    channel_test_enabled: bool | None = flag_or_none(
        "Switches those tests on or off.", shown="the option"
    )
    polling_interval: float = seconds(0, "1", "Pause between two channel tests.")
    metrics_token: str = opaque(
        "m3trics", "Bearer token of `/metrics`; empty: loopback callers only."
    )
    debug: bool = flag(False, "Logs more; `GIN_MODE=debug` means the same.")
    version: str = text("", "1.2.3", "Overrides the version that is reported.")
    tz: str = text("", "Europe/Berlin", "Time zone of calendar days.", shown="system's")

    frontend_base_url: str = web(
        "",
        "https://gateway.example.com",
        "A slave redirects web pages to this address.",
        begins=LATER,
    )
    channel_update_frequency: float | None = number_or_none(
        "60", "Minutes between updates of channel balances.", shown="never"
    )
    channel_upstream_model_update_task_enabled: bool = flag(
        True, "Watches the model lists of channels."
    )
    channel_upstream_model_update_task_interval_minutes: int = whole(
        30, "60", "Minutes between two looks.", least=1
    )
    channel_upstream_model_update_min_check_interval_seconds: int = whole(
        300,
        "600",
        "Shortest time between two looks at one channel.",
        aliases=("CHANNEL_UPSTREAM_MODEL_UPDATE_TASK_MIN_CHECK_INTERVAL_SECONDS",),
    )
    update_task: bool = flag(True, "Polls asynchronous tasks.")
    task_query_limit: int = whole(1000, "200", "Tasks polled in one round.", least=1)
    task_timeout_minutes: int = whole(
        1440, "60", "A task that takes longer has failed.", least=1
    )
    task_price_patch: tuple[str, ...] = words(
        "", "sora-2", "Task models billed without further ratios."
    )
    max_file_download_mb: int = whole(
        64, "20", "Largest file fetched for a conversion.", least=1
    )
    dify_debug: bool = flag(True, "Shows workflow nodes of Dify.")
    gemini_safety_setting: str = text(
        "BLOCK_NONE",
        "BLOCK_ONLY_HIGH",
        "Superseded by the option `gemini.safety_settings`.",
    )
    cohere_safety_setting: str = text("NONE", "CONTEXTUAL", "Cohere's safety mode.")
    ali_anthropic_messages_models: tuple[str, ...] = words(
        "qwen,deepseek-v4,kimi,glm,minimax-m",
        "qwen",
        "Prefixes of Alibaba models that take Claude messages.",
    )
    notify_limit_count: int = whole(2, "1", "Notices of one kind per window.", least=1)
    notification_limit_duration_minute: int = whole(
        10, "60", "That window, in minutes.", least=1
    )
    generate_default_token: bool = flag(False, "A new user gets a token.")
    smtp_starttls_enable: bool = flag(
        False,
        "Default of the option `SMTPStartTLSEnabled`.",
        aliases=("SMTP_STARTTLS_ENABLED",),
    )
    smtp_insecure_skip_verify: bool = flag(
        False,
        "Default of the option `SMTPInsecureSkipVerify`.",
        aliases=("SMTP_TLS_INSECURE_SKIP_VERIFY",),
    )
    trusted_redirect_domains: tuple[str, ...] = words(
        "", "example.com", "Domains that payment pages may return to."
    )
    subscription_plan_cache_ttl: int = whole(300, "60", "Seconds a plan is cached.")
    subscription_plan_cache_cap: int = whole(5000, "1000", "Plans in that cache.")
    subscription_plan_info_cache_ttl: int = whole(
        120, "60", "Seconds a plan's details are cached."
    )
    subscription_plan_info_cache_cap: int = whole(10000, "1000", "Plans in that cache.")
    umami_website_id: str = text("", "3f0c…", "Put into the console's page.")
    umami_script_url: str = web("", "https://stats.example.com/script.js", "The same.")
    google_analytics_id: str = text("", "G-ABC", "The same.")
    log_sql_clickhouse_ttl_days: int = whole(
        0, "90", "Days log rows live in ClickHouse."
    )
    knight_migrate_one_api: bool = flag(
        False, "There is a backup: upgrade a one-api database on a server."
    )

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Settings:
        """The settings that `environment` describes; unknown names are ignored.

        Raises:
            SettingsError: a value is malformed, or a name begins with `KNIGHT_` and is
                none of ours.
        """
        _refuse_unknown(environment)
        given = {
            name: value
            for name, variable in VARIABLES.items()
            if (value := variable.value(environment)) is not None
        }
        if environment.get("GIN_MODE") == "debug":
            given.setdefault("debug", True)
        return cls(**given)


def _row(attribute: attrs.Attribute[Any]) -> Variable:
    variable: Variable = attribute.metadata[Variable]
    return attrs.evolve(variable, name=variable.name or attribute.name.upper())


VARIABLES: Mapping[str, Variable] = {
    attribute.name: _row(attribute) for attribute in attrs.fields(Settings)
}
"""Field name to variable, in the order of the manual."""

NAMES = frozenset(
    spelling for one in VARIABLES.values() for spelling in (one.name, *one.aliases)
)


def without_effect(environment: Mapping[str, str]) -> list[str]:
    """The set variables of older gateways that change nothing here, sorted."""
    exact = {name for name in WITHOUT_EFFECT if not name.endswith("*")}
    prefixes = tuple(name[:-1] for name in WITHOUT_EFFECT if name.endswith("*"))
    return sorted(
        name
        for name, value in environment.items()
        if value and (name in exact or name.startswith(prefixes))
    )


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    for name in sorted(environment):
        if name.startswith(OURS) and name not in NAMES:
            if name.startswith(ELSEWHERE):
                continue
            known = ", ".join(sorted(one for one in NAMES if one.startswith(OURS)))
            raise SettingsError(name, f"one of the {OURS} variables ({known})")
