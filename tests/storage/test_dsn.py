"""Connection strings in every spelling that operators bring."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import dsn
from knight_tw.storage.dsn import DsnError, parse

PASSWORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
)


def said(text: str) -> str:
    """The parsed URL as SQLAlchemy spells it, password included."""
    return parse(text, data_dir="/d").render_as_string(hide_password=False)


class GoMysqlTests(SynchronousTestCase):
    """The form of the Go MySQL driver."""

    def test_usual(self) -> None:
        """User, host, port and name; the Go driver's own parameters are dropped."""
        url = parse("root:pw@tcp(db:3307)/one?charset=utf8mb4&parseTime=true&loc=Local")
        self.assertEqual(
            (url.username, url.password, url.host, url.port, url.database),
            ("root", "pw", "db", 3307, "one"),
        )
        self.assertEqual(dict(url.query), {"charset": "utf8mb4"})

    def test_default_port(self) -> None:
        """A host alone means port 3306."""
        self.assertEqual(parse("u:p@tcp(db)/one").port, 3306)

    def test_ipv6(self) -> None:
        """An address in brackets."""
        url = parse("u:p@tcp([::1]:3306)/one")
        self.assertEqual((url.host, url.port), ("::1", 3306))

    def test_no_address(self) -> None:
        """Without a host the server is here."""
        self.assertEqual(parse("u:p@/one").host, "127.0.0.1")

    def test_unix(self) -> None:
        """A socket instead of a host."""
        url = parse("u:p@unix(/run/my.sock)/one")
        self.assertEqual(url.query["unix_socket"], "/run/my.sock")
        self.assertIsNone(url.host)

    def test_zone(self) -> None:
        """`loc` is kept: the times of the database are in that zone."""
        url = parse("u:p@tcp(h)/d?loc=Asia%2FShanghai")
        self.assertEqual(url.query[dsn.ZONE], "Asia/Shanghai")

    def test_timeouts(self) -> None:
        """Durations become whole seconds, at least one."""
        url = parse("u:p@tcp(h)/d?timeout=1m30s&readTimeout=200ms")
        self.assertEqual(url.query["connect_timeout"], "90")
        self.assertEqual(url.query["read_timeout"], "1")

    def test_tls(self) -> None:
        """TLS is verified unless the string says not to."""
        self.assertEqual(parse("u@tcp(h)/d?tls=true").query[dsn.TLS], "verify")
        self.assertEqual(parse("u@tcp(h)/d?tls=skip-verify").query[dsn.TLS], "skip")
        self.assertNotIn(dsn.TLS, parse("u@tcp(h)/d?tls=false").query)

    def test_unknown_tls(self) -> None:
        """A TLS configuration that Go code would have registered cannot be had."""
        self.assertRaises(DsnError, parse, "u@tcp(h)/d?tls=mine")

    def test_scheme_in_front(self) -> None:
        """`mysql://` before the Go form means the same."""
        self.assertEqual(said("mysql://u:p@tcp(h:1)/d"), said("u:p@tcp(h:1)/d"))

    def test_no_name(self) -> None:
        """A database must be named."""
        self.assertRaises(DsnError, parse, "u:p@tcp(h)/")

    def test_bad_port(self) -> None:
        """A port is a number in range."""
        self.assertRaises(DsnError, parse, "u:p@tcp(h:0)/d")
        self.assertRaises(DsnError, parse, "u:p@tcp(h:99999)/d")

    @settings(max_examples=60, deadline=None)
    @given(PASSWORDS)
    @example("a://b")
    def test_any_password(self, password: str) -> None:
        """A password may hold any characters, separators of the form included."""
        url = parse(f"root:{password}@tcp(db:3306)/one?parseTime=true")
        self.assertEqual((url.password, url.host), (password, "db"))


class UrlTests(SynchronousTestCase):
    """URLs of PostgreSQL, MySQL and SQLAlchemy."""

    def test_postgres(self) -> None:
        """libpq's parameters pass, percent-escapes are undone."""
        url = parse("postgres://u:p%40s@h:5433/d?sslmode=disable")
        self.assertEqual(
            (url.drivername, url.password, url.port),
            ("postgresql+psycopg", "p@s", 5433),
        )
        self.assertEqual(url.query["sslmode"], "disable")

    def test_session_variables(self) -> None:
        """What the Go driver sets per session is set by libpq's options."""
        url = parse("postgresql://u@h/d?TimeZone=Asia/Shanghai&search_path=a")
        self.assertEqual(
            url.query["options"], "-c TimeZone=Asia/Shanghai -c search_path=a"
        )

    def test_unknown_parameters(self) -> None:
        """Parameters of the Go pool would make libpq refuse: they are dropped."""
        self.assertEqual(dict(parse("postgres://u@h/d?pool_max_conns=9").query), {})

    def test_pooler(self) -> None:
        """The simple protocol means that statements must not be prepared."""
        url = parse("postgres://u@h/d?default_query_exec_mode=simple_protocol")
        self.assertEqual(url.query[dsn.PREPARE], "off")

    def test_several_hosts(self) -> None:
        """Hosts to be tried in turn."""
        url = parse("postgres://u:p@a:1,b:2/d")
        self.assertEqual(url.query["host"], ("a:1", "b:2"))

    def test_socket_directory(self) -> None:
        """A directory of sockets instead of a host."""
        url = parse("host=/run/pg dbname=x")
        self.assertEqual(url.query["host"], ("/run/pg:5432",))

    def test_key_value(self) -> None:
        """libpq's list form, with quotes and escapes."""
        url = parse(r"host=db user=u password='a b\'c' dbname=x port=5433")
        self.assertEqual(
            (url.username, url.password, url.host, url.port, url.database),
            ("u", "a b'c", "db", 5433, "x"),
        )

    def test_unescaped_password(self) -> None:
        """A password that should have been escaped is understood where it can be."""
        self.assertEqual(parse("postgres://u:p@s/w@h/d").password, "p@s/w")

    def test_sqlalchemy(self) -> None:
        """SQLAlchemy's own spelling, driver included."""
        self.assertEqual(
            said("postgresql+psycopg://u:p@h/d"), said("postgres://u:p@h/d")
        )
        self.assertEqual(said("mysql+pymysql://u:p@h/d"), said("u:p@tcp(h)/d"))

    @settings(max_examples=60, deadline=None)
    @given(PASSWORDS)
    def test_round_trip(self, password: str) -> None:
        """What SQLAlchemy makes of a parsed address is understood the same way."""
        url = parse("u:p@tcp(h)/d").set(password=password)
        self.assertEqual(parse(url.render_as_string(hide_password=False)), url)


class SqliteTests(SynchronousTestCase):
    """SQLite paths."""

    def test_local(self) -> None:
        """No address, or `local`, is the file of SQLITE_PATH in the data folder."""
        self.assertEqual(said(""), "sqlite:////d/one-api.db?timeout=30")
        self.assertEqual(said("local"), said(""))

    def test_absolute(self) -> None:
        """An absolute path stays, whether as path or as URL."""
        self.assertEqual(parse("", sqlite_path="/x/y.db").database, "/x/y.db")
        self.assertEqual(parse("sqlite:////x/y.db").database, "/x/y.db")

    def test_busy_timeout(self) -> None:
        """Milliseconds in the query, in both Go drivers' spellings."""
        for query in ("_busy_timeout=1500", "_pragma=busy_timeout(1500)&mode=rwc"):
            url = dsn.sqlite(f"a.db?{query}")
            self.assertEqual(url.query["timeout"], "1.5")

    def test_bad_timeout(self) -> None:
        """A timeout that is no number stops the start."""
        self.assertRaises(DsnError, dsn.sqlite, "a.db?_busy_timeout=soon")

    def test_no_file(self) -> None:
        """An empty path names no file."""
        self.assertRaises(DsnError, dsn.sqlite, "?_busy_timeout=1")


class RefusedTests(SynchronousTestCase):
    """What is refused, and how."""

    def test_clickhouse(self) -> None:
        """ClickHouse is named in the error."""
        error = self.assertRaises(DsnError, parse, "clickhouse://u:secret@h/d")
        self.assertIn("ClickHouse", str(error))

    def test_unknown(self) -> None:
        """An unknown scheme, or no address at all, says what would be right."""
        for text in ("oracle://h/d", "nonsense"):
            self.assertIn("postgres://", str(self.assertRaises(DsnError, parse, text)))

    def test_no_password_in_errors(self) -> None:
        """Messages never hold the string."""
        for text in ("oracle://u:secret@h/d", "u:secret@tcp(h)/", "u:secret@h"):
            self.assertNotIn("secret", str(self.assertRaises(DsnError, parse, text)))
