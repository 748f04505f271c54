"""The yardstick: a proxy as one would first write it, Klein in front and treq behind.

It parses the body, asks the upstream, and hands the answer on; no accounts, no money,
no log. What the gateway does beyond that is worth what it costs over this.

    python -m benchmarks.naive PORT UPSTREAM_URL
"""

# Klein, treq and twisted.web are untyped here and there.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import json
import sys
from typing import Any

import treq
from klein import Klein
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.client import HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.server import Site

app = Klein()
settings = {"upstream": ""}
pool = HTTPConnectionPool(reactor, persistent=True)
pool.maxPersistentPerHost = 1024
HEADERS = Headers(
    {"Authorization": ["Bearer sk-bench"], "Content-Type": ["application/json"]}
)


@app.route("/v1/chat/completions", methods=["POST"])
async def chat(request: Any) -> bytes:
    """Pass one call on and its answer back."""
    body = json.loads(request.content.read())
    answer = await treq.post(
        settings["upstream"] + "/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers=HEADERS,
        pool=pool,
        unbuffered=True,
    )
    request.setResponseCode(answer.code)
    kind = answer.headers.getRawHeaders("content-type", ["application/json"])[0]
    request.setHeader("Content-Type", kind)
    if not body.get("stream"):
        whole: bytes = await answer.content()
        return whole
    await treq.collect(answer, request.write)
    return b""


def main(words: list[str]) -> None:
    """Serve on a loopback port until the process is ended."""
    settings["upstream"] = words[1]
    endpoint = serverFromString(reactor, f"tcp:{words[0]}:interface=127.0.0.1")
    endpoint.listen(Site(app.resource()))
    running: Any = reactor
    running.run()


if __name__ == "__main__":
    main(sys.argv[1:])
