"""Realtime sessions through the whole gateway, in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import DatabaseAway, UpstreamFailed
from knight_tw.protocols.realtime import FAREWELL, PING_SECONDS
from knight_tw.protocols.sockets import MESSAGE_LIMIT
from knight_tw.storage import schema
from tests.relay.gateway import KEY, PLENTY
from tests.relay.sessions import (
    MODEL,
    QUERY,
    RealtimeGateway,
    Refuser,
    Server,
    done,
    refuser,
    silent,
    used,
)

RATIO, OUT, SOUND, SOUND_OUT, CACHED = 2.5, 4, 8, 2, 0.5
"""Prices of the model: ratio, completion, audio, audio completion, cached input."""

DELTA = {"type": "response.output_text.delta", "delta": "hello there"}


class Case(SynchronousTestCase):
    """A gateway for sessions."""

    def setUp(self) -> None:
        """Nothing in it yet but a rich user with a token."""
        self.gateway = RealtimeGateway(self)

    def session(self, *script: Any, **values: Any) -> Any:
        """A client whose session is open, on the only channel."""
        self.gateway.realtime(*script, **values)
        client = self.gateway.dial()
        self.assertEqual(client.status, 101)
        return client

    def tell(self, event: Any) -> None:
        """The upstream says something, and it arrives."""
        self.gateway.server.say(event)
        self.gateway.pump()

    def row(self) -> dict[str, Any]:
        """The only log row."""
        (row,) = self.gateway.logs()
        return row

    def holds(self) -> list[Any]:
        """Rows of `knight_holds`."""
        gateway = self.gateway
        self.successResultOf(gateway.ledger.flushed())
        table = schema.knight_holds
        query = table.select()
        found: list[Any] = gateway.done(
            gateway.db.read(lambda c: c.execute(query).all())
        )
        return found


class Handshakes(Case):
    """What leads to a session, and what does not."""

    def test_every_credential(self) -> None:
        """The key may stand in three places; the subprotocol's comes first."""
        self.gateway.realtime()
        item = f"openai-insecure-api-key.sk-{KEY}"
        for options in (
            {},
            {"key": "", "api_key": f"sk-{KEY}"},
            {"key": "", "protocols": (item,)},
            {"key": "sk-wrong", "protocols": ("realtime", item)},
        ):
            client = self.gateway.dial(**options)
            self.assertEqual(client.status, 101, options)

    def test_subprotocols(self) -> None:
        """`realtime` is agreed on when offered; the key's item is never repeated."""
        self.gateway.realtime()
        item = f"openai-insecure-api-key.sk-{KEY}"
        client = self.gateway.dial(protocols=("realtime", item), key="")
        self.assertEqual(client.head["sec-websocket-protocol"], "realtime")
        client = self.gateway.dial(protocols=(item,), key="")
        self.assertNotIn("sec-websocket-protocol", client.head)
        self.assertNotIn(KEY.encode(), client.answer)

    def test_nothing_of_the_client_goes_upstream(self) -> None:
        """The upstream gets the channel's credential; key, offer and origin stay."""
        self.gateway.realtime()
        self.gateway.dial(
            protocols=("realtime", f"openai-insecure-api-key.sk-{KEY}"),
            Origin="https://evil.test",
            Cookie="c=1",
        )
        headers = self.gateway.server.request.headers
        self.assertEqual(headers["authorization"], "Bearer sk-up-1")
        for name in ("sec-websocket-protocol", "origin", "cookie", "openai-beta"):
            self.assertNotIn(name, headers)
        self.assertNotIn(KEY, repr(headers))

    def test_request_id(self) -> None:
        """The 101 and the log row carry the same id."""
        client = self.session()
        self.tell(used(1, 1))
        self.assertEqual(self.row()["request_id"], client.head["x-request-id"])
        self.assertEqual(self.row()["upstream_request_id"], "req_up")

    def test_beta(self) -> None:
        """The older interface is asked for when the client does, in either way."""
        self.gateway.realtime()
        for options in (
            {"OpenAI_Beta": "realtime=v1"},
            {"protocols": ("realtime", "openai-beta.realtime-v1")},
        ):
            self.gateway.dial(**options)
            headers = self.gateway.server.request.headers
            self.assertEqual(headers["openai-beta"], "realtime=v1")

    def test_query(self) -> None:
        """Unknown parameters go on as they are, secrets and our own do not."""
        self.gateway.realtime(model_mapping=json.dumps({MODEL: "up model"}))
        self.gateway.dial(f"{QUERY}&intent=transcription&x=%2F&key=s&api-version=1")
        (url, _) = self.gateway.upstreams.dialled[0]
        self.assertEqual(
            url,
            "ws://up1.test/v1/realtime?model=up%20model&intent=transcription&x=%2F",
        )

    def test_azure(self) -> None:
        """Azure's client names a deployment; Azure's channel is asked in its way."""
        self.gateway.realtime(
            type=3, base_url="https://r.openai.azure.com", created_time=1_800_000_000
        )
        client = self.gateway.dial(
            f"deployment={MODEL}&api-version=2025-04-01-preview&x=1",
            key="",
            api_key=f"sk-{KEY}",
        )
        self.assertEqual(client.status, 101)
        (url, _) = self.gateway.upstreams.dialled[0]
        self.assertEqual(
            url,
            f"wss://r.openai.azure.com/openai/realtime?deployment={MODEL}"
            "&api-version=2025-04-01-preview&x=1",
        )
        headers = self.gateway.server.request.headers
        self.assertEqual(headers["api-key"], "sk-up-1")
        self.assertNotIn("authorization", headers)

    def test_channel_settings(self) -> None:
        """Proxy, guard and header override of the channel apply."""
        self.gateway.realtime(
            setting=json.dumps({"proxy": "http://p:1"}),
            settings=json.dumps({"guarded_address": True}),
            header_override=json.dumps({"X-Own": "a {api_key}", "Upgrade": "no"}),
        )
        self.gateway.dial()
        (_, options) = self.gateway.upstreams.dialled[0]
        self.assertEqual((options["proxy"], options["guarded"]), ("http://p:1", True))
        headers = self.gateway.server.request.headers
        self.assertEqual(headers["x-own"], "a sk-up-1")
        self.assertEqual(headers["upgrade"], "WebSocket")

    def refused(self, status: int, code: str, query: str = QUERY, **more: Any) -> Any:
        """A handshake that is refused before any upstream is asked."""
        asked = len(self.gateway.upstreams.dialled)
        client = self.gateway.dial(query, **more)
        self.assertEqual((client.status, client.error["code"]), (status, code))
        self.assertEqual(len(self.gateway.upstreams.dialled), asked)
        self.assertIn(client.head["x-request-id"], client.error["message"])
        return client

    def test_refusals(self) -> None:
        """Whatever is wrong is said in HTTP, in OpenAI's shape."""
        self.gateway.realtime()
        self.refused(401, "invalid_api_key", key="")
        self.refused(401, "invalid_api_key", key="sk-nobody")
        self.refused(400, "invalid_request", query="")
        self.refused(400, "invalid_request", query="call_id=rtc_1")
        self.refused(404, "model_not_found", query="model=nothing")
        self.refused(400, "invalid_request", Sec_WebSocket_Version="8")
        self.gateway.change(
            schema.tokens, model_limits_enabled=True, model_limits="gpt-4o"
        )
        self.refused(403, "model_not_allowed")

    def test_price_and_money(self) -> None:
        """A model without a price, and a caller without money, get no session."""
        self.gateway.channel(models="unpriced")
        self.gateway.realtime()
        self.refused(400, "model_price_error", query="model=unpriced")
        self.gateway.change(schema.users, quota=10)
        self.refused(403, "insufficient_user_quota")
        self.assertEqual(self.gateway.logs(), [])

    def test_rate_limit(self) -> None:
        """Handshakes count as requests, sessions as successes."""
        self.gateway.realtime()
        self.gateway.option("ModelRequestRateLimitEnabled", "true")
        self.gateway.option("ModelRequestRateLimitSuccessCount", "1")
        self.assertEqual(self.gateway.dial().status, 101)
        client = self.refused(429, "rate_limit_exceeded")
        self.assertGreater(int(client.head["retry-after"]), 0)

    def test_other_path(self) -> None:
        """Websockets for Responses are declined, whoever asks."""
        client = self.gateway.dial(path="/v1/responses", key="")
        self.assertEqual(client.status, 426)
        self.assertEqual(client.error["code"], "upgrade_not_supported")


class Attempts(Case):
    """Channels are tried until one has shaken hands."""

    def setUp(self) -> None:
        """Two more attempts are allowed."""
        super().setUp()
        self.gateway.option("RetryTimes", "2")

    def test_next_channel(self) -> None:
        """Refusals, failures and nonsense move on; the session is charged once."""
        nonsense = lambda: Refuser(b"SSH-2.0-x\r\n\r\n")  # noqa: E731
        for script in (refuser(500), nonsense, Server):
            self.gateway.realtime(script)
        client = self.gateway.dial()
        self.assertEqual(client.status, 101)
        self.tell(used(100, 50))
        channels = self.row()["other"]["admin_info"]["use_channel"]
        self.assertEqual(len(channels), 3)
        self.assertEqual(self.row()["channel_id"], int(channels[-1]))

    def test_silence(self) -> None:
        """An upstream has five seconds for its handshake."""
        self.gateway.realtime(silent)
        self.gateway.realtime(Server)
        client = self.gateway.dial()
        self.gateway.wait(4.9)
        self.assertEqual((client.status, len(self.gateway.upstreams.wires)), (0, 1))
        self.gateway.wait(0.2)
        self.assertEqual(client.status, 101)
        self.assertTrue(self.gateway.upstreams.wires[0].near.disconnected)

    def test_last_refusal(self) -> None:
        """The client gets what the last upstream said, without its key."""
        error = {"message": "bad key sk-up-1", "type": "auth", "code": "invalid"}
        self.gateway.realtime(
            refuser(429, {"error": error}, headers="Retry-After: 7\r\n")
        )
        client = self.gateway.dial()
        self.assertEqual((client.status, client.error["code"]), (429, "invalid"))
        self.assertEqual(client.head["retry-after"], "7")
        self.assertNotIn("sk-up-1", client.error["message"])
        self.assertEqual(self.gateway.ledger.figures.holds_open, 0)

    def test_no_success_is_no_handshake(self) -> None:
        """200 instead of 101 fails the attempt, as does a connection."""
        self.gateway.realtime(refuser(200), UpstreamFailed("x", detail="no route"))
        client = self.gateway.dial()
        self.assertEqual(
            (client.status, client.error["code"]), (502, "do_request_failed")
        )

    def test_chunked_refusal(self) -> None:
        """A refusal may come in chunks."""
        body = json.dumps({"error": {"message": "m", "code": "c"}}).encode()
        answer = (
            b"HTTP/1.1 403 X\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        )
        self.gateway.realtime(lambda: Refuser(answer))
        self.assertEqual(self.gateway.dial().error["code"], "c")

    def test_provider_without_sessions(self) -> None:
        """A channel type that has no realtime is no candidate that can serve."""
        self.gateway.realtime(type=43)
        client = self.gateway.dial()
        self.assertEqual(
            (client.status, client.error["code"]), (400, "unsupported_endpoint")
        )

    def test_client_leaves(self) -> None:
        """A client that leaves meanwhile ends the attempt, and nothing is held."""
        self.gateway.realtime(silent)
        self.gateway.dial()
        self.gateway.wires[-1].cut(clean=False)
        self.gateway.pump()
        self.assertTrue(self.gateway.upstreams.wires[0].near.disconnected)
        self.assertEqual(self.gateway.ledger.figures.holds_open, 0)
        self.assertEqual(self.gateway.logs(), [])


class Messages(Case):
    """What goes through."""

    def test_both_ways(self) -> None:
        """Text as text, binary as binary, in order, whatever it is."""
        client = self.session()
        said = ['{"type":"x"}', b"\x00\xff", "no JSON", "[1]", "é", b"", '{"type":3}']
        for one in said:
            client.say(one)
            self.gateway.server.say(one)
        self.gateway.pump()
        self.assertEqual(client.heard, said)
        self.assertEqual(self.gateway.server.heard, said)

    def test_upstream_speaks_first(self) -> None:
        """What comes with the upstream's handshake reaches the client."""

        class Eager(Server):
            """Greets at once."""

            def onOpen(self) -> None:
                """The greeting."""
                self.say({"type": "session.created"})
                self.say({"type": "second"})

        client = self.session(Eager)
        self.assertEqual(
            [event["type"] for event in client.events], ["session.created", "second"]
        )

    def test_upstream_leaves_first(self) -> None:
        """An upstream that closes with its handshake is mirrored, too."""

        class Closing(Server):
            """Closes at once."""

            def onOpen(self) -> None:
                """The goodbye."""
                self.say({"type": "error"})
                self.leave(4001, "no")

        client = self.session(Closing)
        self.assertEqual(client.events, [{"type": "error"}])
        self.assertEqual(client.goodbye, (4001, "no"))
        self.assertTrue(client.closed)

    def test_fragments(self) -> None:
        """A message in fragments arrives whole."""
        client = self.session()
        client.beginMessage()
        for piece in (b"a" * 70_000, b"b" * 70_000):
            client.sendMessageFrame(piece)
        client.endMessage()
        self.gateway.pump()
        self.assertEqual(self.gateway.server.heard, ["a" * 70_000 + "b" * 70_000])

    def test_limit(self) -> None:
        """A message beyond the limit is refused by its header alone."""
        for side in ("client", "server"):
            client = self.session()
            speaker = client if side == "client" else self.gateway.server
            speaker.beginMessage()
            speaker.sendMessageFrame(b"x" * 65_536)
            speaker.beginMessageFrame(MESSAGE_LIMIT - 65_535)
            self.gateway.pump()
            self.assertEqual(speaker.goodbye[0], 1009, side)
            self.gateway.wait(FAREWELL)
            self.assertTrue(client.closed and self.gateway.server.closed, side)

    def test_back_pressure(self) -> None:
        """A side is not read while the other takes too slowly."""
        self.session()
        near, upstream = self.gateway.wires[-1].far, self.gateway.upstreams.wires[-1]
        near.producer.pauseProducing()
        self.assertTrue(upstream.near.paused)
        near.producer.resumeProducing()
        self.assertFalse(upstream.near.paused)
        upstream.near.producer.pauseProducing()
        self.assertTrue(near.paused)


class Goodbyes(Case):
    """How sessions end."""

    def test_mirrored(self) -> None:
        """Code and reason of either side reach the other; none stays none."""
        cases = (
            (None, None),
            (1000, "bye"),
            (1001, None),
            (1012, "restart"),
            (3000, "x"),
            (4999, "é"),
        )
        for code, reason in cases:
            client = self.session()
            client.leave(code, reason)
            self.gateway.pump()
            self.assertEqual(self.gateway.server.goodbye, (code, reason))
            self.assertEqual(client.goodbye, (code, reason))
            self.assertTrue(client.closed and self.gateway.server.closed)
            client = self.session()
            self.gateway.server.leave(code, reason)
            self.gateway.pump()
            self.assertEqual(client.goodbye, (code, reason))
            self.assertTrue(client.closed and self.gateway.server.closed)

    def test_client_vanishes(self) -> None:
        """The upstream's session is closed at once, and cut when it does not answer."""
        self.session()
        upstream = self.gateway.upstreams.wires[-1]
        self.gateway.wires[-1].cut(clean=False)
        upstream.far.over = True  # it does not listen any more
        self.gateway.pump()
        self.assertIn(b"\x88", upstream.near.value()[:1])
        self.gateway.wait(FAREWELL)
        self.assertTrue(upstream.near.disconnected)

    def test_slow_client_leaves(self) -> None:
        """A client that took too slowly and leaves does not keep the upstream."""
        client = self.session()
        self.gateway.wires[-1].far.producer.pauseProducing()
        client.leave(1000)
        self.gateway.pump()
        self.assertTrue(client.closed and self.gateway.server.closed)

    def test_upstream_vanishes(self) -> None:
        """The client gets 1011."""
        client = self.session()
        self.gateway.upstreams.wires[-1].cut(clean=False)
        self.gateway.pump()
        self.assertEqual(client.goodbye[0], 1011)
        self.assertEqual(self.row()["other"]["session"]["close_code"], 1006)

    def test_row_of_a_session_without_turns(self) -> None:
        """There is a row that says so, and nothing is charged."""
        self.session().leave(1000)
        self.gateway.pump()
        row = self.row()
        self.assertEqual((row["quota"], row["prompt_tokens"]), (0, 0))
        self.assertIn("no billing information", row["content"])
        self.assertEqual(row["other"]["session"]["closed_by"], "client")
        self.assertEqual(self.gateway.ledger.figures.holds_open, 0)

    def test_pings(self) -> None:
        """Both sides are asked; who answers stays, who is silent is gone."""
        client = self.session()
        for _ in range(3):
            self.gateway.wait(PING_SECONDS)
        self.assertFalse(client.closed)
        wire = self.gateway.upstreams.wires[-1]
        wire.far.over = True
        self.gateway.wait(PING_SECONDS)
        self.gateway.wait(PING_SECONDS)
        self.assertTrue(wire.near.disconnected)

    def test_drain(self) -> None:
        """Idle sessions end at once with 1012, the others with their answer."""
        sessions = self.gateway.relaying.sessions
        client = self.session()
        self.tell({"type": "response.created"})
        idle = self.gateway.dial()
        sessions.drain()
        self.gateway.pump()
        self.assertEqual((idle.goodbye or (0,))[0], 1012)
        self.assertIsNone(client.goodbye)
        first = self.gateway.upstreams.wires[0].far.protocol
        first.say(used(10, 5))
        self.gateway.pump()
        self.assertEqual(client.events[-1]["type"], "response.done")
        self.assertEqual(client.goodbye[0], 1012)
        self.assertEqual(self.gateway.dial().status, 503)
        self.assertEqual(len(sessions), 0)

    def test_sessions_fill_a_channel(self) -> None:
        """A session counts as a call from its handshake to its end."""
        values = '{"max_concurrency": 1}'
        first = self.session(settings=values)
        refused = self.gateway.dial()
        self.assertEqual(
            (refused.status, refused.error["code"]), (429, "channel_saturated")
        )
        first.sendClose(1000)
        self.gateway.pump()
        self.assertEqual(self.gateway.dial().status, 101)

    def test_attempts_that_fail_free_the_channel(self) -> None:
        """A handshake that comes to nothing takes no place."""
        values = '{"max_concurrency": 1}'
        self.gateway.realtime(refuser(400), Server, settings=values)
        self.assertEqual(self.gateway.dial().status, 400)
        self.assertEqual(self.gateway.dial().status, 101)

    def test_close_all(self) -> None:
        """When time is up, the answer under way does not count any more."""
        client = self.session()
        self.tell({"type": "response.created"})
        self.gateway.relaying.sessions.close()
        self.gateway.pump()
        self.assertEqual(client.goodbye[0], 1012)


class Money(Case):
    """Each turn is charged by its own usage; the session has one row."""

    def test_turns_add_up(self) -> None:
        """Two turns, one row with their sums, charged as they come."""
        client = self.session()
        self.tell(used(100, 50))
        first = int((100 + 50 * OUT) * RATIO)
        self.assertEqual(self.row()["quota"], first)
        self.gateway.clock.advance(3)
        self.tell(
            used(
                200,
                80,
                input_token_details={
                    "audio_tokens": 60,
                    "cached_tokens": 100,
                    "cached_tokens_details": {"text_tokens": 80, "audio_tokens": 20},
                },
                output_token_details={"audio_tokens": 30},
            )
        )
        client.leave(1000)
        self.gateway.pump()
        text = (140 - 80) + 80 * CACHED
        sound = ((60 - 20) + 20 * CACHED) * SOUND
        second = (text + sound + 50 * OUT + 30 * SOUND * SOUND_OUT) * RATIO
        row = self.row()
        self.assertEqual(row["quota"], first + int(second))
        self.assertEqual((row["prompt_tokens"], row["completion_tokens"]), (300, 130))
        self.assertEqual(row["use_time"], 3)
        other = row["other"]
        self.assertIs(other["ws"], True)
        self.assertEqual((other["text_input"], other["audio_input"]), (240, 60))
        self.assertEqual((other["text_output"], other["audio_output"]), (100, 30))
        self.assertEqual((other["cache_tokens"], other["evidence"]), (100, "provider"))
        self.assertEqual(self.gateway.quota(), PLENTY - row["quota"])

    def test_counters(self) -> None:
        """A session is one request, in the user's row and in the statistics."""
        client = self.session()
        for _ in range(3):
            self.tell(used(100, 50))
        client.leave()
        self.gateway.pump()
        quota = self.row()["quota"]
        gateway = self.gateway

        def read(table: Any) -> Any:
            query = table.select()
            return gateway.done(gateway.db.read(lambda c: c.execute(query).one()))

        user, usage = read(schema.users), read(schema.knight_usage)
        self.assertEqual((user.request_count, user.used_quota), (1, quota))
        self.assertEqual(
            (usage.count, usage.quota, usage.prompt_tokens), (1, quota, 300)
        )
        hourly = read(schema.quota_data)
        self.assertEqual((hourly.count, hourly.token_used), (1, 450))

    def test_counted(self) -> None:
        """Without a usage what went through is counted, and the row says so."""
        client = self.session()
        client.say(
            {
                "type": "conversation.item.create",
                "item": {"content": [{"type": "input_text", "text": "one two three"}]},
            }
        )
        self.gateway.pump()
        self.tell(DELTA)
        self.tell(done())
        row = self.row()
        self.assertEqual(row["other"]["evidence"], "counted")
        self.assertEqual((row["prompt_tokens"], row["completion_tokens"]), (3, 2))
        self.tell(used(100, 50))
        client.leave()
        self.gateway.pump()
        other = self.row()["other"]
        self.assertEqual(other["evidence"], "counted")
        self.assertIs(other["admin_info"]["local_count_tokens"], True)

    def test_silent_turn(self) -> None:
        """A turn of which nothing came is not charged; its hold serves the next."""
        self.session()
        self.tell({"type": "response.done", "response": {"usage": None}})
        self.assertEqual(self.gateway.logs(), [])
        self.assertEqual(self.gateway.ledger.figures.holds_open, 1)

    def test_rest(self) -> None:
        """What was made of a turn that never ended is charged at the end."""
        client = self.session()
        self.tell(DELTA)
        client.leave()
        self.gateway.pump()
        self.assertEqual(self.row()["completion_tokens"], 2)
        self.assertEqual(self.gateway.ledger.figures.holds_open, 0)

    def test_clients_lies(self) -> None:
        """Only the server's own event ends a turn, by its parsed type."""
        client = self.session()
        client.say(used(1000, 1000))
        self.gateway.pump()
        self.tell({"type": "x", "text": json.dumps(used(1000, 1000))})
        self.assertEqual(self.gateway.logs(), [])

    def test_usage_after_the_goodbye(self) -> None:
        """A turn that ends while the session closes is charged by its usage."""
        client = self.session()
        self.tell(DELTA)
        upstream = self.gateway.upstreams.wires[-1]
        self.gateway.server.say(used(100, 50))
        upstream.near.pauseProducing()
        client.leave(1000)
        self.gateway.pump()
        upstream.near.resumeProducing()
        self.gateway.pump()
        self.assertEqual(self.row()["prompt_tokens"], 100)
        self.assertEqual(self.row()["other"]["evidence"], "provider")

    def test_price_per_session(self) -> None:
        """A price per call is taken once, with the first turn."""
        self.gateway.option("ModelPrice", json.dumps({MODEL: 0.01}))
        client = self.session()
        for _ in range(2):
            self.tell(used(100, 50))
        client.leave()
        self.gateway.pump()
        row = self.row()
        self.assertEqual((row["quota"], row["prompt_tokens"]), (5000, 200))

    def test_poor_caller(self) -> None:
        """Holds are in SQL near zero, one at a time, and given back at the end."""
        self.gateway.change(schema.users, quota=200_000)
        client = self.session()
        self.assertEqual(len(self.holds()), 1)
        self.tell(used(100, 50))
        self.assertEqual(len(self.holds()), 1)
        self.assertEqual(self.row()["quota"], 750)
        client.leave()
        self.gateway.pump()
        self.assertEqual(self.holds(), [])
        self.assertEqual(self.gateway.quota(), 200_000 - 750)

    def test_no_money_for_the_next_turn(self) -> None:
        """The turn is charged and delivered, then an error event and 1008."""
        self.gateway.change(schema.users, quota=2_000)
        client = self.session()
        self.tell(used(300, 75))
        event = client.events[-1]
        self.assertEqual(client.events[-2]["type"], "response.done")
        self.assertEqual(event["type"], "error")
        self.assertEqual(event["error"]["code"], "insufficient_user_quota")
        self.assertEqual(client.goodbye[0], 1008)
        self.assertEqual(self.gateway.server.goodbye[0], 1008)
        self.assertEqual(self.row()["quota"], 1500)
        self.assertEqual(self.gateway.quota(), 500)

    def test_turn_dearer_than_the_balance(self) -> None:
        """What there is is taken, never more, and the session ends."""
        self.gateway.change(schema.users, quota=2_000)
        client = self.session()
        self.tell(used(3000, 75))
        self.assertEqual(client.events[-1]["error"]["code"], "insufficient_user_quota")
        self.assertEqual(client.goodbye[0], 1008)
        self.assertEqual((self.row()["quota"], self.gateway.quota()), (2000, 0))
        self.assertEqual(self.row()["other"]["uncollected_quota"], 8250 - 2000)

    def test_limited_token(self) -> None:
        """A token's limit ends a session as an empty balance does."""
        self.gateway.change(schema.tokens, unlimited_quota=False, remain_quota=2_000)
        client = self.session()
        self.tell(used(300, 75))
        self.assertEqual(client.events[-1]["error"]["code"], "insufficient_user_quota")
        self.assertEqual(client.goodbye[0], 1008)


class SlowLedger:
    """The ledger, whose holds and barriers the test completes."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.holds: list[Deferred[Any]] | None = None
        self.barriers: list[Callable[[], None]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def hold(self, *args: Any) -> Any:
        """Granted when the test says so."""
        granted = self._ledger.hold(*args)
        if self.holds is None:
            return granted
        waiting: Deferred[Any] = Deferred()
        self.holds.append(waiting)
        waiting.addCallback(lambda _: granted)
        return waiting

    def barrier(self, then: Callable[[], None]) -> None:
        """On disk when the test says so."""
        if self.barriers is None:
            self._ledger.barrier(then)
        else:
            self.barriers.append(then)


class Waiting(Case):
    """Sessions whose money takes its time."""

    def setUp(self) -> None:
        """An open session; from now on the ledger is slow."""
        super().setUp()
        resource: Any = self.gateway.relaying.sockets["/v1/realtime"]
        self.ledger: Any = SlowLedger(self.gateway.ledger)
        resource._relay._ledger = self.ledger
        self.client = self.session()

    def test_disk(self) -> None:
        """The end of a turn reaches the client when its charge is on disk."""
        self.ledger.barriers = []
        self.tell(used(100, 50))
        self.tell({"type": "later"})
        self.assertEqual(self.client.heard, [])
        self.ledger.barriers.pop()()
        self.gateway.pump()
        kinds = [event["type"] for event in self.client.events]
        self.assertEqual(kinds, ["response.done", "later"])
        self.ledger.barriers = None

    def test_next_turn(self) -> None:
        """Nothing is asked of the upstream before the next turn is held for."""
        self.ledger.holds = []
        self.tell(used(100, 50))
        self.client.say({"type": "response.create"})
        self.client.say({"type": "second"})
        self.gateway.pump()
        self.assertEqual(self.gateway.server.heard, [])
        self.ledger.holds.pop().callback(None)
        self.gateway.pump()
        kinds = [event["type"] for event in self.gateway.server.events]
        self.assertEqual(kinds, ["response.create", "second"])

    def test_database_away(self) -> None:
        """Without a database the next turn cannot be held for: 1013, to come back."""
        self.ledger.holds = []
        self.tell(used(100, 50))
        self.ledger.holds.pop().errback(DatabaseAway("away"))
        self.gateway.pump()
        self.assertEqual(self.client.events[-1]["error"]["code"], "query_data_error")
        self.assertEqual(self.client.goodbye[0], 1013)
        self.assertEqual(self.row()["quota"], 750)

    def test_a_bug(self) -> None:
        """A session whose money cannot be reckoned with does not go on."""
        self.ledger.holds = []
        self.tell(used(100, 50))
        self.ledger.holds.pop().errback(RuntimeError("a bug"))
        self.gateway.pump()
        self.assertEqual(self.client.events[-1]["error"]["code"], "internal_error")
        self.assertEqual(self.client.goodbye[0], 1011)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_everybody_left_meanwhile(self) -> None:
        """When both sides are gone before the hold is there, it is given back."""
        self.ledger.holds = []
        self.tell(used(100, 50))
        self.gateway.server.say(used(10, 5))
        self.gateway.wires[-1].cut(clean=False)
        self.gateway.pump()
        self.gateway.wait(FAREWELL)
        self.assertEqual(len(self.gateway.relaying.sessions), 1)
        holds, self.ledger.holds = self.ledger.holds, None
        holds.pop().callback(None)
        self.gateway.pump()
        self.assertEqual(len(self.gateway.relaying.sessions), 0)
        self.assertEqual(self.gateway.ledger.figures.holds_open, 0)
        self.assertEqual(self.row()["quota"], 750)
