"""The settings of a process: every kind of variable, and what is refused."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.settings import (
    NAMES,
    VARIABLES,
    Settings,
    SettingsError,
    without_effect,
)


def read(**environment: str) -> Settings:
    return Settings.from_env(environment)


class Defaults(SynchronousTestCase):
    """What an empty environment gives."""

    def test_empty_environment_gives_the_defaults(self) -> None:
        """No variable at all is the same as the class's own defaults."""
        self.assertEqual(read(), Settings())

    def test_an_empty_value_counts_as_unset(self) -> None:
        """`PORT=` is how container tools write an unset variable."""
        self.assertEqual(read(PORT="", SQL_DSN="", FAST_LANE=""), Settings())

    def test_listens_on_the_port(self) -> None:
        """`LISTEN` follows `PORT` unless it is set itself."""
        self.assertEqual(read(PORT="8080").listen, ("tcp:8080",))
        self.assertEqual(
            read(PORT="8080", LISTEN=" unix:/run/k  tcp:1 ").listen,
            ("unix:/run/k", "tcp:1"),
        )

    def test_crypto_secret_follows_the_session_secret(self) -> None:
        """One secret is enough for both purposes."""
        self.assertEqual(read(SESSION_SECRET="s3").crypto_secret, "s3")
        self.assertEqual(
            read(SESSION_SECRET="s3", CRYPTO_SECRET="c").crypto_secret, "c"
        )

    def test_each_example_is_accepted(self) -> None:
        """The manual's examples are values that can be used."""
        for name, variable in VARIABLES.items():
            made = Settings.from_env({variable.name: variable.example})
            self.assertIsNotNone(getattr(made, name), variable.name)

    def test_each_shown_default_is_the_default(self) -> None:
        """A default in the manual that can be written down reads as the default."""
        computed = {"listen", "crypto_secret", "session_secret", "node_name", "tz"}
        for name, variable in VARIABLES.items():
            if name in computed or "'" in variable.shown or " " in variable.shown:
                continue
            if variable.shown in ("", "never"):
                continue
            made = Settings.from_env({variable.name: variable.shown})
            self.assertEqual(getattr(made, name), getattr(Settings(), name), name)


class Kinds(SynchronousTestCase):
    """How text becomes a value."""

    def refused(self, expected: str, **environment: str) -> SettingsError:
        error = self.assertRaises(SettingsError, read, **environment)
        self.assertIn(expected, str(error))
        self.assertIn(next(iter(environment)), str(error))
        return error

    def test_booleans(self) -> None:
        """1, t, true, 0, f and false are known in either case."""
        for word in ("1", "t", "true", "TRUE", "True", "T"):
            self.assertTrue(read(ERROR_LOG_ENABLED=word).error_log_enabled)
        for word in ("0", "f", "false", "FALSE", "False", "F"):
            self.assertFalse(read(FAST_LANE=word).fast_lane)
        for word in ("yes", "on", "2", "wahr"):
            self.refused("true or false", FAST_LANE=word)

    def test_whole_numbers(self) -> None:
        """A whole number within its bounds, and nothing that merely begins like one."""
        self.assertEqual(read(PORT=" 0 ").port, 0)
        for word in ("x", "3000.0", "1e3", "65536", "-1", "0x10", "\uff11"):
            self.refused("a whole number from 0 to 65535", PORT=word)

    def test_seconds(self) -> None:
        """Times may have fractions; no signs, no words, no infinity."""
        self.assertEqual(read(LEDGER_FLUSH_SECONDS="0.25").ledger_flush_seconds, 0.25)
        for word in ("-1", "inf", "nan", "30s", "1e3", ""):
            if word:
                self.refused("a number of seconds", DRAIN_TIMEOUT=word)
        self.refused("from 0.01", LEDGER_FLUSH_SECONDS="0")

    def test_choices(self) -> None:
        """One of a few words, in any case."""
        self.assertEqual(read(JOURNAL_FSYNC="Always").journal_fsync, "always")
        self.refused("one of always, interval, never", JOURNAL_FSYNC="sometimes")

    def test_networks(self) -> None:
        """Addresses become networks; `none` trusts nobody."""
        self.assertEqual(
            read(TRUSTED_PROXIES="10.0.0.1, fd00::/8").trusted_proxies,
            ("10.0.0.1/32", "fd00::/8"),
        )
        self.assertEqual(read(TRUSTED_PROXIES="none").trusted_proxies, ())
        self.refused("addresses and networks", TRUSTED_PROXIES="example.com")

    def test_processes(self) -> None:
        """`auto` is told apart from every number."""
        self.assertEqual(read(WORKERS="auto").workers, 0)
        self.assertEqual(read(WORKERS="3").workers, 3)
        for word in ("0", "many", "257"):
            self.refused("a number of processes", WORKERS=word)

    def test_optional_values(self) -> None:
        """Variables that override an option are None when they are not set."""
        self.assertIsNone(read().channel_test_frequency)
        self.assertEqual(read(CHANNEL_TEST_FREQUENCY="1.5").channel_test_frequency, 1.5)
        self.assertIs(read(CHANNEL_TEST_ENABLED="0").channel_test_enabled, False)

    def test_local_is_sqlite(self) -> None:
        """`SQL_DSN=local` is an old way to say SQLite."""
        self.assertEqual(read(SQL_DSN="local").sql_dsn, "")

    def test_the_public_placeholder_is_no_secret(self) -> None:
        """`random_string` from public examples stops the start, and is not echoed."""
        error = self.refused("a secret of your own", SESSION_SECRET="random_string")
        self.assertNotIn("got", str(error))

    def test_urls(self) -> None:
        """Addresses must have a scheme that we can use."""
        self.assertEqual(read(RELAY_PROXY="socks5://h:1").relay_proxy, "socks5://h:1")
        self.refused("socks5", RELAY_PROXY="h:1")
        self.refused("redis://", REDIS_CONN_STRING="localhost:6379")
        self.refused("http", SYNC_UPSTREAM_BASE="ftp://x")

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(sorted(VARIABLES)), st.text(min_size=1, max_size=12))
    def test_any_text_is_a_value_or_a_settings_error(
        self, name: str, text: str
    ) -> None:
        """Whatever a variable holds, nothing but a SettingsError comes of it."""
        variable = VARIABLES[name]
        try:
            read(**{variable.name: text})
        except SettingsError as error:
            self.assertEqual(error.variable, variable.name)


class Names(SynchronousTestCase):
    """Which variables are read."""

    def test_field_names_are_variable_names_in_lower_case(self) -> None:
        """One spelling is odd, and it is the older programs' own."""
        odd = {n: v.name for n, v in VARIABLES.items() if v.name != n.upper()}
        self.assertEqual(odd, {"count_token": "CountToken"})

    def test_aliases(self) -> None:
        """Older spellings are read; the newer one wins."""
        self.assertEqual(read(SHUTDOWN_TIMEOUT_SECONDS="7").drain_timeout, 7)
        self.assertEqual(
            read(SHUTDOWN_TIMEOUT_SECONDS="7", DRAIN_TIMEOUT="9").drain_timeout, 9
        )
        self.assertTrue(read(SMTP_STARTTLS_ENABLED="1").smtp_starttls_enable)
        self.assertTrue(
            read(SMTP_TLS_INSECURE_SKIP_VERIFY="1").smtp_insecure_skip_verify
        )
        self.assertFalse(read(ENFORCE_INCLUDE_USAGE="0").force_stream_option)
        self.assertEqual(read(https_proxy="http://p:1").https_proxy, "http://p:1")
        self.assertFalse(read(CountToken="false").count_token)

    def test_an_error_names_the_spelling_that_was_used(self) -> None:
        """Who set the alias must find it in the message."""
        error = self.assertRaises(SettingsError, read, SHUTDOWN_TIMEOUT_SECONDS="soon")
        self.assertEqual(error.variable, "SHUTDOWN_TIMEOUT_SECONDS")

    def test_unknown_variables_of_ours_stop_the_start(self) -> None:
        """A misspelt `KNIGHT_` variable would otherwise be silently without effect."""
        error = self.assertRaises(SettingsError, read, KNIGHT_MIGRATE="1")
        self.assertIn("KNIGHT_MIGRATE_ONE_API", str(error))

    def test_variables_of_tests_and_build_are_let_through(self) -> None:
        """They are read elsewhere."""
        self.assertEqual(
            read(KNIGHT_TEST_REDIS="x", KNIGHT_CONSOLE="y", KNIGHT_CONSOLE_NODE="z"),
            Settings(),
        )

    def test_other_unknown_variables_are_ignored(self) -> None:
        """The environment is full of other programs' variables."""
        self.assertEqual(read(LANG="C", PATH="/bin", GOMAXPROCS="2"), Settings())

    def test_gin_mode_debug(self) -> None:
        """An old way to ask for a longer log; DEBUG itself wins."""
        self.assertTrue(read(GIN_MODE="debug").debug)
        self.assertFalse(read(GIN_MODE="release").debug)
        self.assertFalse(read(GIN_MODE="debug", DEBUG="false").debug)

    def test_variables_without_effect_are_found(self) -> None:
        """Set ones of older gateways are named, by pattern too."""
        environment = {
            "PYROSCOPE_URL": "x",
            "THEME": "air",
            "METRIC_X": "",
            "PORT": "1",
        }
        self.assertEqual(without_effect(environment), ["PYROSCOPE_URL", "THEME"])

    def test_every_variable_of_older_gateways_is_known(self) -> None:
        """Deployments that move here keep their environment."""
        for name in OLDER.split():
            self.assertTrue(name in NAMES or without_effect({name: "1"}), name)


class Secrets(SynchronousTestCase):
    """What must not be shown."""

    def test_secrets_stay_out_of_the_repr(self) -> None:
        """Printing the settings shows no password, key or address with one."""
        values: dict[str, Any] = {
            name: f"hidden{number}"
            for number, (name, one) in enumerate(VARIABLES.items())
            if one.secret
        }
        shown = repr(attrs.evolve(Settings(), **values))
        self.assertGreater(len(values), 8)
        self.assertNotIn("hidden", shown)


OLDER = """
PORT SQL_DSN LOG_SQL_DSN SQLITE_PATH SQL_MAX_IDLE_CONNS SQL_MAX_OPEN_CONNS
SQL_MAX_LIFETIME SQL_SLOW_THRESHOLD_MS LOG_SQL_CLICKHOUSE_TTL_DAYS REDIS_CONN_STRING
REDIS_POOL_SIZE SESSION_SECRET CRYPTO_SECRET SESSION_COOKIE_SECURE
SESSION_COOKIE_TRUSTED_URL USER_SESSION_ACTIVE_LIMIT USER_SESSION_ISSUANCE_LIMIT
USER_SESSION_ISSUANCE_WINDOW_SECONDS USER_SESSION_REVOKED_RETENTION_DAYS
USER_SESSION_HOURLY_ALERT_THRESHOLD TRUSTED_PROXIES NODE_TYPE NODE_NAME
FRONTEND_BASE_URL SYNC_FREQUENCY MEMORY_CACHE_ENABLED BATCH_UPDATE_ENABLED
BATCH_UPDATE_INTERVAL CHANNEL_UPDATE_FREQUENCY CHANNEL_TEST_FREQUENCY
CHANNEL_TEST_ENABLED CHANNEL_UPSTREAM_MODEL_UPDATE_TASK_ENABLED
CHANNEL_UPSTREAM_MODEL_UPDATE_TASK_INTERVAL_MINUTES
CHANNEL_UPSTREAM_MODEL_UPDATE_MIN_CHECK_INTERVAL_SECONDS POLLING_INTERVAL UPDATE_TASK
TASK_QUERY_LIMIT TASK_TIMEOUT_MINUTES TASK_PRICE_PATCH RELAY_TIMEOUT
RELAY_IDLE_CONN_TIMEOUT RELAY_MAX_IDLE_CONNS RELAY_MAX_IDLE_CONNS_PER_HOST
STREAMING_TIMEOUT STREAM_SCANNER_MAX_BUFFER_MB MAX_REQUEST_BODY_MB
ANONYMOUS_REQUEST_BODY_LIMIT_KB MAX_FILE_DOWNLOAD_MB FORCE_STREAM_OPTION CountToken
GET_MEDIA_TOKEN GET_MEDIA_TOKEN_NOT_STREAM DIFY_DEBUG GEMINI_SAFETY_SETTING
COHERE_SAFETY_SETTING ALI_ANTHROPIC_MESSAGES_MODELS GEMINI_VISION_MAX_IMAGE_NUM
GEMINI_MODEL_MAP AZURE_DEFAULT_API_VERSION GLOBAL_API_RATE_LIMIT_ENABLE
GLOBAL_API_RATE_LIMIT GLOBAL_API_RATE_LIMIT_DURATION GLOBAL_WEB_RATE_LIMIT_ENABLE
GLOBAL_WEB_RATE_LIMIT GLOBAL_WEB_RATE_LIMIT_DURATION CRITICAL_RATE_LIMIT_ENABLE
CRITICAL_RATE_LIMIT CRITICAL_RATE_LIMIT_DURATION SEARCH_RATE_LIMIT_ENABLE
SEARCH_RATE_LIMIT SEARCH_RATE_LIMIT_DURATION NOTIFY_LIMIT_COUNT
NOTIFICATION_LIMIT_DURATION_MINUTE GENERATE_DEFAULT_TOKEN ERROR_LOG_ENABLED
SMTP_STARTTLS_ENABLE SMTP_STARTTLS_ENABLED SMTP_INSECURE_SKIP_VERIFY
SMTP_TLS_INSECURE_SKIP_VERIFY TLS_INSECURE_SKIP_VERIFY TRUSTED_REDIRECT_DOMAINS
SUBSCRIPTION_PLAN_CACHE_TTL SUBSCRIPTION_PLAN_CACHE_CAP
SUBSCRIPTION_PLAN_INFO_CACHE_TTL SUBSCRIPTION_PLAN_INFO_CACHE_CAP SYNC_UPSTREAM_BASE
SYNC_HTTP_TIMEOUT_SECONDS SYNC_HTTP_RETRY SYNC_HTTP_MAX_MB LINUX_DO_TOKEN_ENDPOINT
LINUX_DO_USER_ENDPOINT TIKTOKEN_CACHE_DIR DATA_GYM_CACHE_DIR DEBUG ENABLE_PPROF
PYROSCOPE_URL PYROSCOPE_APP_NAME UMAMI_WEBSITE_ID UMAMI_SCRIPT_URL GOOGLE_ANALYTICS_ID
SHUTDOWN_TIMEOUT_SECONDS VERSION HTTP_PROXY HTTPS_PROXY NO_PROXY TZ INITIAL_ROOT_TOKEN
INITIAL_ROOT_ACCESS_TOKEN THEME RELAY_PROXY USER_CONTENT_REQUEST_PROXY ENABLE_METRIC
METRIC_QUEUE_SIZE ENFORCE_INCLUDE_USAGE TEST_PROMPT
"""
