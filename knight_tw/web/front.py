"""The page at `/`: how to set the gateway up, or that it runs and where to go on.

One self-contained HTML document without scripts, fonts or images from elsewhere; it
follows the reader's light or dark setting. Programs that ask for JSON get the same
facts as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.accounts.first_start import FirstStart
from knight_tw.options import Options
from knight_tw.web.api.answers import encode, header, is_secure, put_header

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#59636e;--paper:#fbfbfa;--card:#fff;
--line:#e3e3df;--accent:#3b5bdb;--good:#2b8a3e;--wait:#b35900;--code:#f3f3ef}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e3;--dim:#9a9fa6;--paper:#15171a;
--card:#1c1f23;--line:#2d3136;--accent:#91a7ff;--good:#69db7c;--wait:#ffa94d;
--code:#111316}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:44rem;margin:0 auto;padding:clamp(1.5rem,6vw,4.5rem) 1.25rem}
h1{font-size:clamp(1.6rem,5vw,2.2rem);line-height:1.2;margin:.25rem 0 1rem;
letter-spacing:-.02em;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:2rem 0 .5rem}
p{margin:.5rem 0;color:var(--dim)}
.state{display:inline-flex;gap:.5rem;align-items:center;font-size:.875rem;
font-weight:600;color:var(--good)}
.state.wait{color:var(--wait)}
.state::before{content:"";width:.6rem;height:.6rem;border-radius:50%;
background:currentColor}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;
padding:1.25rem 1.25rem 1rem;margin:1.5rem 0}
section h2{margin-top:0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem;margin:0}
dt{color:var(--dim)}dd{margin:0;overflow-wrap:anywhere}
pre{background:var(--code);border:1px solid var(--line);border-radius:8px;
padding:.9rem 1rem;overflow-x:auto;margin:.75rem 0}
code,pre{font:.875rem/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
a{color:var(--accent)}
footer{margin-top:2.5rem;font-size:.875rem;color:var(--dim)}
@media(max-width:30rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
"""


@frozen
class Front:
    """Makes the page."""

    _start: FirstStart
    _options: Callable[[], Options]
    _clock: IReactorTime
    _version: str
    _started_at: float

    async def answer(self, request: Request) -> bytes:
        """The page, or its facts as JSON for `Accept: application/json`."""
        done = await self._start.done()
        accepted = header(request, "Accept")
        put_header(request, "Cache-Control", "no-store")
        put_header(request, "Vary", "Accept")
        if "text/html" not in accepted and "application/json" in accepted:
            put_header(request, "Content-Type", "application/json; charset=utf-8")
            return encode(
                {
                    "name": self._name(),
                    "version": self._version,
                    "set_up": done,
                    "status": "/api/status",
                    "setup": "/api/setup",
                }
            )
        put_header(request, "Content-Type", "text/html; charset=utf-8")
        put_header(request, "Content-Security-Policy", _POLICY)
        put_header(request, "X-Content-Type-Options", "nosniff")
        put_header(request, "Referrer-Policy", "no-referrer")
        address = escape(self._address(request))
        body = self._running(address) if done else self._waiting(address)
        return self._page(body).encode()

    def _name(self) -> str:
        return self._options().text("SystemName") or "Knight Omega"

    def _address(self, request: Request) -> str:
        """Where the reader reached us, as a base URL for the examples."""
        configured = self._options().text("ServerAddress").rstrip("/")
        if configured:
            return configured
        host = header(request, "Host") or "localhost:3000"
        return f"{'https' if is_secure(request) else 'http'}://{host}"

    def _waiting(self, address: str) -> str:
        return f"""
<span class="state wait">Waiting to be set up</span>
<h1>{escape(self._name())} runs, but nobody owns it yet</h1>
<p>Make the first administrator. Whoever does this first owns the gateway, so do it
before the address is public.</p>
<section>
<h2>With one command</h2>
<pre><code>curl {address}/api/setup \\
  -H 'Content-Type: application/json' \\
  -d '{{"username":"root",
       "password":"at least 8 characters",
       "confirmPassword":"at least 8 characters",
       "SelfUseModeEnabled":false,
       "DemoSiteEnabled":false}}'</code></pre>
<p><code>SelfUseModeEnabled</code> lets you call models that have no price yet: right
for a gateway that you use alone.</p>
</section>
<section>
<h2>Or without a request</h2>
<p>Stop the gateway, set the environment variable <code>INITIAL_ROOT_PASSWORD</code> and
start it again: the user <code>root</code> then has that password.</p>
</section>
<section>
<h2>Coming from new-api?</h2>
<p>Point <code>SQL_DSN</code>, or <code>DATA_DIR</code> and <code>SQLITE_PATH</code>, at
your database: it is opened in place, its users and keys keep working, and this step is
not needed.</p>
</section>"""

    def _running(self, address: str) -> str:
        uptime = _duration(self._clock.seconds() - self._started_at)
        return f"""
<span class="state">Running</span>
<h1>{escape(self._name())}</h1>
<p>One address for many model providers: clients of OpenAI, Anthropic and Google call it
with a key made here.</p>
<section>
<h2>Call it</h2>
<pre><code>curl {address}/v1/chat/completions \\
  -H 'Authorization: Bearer sk-…' \\
  -H 'Content-Type: application/json' \\
  -d '{{"model":"…","messages":[{{"role":"user","content":"Hello"}}]}}'</code></pre>
</section>
<section>
<h2>This process</h2>
<dl>
<dt>Version</dt><dd>{escape(self._version)}</dd>
<dt>Up for</dt><dd>{uptime}</dd>
<dt>OpenAI base URL</dt><dd><code>{address}/v1</code></dd>
<dt>Anthropic base URL</dt><dd><code>{address}</code></dd>
<dt>Gemini base URL</dt><dd><code>{address}</code></dd>
<dt>Public status</dt><dd><a href="/api/status">/api/status</a></dd>
</dl>
</section>
<section>
<h2>Manage it</h2>
<p>This page is all there is to see in a browser. Channels, users, keys and options are
managed over <code>{address}/api</code>, with the programs that manage new-api.</p>
</section>"""

    def _page(self, body: str) -> str:
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
            '<meta name="robots" content="noindex">\n'
            f"<title>{escape(self._name())}</title>\n<style>{_STYLE}</style>\n</head>\n"
            f"<body>\n<main>{body}\n<footer>Knight Omega {escape(self._version)}"
            "</footer>\n</main>\n</body>\n</html>\n"
        )


def _duration(seconds: float) -> str:
    """A time span in its two largest units: `3 d 4 h`, `12 min 5 s`."""
    left, parts = max(0, int(seconds)), list[str]()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
