"""Calls through the whole relay, in both lanes."""

from __future__ import annotations

import gzip
import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import UpstreamFailed
from knight_tw.storage import schema
from tests.relay.gateway import (
    DONE,
    KEY,
    PLENTY,
    Gateway,
    chat,
    completion,
    delta,
    question,
    refusal,
    stream,
    usage_event,
    whole,
)

PRICE = (10 + 5 * 4) * 5 // 4 + 1
"""Quota for 10 tokens in and 5 out of gpt-4o: 37.5, rounded half away from zero."""


class Cases:
    """What holds in both lanes."""

    fast = True

    def gateway(self, **environment: str) -> Gateway:
        """A fresh gateway in this class's lane."""
        case: Any = self
        return Gateway(case, self.fast, environment)

    # answers ------------------------------------------------------------------

    def test_answer_and_charge(self) -> None:
        """A good answer reaches the client as it came and is charged by its usage."""
        gateway = self.gateway()
        gateway.channel(chat("hello"))
        answer = gateway.chat()
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json, completion("hello"))
        (row,) = gateway.logs()
        self.assertEqual(
            (row["quota"], row["prompt_tokens"], row["completion_tokens"]),
            (PRICE, 10, 5),
        )
        self.assertEqual(row["other"]["evidence"], "provider")
        self.assertEqual(row["request_id"], answer.head["x-request-id"])
        self.assertEqual(gateway.quota(), PLENTY - PRICE)

    def test_request_reaches_the_provider_untouched(self) -> None:
        """Unknown members, number spelling and blanks arrive byte for byte."""
        gateway = self.gateway()
        gateway.channel(chat())
        body = (
            b'{ "model": "gpt-4o", "messages": [{"role":"user","content":"h\\u00e9"}],'
            b' "x_new": {"a": 1.50, "b": [1e3]} }'
        )
        self.assertEqual(gateway.request(body=body).status, 200)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.body, body)
        self.assertEqual(sent.url, "http://up1.test/v1/chat/completions")
        self.assertEqual(sent.headers["authorization"], "Bearer sk-up-1")

    def test_credentials_never_go_upstream(self) -> None:
        """The caller's key and other headers stay here."""
        gateway = self.gateway()
        gateway.channel(chat())
        gateway.request(body=question(), headers={"X-Secret": "s", "Cookie": "c=1"})
        (sent,) = gateway.provider.sent
        self.assertEqual(
            sorted(sent.headers), ["accept", "authorization", "content-type"]
        )

    def test_model_mapping_shows_the_clients_name(self) -> None:
        """A chain of names is followed; the answer shows what was asked for."""
        gateway = self.gateway()
        mapping = json.dumps({"gpt-4o": "a", "a": "b"})
        gateway.channel(chat(model="b"), model_mapping=mapping)
        answer = gateway.chat()
        self.assertEqual(gateway.provider.sent[0].json["model"], "b")
        self.assertEqual(answer.json["model"], "gpt-4o")
        (row,) = gateway.logs()
        self.assertEqual(row["other"]["upstream_model_name"], "b")

    def test_embeddings_and_moderations(self) -> None:
        """Other kinds of work go to their own paths and are charged for input."""
        gateway = self.gateway()
        gateway.option("SelfUseModeEnabled", "true")
        usage = {"prompt_tokens": 40, "total_tokens": 40}
        gateway.channel(whole({"data": [], "model": "m", "usage": usage}))
        body = {"model": "text-embedding-3-small", "input": "x"}
        self.assertEqual(gateway.request("/v1/embeddings", body).status, 200)
        gateway.provider.script = [whole({"results": []})]
        self.assertEqual(gateway.request("/v1/moderations", {"input": "x"}).status, 200)
        urls = [sent.url for sent in gateway.provider.sent]
        self.assertEqual(
            urls, ["http://up1.test/v1/embeddings", "http://up1.test/v1/moderations"]
        )
        self.assertEqual(gateway.logs()[0]["quota"], 1)

    # retry --------------------------------------------------------------------

    def test_moves_to_the_next_channel(self) -> None:
        """A 500 from the first channel is retried on the second and charged once."""
        gateway = self.gateway()
        gateway.option("RetryTimes", "1")
        gateway.channel(refusal(500), priority=10)
        gateway.channel(chat("hi"), priority=5)
        self.assertEqual(gateway.chat().json["choices"][0]["message"]["content"], "hi")
        (row,) = gateway.logs()
        self.assertEqual(row["channel_id"], 2)
        self.assertEqual(row["other"]["admin_info"]["use_channel"], ["1", "2"])

    def test_each_attempt_starts_from_the_clients_body(self) -> None:
        """What one channel changes the next does not see."""
        gateway = self.gateway()
        gateway.option("RetryTimes", "1")
        gateway.channel(refusal(500), priority=9, param_override='{"top_p": 0.5}')
        gateway.channel(chat(), priority=5)
        gateway.chat()
        bodies = [sent.json for sent in gateway.provider.sent]
        self.assertEqual([body.get("top_p") for body in bodies], [0.5, None])

    def test_a_dead_upstream_is_502_without_detail(self) -> None:
        """Connection trouble is not the client's fault; its detail is only logged."""
        gateway = self.gateway()
        gateway.channel(UpstreamFailed("upstream request failed", detail="10.0.0.1"))
        answer = gateway.chat()
        self.assertEqual(answer.status, 502)
        self.assertEqual(answer.error["code"], "do_request_failed")
        self.assertNotIn("10.0.0.1", answer.body.decode())
        self.assertEqual(gateway.quota(), PLENTY)

    def test_400_is_not_retried(self) -> None:
        """The provider's verdict on the request is passed on with its own words."""
        gateway = self.gateway()
        gateway.option("RetryTimes", "2")
        gateway.channel(refusal(400, "bad temperature"))
        answer = gateway.chat()
        self.assertEqual(answer.status, 400)
        self.assertIn("bad temperature", answer.error["message"])
        self.assertEqual((answer.error["type"], answer.error["code"]), ("t", "c"))
        self.assertEqual(len(gateway.provider.sent), 1)

    def test_429_is_retried_and_its_wait_passed_on(self) -> None:
        """The last error is reported, with the provider's `Retry-After`."""
        gateway = self.gateway()
        gateway.option("RetryTimes", "1")
        gateway.channel(refusal(429, retry_after="7"))
        answer = gateway.chat()
        self.assertEqual(len(gateway.provider.sent), 2)
        self.assertEqual((answer.status, answer.head["retry-after"]), (429, "7"))

    def test_504_is_never_retried(self) -> None:
        """Whatever the option lists."""
        gateway = self.gateway()
        gateway.option("RetryTimes", "2")
        gateway.option("AutomaticRetryStatusCodes", "504")
        gateway.channel(refusal(504))
        self.assertEqual(gateway.chat().status, 504)
        self.assertEqual(len(gateway.provider.sent), 1)

    def test_pinned_channel_never_retries(self) -> None:
        """An administrator's pin is the only channel asked."""
        gateway = self.gateway()
        gateway.option("RetryTimes", "2")
        gateway.channel(refusal(500), priority=1)
        gateway.channel(priority=9)
        answer = gateway.request(body=question(), key=f"sk-{KEY}-1")
        self.assertEqual(answer.status, 500)
        self.assertEqual(
            [s.url[:15] for s in gateway.provider.sent], ["http://up1.test"]
        )

    def test_keys_never_reach_the_client(self) -> None:
        """A provider that repeats the channel's key is masked."""
        gateway = self.gateway()
        gateway.channel(refusal(401, "Incorrect API key provided: sk-up-1"))
        self.assertNotIn("sk-up-1", gateway.chat().body.decode())

    def test_status_code_mapping(self) -> None:
        """A failed attempt gets the status that its channel maps it to."""
        gateway = self.gateway()
        gateway.channel(refusal(401), status_code_mapping='{"401": 503}')
        self.assertEqual(gateway.chat().status, 503)

    def test_error_object_with_status_200(self) -> None:
        """A 200 that says error is a failure."""
        gateway = self.gateway()
        gateway.channel(whole({"error": {"message": "late", "type": "x"}}))
        answer = gateway.chat()
        self.assertEqual(answer.status, 502)
        self.assertIn("late", answer.error["message"])
        self.assertEqual(gateway.logs(), [])

    def test_unreadable_answer(self) -> None:
        """A 200 that is no JSON is 502, and not tried elsewhere: that one charged."""
        gateway = self.gateway()
        gateway.option("RetryTimes", "1")
        gateway.channel(whole(b"<html>"))
        answer = gateway.chat()
        self.assertEqual(
            (answer.status, answer.error["code"]), (502, "bad_response_body")
        )
        self.assertEqual(len(gateway.provider.sent), 1)

    # bad input ----------------------------------------------------------------

    def test_bad_bodies(self) -> None:
        """Malformed JSON, wrong types and broken UTF-8 are 400 that name the field."""
        gateway = self.gateway()
        gateway.channel(chat())
        message = b'"messages":[{"role":"user","content":"x"}]'
        for body, param in (
            (b"{", None),
            (b"[]", None),
            (b"null", None),
            (b"", None),
            (b'{"model": 1}', "model"),
            (b'{"messages": []}', "model"),
            (b'{"model":"gpt-4o"}', "messages"),
            (b'{"model":"gpt-4o","messages":"x"}', "messages"),
            (b'{"model":"gpt-4o",' + message + b',"stream":"yes"}', "stream"),
            (b'{"model":"gpt-4o",' + message + b',"max_tokens":-1}', "max_tokens"),
            (b'{"model":"gpt-4o","messages":["\xff"]}', None),
        ):
            answer = gateway.request(body=body)
            self.assertEqual(answer.status, 400, body)
            self.assertEqual(answer.error["param"], param, body)
            self.assertEqual(answer.error["type"], "new_api_error")
            self.assertIn(answer.head["x-request-id"], answer.error["message"])
        self.assertEqual(gateway.provider.sent, [])
        self.assertEqual(gateway.quota(), PLENTY)

    def test_unknown_model(self) -> None:
        """A model that no channel of the caller's groups serves is 404."""
        gateway = self.gateway()
        gateway.channel(chat())
        answer = gateway.chat(model="nothing")
        self.assertEqual(
            (answer.status, answer.error["code"]), (404, "model_not_found")
        )

    def test_no_channel_now(self) -> None:
        """A model whose channels are all disabled is 503."""
        gateway = self.gateway()
        gateway.channel(chat(), status=2)
        self.assertEqual(gateway.chat().status, 503)

    def test_unpriced_model(self) -> None:
        """A model without a price is refused before the provider hears of it."""
        gateway = self.gateway()
        gateway.channel(chat(), models="mystery-1")
        answer = gateway.chat(model="mystery-1")
        self.assertEqual(
            (answer.status, answer.error["code"]), (400, "model_price_error")
        )
        self.assertEqual(gateway.provider.sent, [])

    def test_token_checks(self) -> None:
        """Each state of a token has its own status and code."""
        gateway = self.gateway()
        gateway.channel(chat())
        tokens, users = schema.tokens, schema.users
        for table, values, expected in (
            (tokens, {"status": 2}, (401, "invalid_api_key")),
            (tokens, {"status": 3}, (401, "token_expired")),
            (tokens, {"status": 4}, (403, "insufficient_quota")),
            (tokens, {"status": 1, "expired_time": 1}, (401, "token_expired")),
            (
                tokens,
                {"expired_time": -1, "unlimited_quota": False},
                (403, "insufficient_quota"),
            ),
            (
                tokens,
                {"unlimited_quota": True, "allow_ips": "10.0.0.0/8"},
                (403, "access_denied"),
            ),
            (tokens, {"allow_ips": "", "group": "vip9"}, (403, "group_access_denied")),
            (
                tokens,
                {"group": "", "model_limits_enabled": True, "model_limits": "x"},
                (403, "model_not_allowed"),
            ),
            (users, {"status": 2}, (403, "user_disabled")),
        ):
            gateway.change(table, **values)
            answer = gateway.chat()
            self.assertEqual((answer.status, answer.error["code"]), expected, values)
        self.assertEqual(gateway.provider.sent, [])

    def test_bad_keys(self) -> None:
        """No key and unknown keys are 401."""
        gateway = self.gateway()
        for key in ("", "sk-" + "x" * 48, "sk-%%"):
            answer = gateway.request(body=question(), key=key)
            self.assertEqual(
                (answer.status, answer.error["code"]), (401, "invalid_api_key"), key
            )

    def test_too_large(self) -> None:
        """A body over the limit is 413."""
        gateway = self.gateway()
        gateway.channel(chat())
        answer = gateway.request(body=question(pad="x" * (1024 * 1024)))
        self.assertEqual(
            (answer.status, answer.error["code"]), (413, "read_request_body_failed")
        )

    def test_compressed_bodies(self) -> None:
        """gzip is undone; what is unknown or broken is refused."""
        gateway = self.gateway()
        gateway.channel(chat())
        body = json.dumps(question()).encode()
        for data, coding, status in (
            (gzip.compress(body), "gzip", 200),
            (gzip.compress(body)[:-9], "gzip", 400),
            (body, "rot13", 415),
        ):
            answer = gateway.request(body=data, headers={"Content-Encoding": coding})
            self.assertEqual(answer.status, status, coding)
        self.assertEqual(gateway.provider.sent[0].body, body)

    def test_unknown_paths_and_methods(self) -> None:
        """404 in the reference's words, 405 with `Allow`, 501 for what is not here."""
        gateway = self.gateway()
        missing = gateway.request("/v1/nothing", {})
        self.assertEqual((missing.status, missing.error["code"]), (404, ""))
        self.assertIn("Invalid URL (POST /v1/nothing)", missing.error["message"])
        wrong = gateway.request("/v1/chat/completions", method="GET")
        self.assertEqual((wrong.status, wrong.head["allow"]), (405, "POST"))
        absent = gateway.request("/v1/files", method="GET")
        self.assertEqual(
            (absent.status, absent.error["code"]), (501, "api_not_implemented")
        )

    def test_preflight(self) -> None:
        """Browsers may ask from anywhere; no key is needed to ask whether."""
        gateway = self.gateway()
        answer = gateway.request(
            method="OPTIONS",
            key="",
            headers={"Access-Control-Request-Headers": "authorization"},
        )
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.head["access-control-allow-origin"], "*")
        self.assertEqual(answer.head["access-control-allow-headers"], "authorization")

    def test_forbidden_words(self) -> None:
        """A prompt with a listed word is refused, or masked when so set."""
        gateway = self.gateway()
        gateway.channel(chat())
        bad = [{"role": "user", "content": "a Test_Sensitive word"}]
        answer = gateway.chat(messages=bad)
        self.assertEqual(
            (answer.status, answer.error["code"]), (400, "sensitive_words_detected")
        )
        gateway.option("StopOnSensitiveEnabled", "false")
        self.assertEqual(gateway.chat(messages=bad).status, 200)
        content = gateway.provider.sent[0].json["messages"][0]["content"]
        self.assertEqual(content, "a **###** word")

    def test_rate_limit(self) -> None:
        """Calls beyond the window's count are 429 with the wait."""
        gateway = self.gateway()
        gateway.channel(chat())
        gateway.option("ModelRequestRateLimitEnabled", "true")
        gateway.option("ModelRequestRateLimitCount", "2")
        statuses = [gateway.chat().status for _ in range(3)]
        self.assertEqual(statuses, [200, 200, 429])

    def test_rate_limit_of_successes(self) -> None:
        """Only answers below 400 count in the success window."""
        gateway = self.gateway()
        gateway.channel(refusal(400), refusal(400), chat())
        gateway.option("ModelRequestRateLimitEnabled", "true")
        gateway.option("ModelRequestRateLimitSuccessCount", "1")
        statuses = [gateway.chat().status for _ in range(4)]
        self.assertEqual(statuses, [400, 400, 200, 429])

    # the channel's settings ---------------------------------------------------

    def test_system_prompt(self) -> None:
        """A channel's system prompt is added where there is none."""
        gateway = self.gateway()
        gateway.channel(chat(), setting='{"system_prompt": "Be brief."}')
        gateway.chat()
        first = gateway.provider.sent[0].json["messages"][0]
        self.assertEqual(first, {"role": "system", "content": "Be brief."})

    def test_header_override(self) -> None:
        """Headers of the channel win; an absent client header leaves its own out."""
        gateway = self.gateway()
        override = {
            "Authorization": "Key {api_key}",
            "X-Trace": "{client_header:X-Trace}",
            "X-Gone": "{client_header:X-Gone}",
        }
        gateway.channel(chat(), header_override=json.dumps(override))
        gateway.request(body=question(), headers={"X-Trace": "7"})
        headers = gateway.provider.sent[0].headers
        self.assertEqual(headers["authorization"], "Key sk-up-1")
        self.assertEqual(headers["x-trace"], "7")
        self.assertNotIn("x-gone", headers)

    def test_fields_that_cost(self) -> None:
        """`service_tier` goes upstream only when the channel allows it."""
        gateway = self.gateway()
        gateway.channel(chat())
        gateway.chat(service_tier="priority")
        self.assertNotIn("service_tier", gateway.provider.sent[0].json)

    def test_multi_key_polling(self) -> None:
        """Keys take turns; a disabled one is passed over."""
        gateway = self.gateway()
        gateway.channel(
            chat(),
            key="k0\nk1\nk2",
            channel_info=json.dumps(
                {
                    "is_multi_key": True,
                    "multi_key_size": 3,
                    "multi_key_mode": "polling",
                    "multi_key_status_list": {"1": 2},
                }
            ),
        )
        for _ in range(4):
            gateway.chat()
        keys = [sent.headers["authorization"][-2:] for sent in gateway.provider.sent]
        self.assertEqual(keys, ["k0", "k2", "k0", "k2"])

    def test_auto_group(self) -> None:
        """`auto` moves to the group that serves the model and bills that one."""
        gateway = self.gateway()
        gateway.option("AutoGroups", '["vip", "default"]')
        gateway.change(schema.tokens, group="auto")
        gateway.channel(chat())
        self.assertEqual(gateway.chat().status, 200)
        self.assertEqual(gateway.logs()[0]["group"], "default")

    # money --------------------------------------------------------------------

    def test_short_balance(self) -> None:
        """Who cannot pay is refused before the provider hears of it."""
        gateway = self.gateway()
        gateway.channel(chat())
        gateway.change(schema.users, quota=100)
        answer = gateway.chat()
        self.assertEqual(
            (answer.status, answer.error["code"]), (403, "insufficient_user_quota")
        )
        self.assertEqual(gateway.provider.sent, [])

    def test_short_token(self) -> None:
        """A limited token's remainder counts as well."""
        gateway = self.gateway()
        gateway.channel(chat())
        gateway.change(schema.tokens, unlimited_quota=False, remain_quota=100)
        answer = gateway.chat()
        self.assertEqual(
            (answer.status, answer.error["code"]),
            (403, "pre_consume_token_quota_failed"),
        )

    def test_last_coin(self) -> None:
        """A small balance is held whole and given back but for the charge."""
        gateway = self.gateway()
        gateway.channel(chat())
        gateway.change(schema.users, quota=3000)
        self.assertEqual(gateway.chat().status, 200)
        self.assertEqual(gateway.quota(), 3000 - PRICE)

    def test_no_usage_is_counted(self) -> None:
        """Without a usage report the answer's text is counted."""
        gateway = self.gateway()
        gateway.channel(chat("some words to count", usage=None))
        gateway.chat()
        (row,) = gateway.logs()
        self.assertEqual(row["other"]["evidence"], "counted")
        self.assertTrue(row["other"]["admin_info"]["local_count_tokens"])
        self.assertGreater(row["completion_tokens"], 2)

    # streams ------------------------------------------------------------------

    def test_responses_policy(self) -> None:
        """Administrators send chat calls of some models to the Responses endpoint."""
        gateway = self.gateway()
        gateway.channel(chat())
        evil = "(a+)+$"  # backtracking engines would not come back from it
        policy = {
            "enabled": True,
            "all_channels": True,
            "model_patterns": ["(", evil, "^gpt-5"],
        }
        gateway.option(
            "global.chat_completions_to_responses_policy", json.dumps(policy)
        )
        models = ("gpt-4o", "a" * 64 + "!", "gpt-5x")
        gateway.option("ModelRatio", json.dumps(dict.fromkeys(models, 1)))
        gateway.change(schema.channels, models=",".join(models))
        gateway.done(gateway.snapshots.reload())
        for model in models:
            gateway.chat(model=model)
        urls = [sent.url.rpartition("/v1/")[2] for sent in gateway.provider.sent]
        plain = "chat/completions"
        self.assertEqual(urls, [plain, plain, "responses"])

    def test_calls_without_log_rows(self) -> None:
        """Where administrators want no rows, calls are charged all the same."""
        gateway = self.gateway()
        gateway.channel(chat())
        gateway.option("LogConsumeEnabled", "false")
        self.assertEqual(gateway.chat().status, 200)
        self.assertEqual(gateway.logs(), [])
        self.assertEqual(gateway.quota(), PLENTY - PRICE)

    def test_searches_of_another_dialect_are_charged(self) -> None:
        """What the provider searched costs the same whatever the client speaks."""
        gateway = self.gateway()
        said = {"role": "model", "parts": [{"text": "found"}]}
        found = {
            "content": said,
            "finishReason": "STOP",
            "groundingMetadata": {"webSearchQueries": ["a", "b"]},
        }
        counts = {
            "promptTokenCount": 10,
            "candidatesTokenCount": 5,
            "totalTokenCount": 15,
        }
        answer = {"candidates": [found], "usageMetadata": counts}
        gateway.channel(whole(answer), type=24)
        gateway.chat()
        event = b"data: " + json.dumps(answer).encode() + b"\n\n"
        gateway.provider.script = [stream()]
        client = gateway.chat(stream=True)
        gateway.provider.answers[-1].arrived(event)
        gateway.provider.answers[-1].finished(None)
        self.assertTrue(client.complete)
        searched = 2 * 14 * 500
        quotas = [row["quota"] for row in gateway.logs()]
        self.assertEqual(quotas, [PRICE + searched] * 2)

    def test_stream(self) -> None:
        """Events pass as they come; the usage is asked for and hidden."""
        gateway = self.gateway()
        gateway.channel(stream())
        client = gateway.chat(stream=True)
        upstream = gateway.provider.answers[0]
        self.assertEqual(client.raw, b"")
        upstream.arrived(delta("he"))
        self.assertEqual(client.body, delta("he"))
        upstream.arrived(delta("llo"))
        upstream.arrived(usage_event())
        upstream.arrived(DONE)
        self.assertEqual(client.body, delta("he") + delta("llo") + DONE)
        self.assertTrue(client.complete)
        asked = gateway.provider.sent[0].json["stream_options"]
        self.assertEqual(asked, {"include_usage": True})
        (row,) = gateway.logs()
        self.assertEqual((row["quota"], row["is_stream"]), (PRICE, True))
        self.assertEqual(row["other"]["stream_status"]["end_reason"], "done")

    def test_stream_shows_usage_once_when_asked(self) -> None:
        """A client that asks for usage gets the one chunk, before `[DONE]`."""
        gateway = self.gateway()
        gateway.channel(stream())
        client = gateway.chat(stream=True, stream_options={"include_usage": True})
        upstream = gateway.provider.answers[0]
        upstream.arrived(delta("x") + usage_event() + DONE)
        self.assertTrue(client.body.endswith(usage_event() + DONE))
        self.assertEqual(client.body.count(b'"total_tokens"'), 1)

    def test_stream_charge_is_on_record_before_the_end(self) -> None:
        """The journal has the charge before the client sees the last bytes."""
        gateway = self.gateway()
        gateway.channel(stream())
        client = gateway.chat(stream=True)
        upstream = gateway.provider.answers[0]
        upstream.arrived(delta("x") + usage_event())
        self.assertFalse(client.complete)
        self.assertNotIn(b'"settle"', gateway.journal())
        upstream.arrived(DONE)
        self.assertIn(b'"settle"', gateway.journal())

    def test_stream_error_first_is_retried(self) -> None:
        """An error before any content is a failed attempt like any other."""
        gateway = self.gateway()
        gateway.option("RetryTimes", "1")
        gateway.channel(stream(), priority=9)
        gateway.channel(chat("second"), priority=5)
        client = gateway.chat(stream=True)
        gateway.provider.answers[0].arrived(
            b'data: {"error": {"message": "overloaded", "type": "x"}}\n\n'
        )
        self.assertEqual(client.status, 200)
        self.assertIn(b"second", client.body)
        self.assertNotIn(b"overloaded", client.body)

    def test_stream_that_breaks_ends_with_an_error(self) -> None:
        """The client's SDK notices, and what was delivered is charged once."""
        gateway = self.gateway()
        gateway.channel(stream())
        client = gateway.chat(stream=True)
        upstream = gateway.provider.answers[0]
        upstream.arrived(delta("some text that was delivered"))
        upstream.finished(UpstreamFailed("the upstream broke off"))
        tail = client.body.split(b"\n\n")[-3:]
        self.assertIn("error", json.loads(tail[0].removeprefix(b"data: ")))
        self.assertEqual(tail[1], b"data: [DONE]")
        (row,) = gateway.logs()
        self.assertEqual(row["other"]["interrupted"]["by"], "provider")
        self.assertEqual(row["other"]["evidence"], "counted")
        self.assertGreater(row["quota"], 0)

    def test_stream_that_ends_without_done_is_closed(self) -> None:
        """A polite end without `[DONE]` gets a finish reason and the end mark."""
        gateway = self.gateway()
        gateway.channel(stream())
        client = gateway.chat(stream=True)
        upstream = gateway.provider.answers[0]
        upstream.arrived(delta("x"))
        upstream.finished(None)
        self.assertIn(b'"finish_reason":"stop"', client.body)
        self.assertTrue(client.body.endswith(DONE))

    def test_client_leaves_before_the_answer(self) -> None:
        """Nothing is charged and the upstream request is given up."""
        gateway = self.gateway()
        given_up: list[object] = []
        gateway.channel(Deferred(given_up.append))
        gateway.chat().leave()
        self.assertEqual(len(given_up), 1)
        self.assertEqual(gateway.logs(), [])
        self.assertEqual(gateway.quota(), PLENTY)

    def test_client_leaves_mid_stream(self) -> None:
        """The upstream is closed at once; what was delivered is charged once."""
        gateway = self.gateway()
        gateway.channel(stream())
        client = gateway.chat(stream=True)
        gateway.provider.answers[0].arrived(delta("some delivered text"))
        client.leave()
        self.assertIn("abort", gateway.provider.sources[0].asked)
        (row,) = gateway.logs()
        self.assertEqual(
            row["other"]["interrupted"],
            {"by": "client", "policy": "delivered", "events": 1},
        )
        self.assertGreater(row["completion_tokens"], 0)

    def test_client_leaves_a_free_channel(self) -> None:
        """Policy `free` charges nothing."""
        gateway = self.gateway()
        gateway.channel(stream(), settings='{"interrupt_policy": "free"}')
        client = gateway.chat(stream=True)
        gateway.provider.answers[0].arrived(delta("some delivered text"))
        client.leave()
        self.assertEqual(gateway.logs(), [])
        self.assertEqual(gateway.quota(), PLENTY)

    def test_client_leaves_a_draining_channel(self) -> None:
        """Policy `drain` reads on to the provider's own usage."""
        gateway = self.gateway()
        gateway.channel(stream(), settings='{"interrupt_policy": "drain"}')
        client = gateway.chat(stream=True)
        upstream = gateway.provider.answers[0]
        upstream.arrived(delta("some"))
        client.leave()
        upstream.arrived(delta(" more") + usage_event() + DONE)
        (row,) = gateway.logs()
        self.assertEqual((row["quota"], row["other"]["evidence"]), (PRICE, "provider"))
        self.assertEqual(row["other"]["interrupted"]["policy"], "drain")

    def test_draining_has_an_end(self) -> None:
        """A drained stream that does not end is charged by what was delivered."""
        gateway = self.gateway(INTERRUPT_DRAIN_SECONDS="5")
        gateway.channel(stream(), settings='{"interrupt_policy": "drain"}')
        client = gateway.chat(stream=True)
        gateway.provider.answers[0].arrived(delta("some delivered text"))
        client.leave()
        gateway.clock.advance(6)
        (row,) = gateway.logs()
        self.assertEqual(row["other"]["interrupted"]["policy"], "delivered")

    def test_keep_alive(self) -> None:
        """Silence is broken by comments; a retry is still possible behind them."""
        gateway = self.gateway()
        gateway.option("RetryTimes", "1")
        gateway.option("general_setting.ping_interval_seconds", "5")
        waiting: Deferred[Any] = Deferred()
        gateway.channel(waiting, priority=9)
        gateway.channel(chat("second"), priority=5)
        client = gateway.chat(stream=True)
        gateway.clock.advance(5.1)
        self.assertEqual(client.body, b": PING\n\n")
        waiting.errback(UpstreamFailed("upstream request failed"))
        self.assertIn(b"second", client.body)
        self.assertTrue(client.body.endswith(DONE))

    def test_failure_behind_keep_alive_is_in_the_stream(self) -> None:
        """After a comment the status is out: the error comes as an event."""
        gateway = self.gateway()
        gateway.option("general_setting.ping_interval_seconds", "5")
        waiting: Deferred[Any] = Deferred()
        gateway.channel(waiting)
        client = gateway.chat(stream=True)
        gateway.clock.advance(5.1)
        waiting.errback(UpstreamFailed("upstream request failed"))
        self.assertEqual(client.status, 200)
        self.assertIn(b'"code":"do_request_failed"', client.body)
        self.assertTrue(client.complete)
        self.assertEqual(gateway.logs(), [])

    def test_json_for_a_stream(self) -> None:
        """A provider that does not stream is streamed for the client."""
        gateway = self.gateway()
        gateway.channel(chat("whole"))
        client = gateway.chat(stream=True)
        self.assertTrue(client.head["content-type"].startswith("text/event-stream"))
        self.assertIn(b"whole", client.body)
        self.assertTrue(client.body.endswith(DONE))

    def test_stream_for_json(self) -> None:
        """A provider that streams unasked is put together for the client."""
        gateway = self.gateway()
        gateway.channel(stream())
        client = gateway.chat()
        upstream = gateway.provider.answers[0]
        upstream.arrived(delta("he") + delta("llo") + usage_event() + DONE)
        upstream.finished(None)
        self.assertEqual(client.json["choices"][0]["message"]["content"], "hello")
        self.assertEqual(gateway.logs()[0]["quota"], PRICE)

    # lists --------------------------------------------------------------------

    def test_model_lists(self) -> None:
        """One list in three dialects."""
        gateway = self.gateway()
        gateway.channel(models="gpt-4o,unpriced-x")
        plain = gateway.request("/v1/models", method="GET").json
        self.assertEqual([m["id"] for m in plain["data"]], ["gpt-4o"])
        claude = gateway.request(
            "/v1/models",
            method="GET",
            headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"},
        ).json
        self.assertEqual((claude["first_id"], claude["has_more"]), ("gpt-4o", False))
        gemini = gateway.request("/v1beta/models", method="GET").json
        self.assertEqual(gemini["models"][0]["name"], "models/gpt-4o")

    def test_one_model(self) -> None:
        """A model of the list, and 404 for any other."""
        gateway = self.gateway()
        gateway.channel()
        found = gateway.request("/v1/models/gpt-4o", method="GET")
        self.assertEqual(found.json["owned_by"], "openai")
        lost = gateway.request("/v1/models/gpt-9", method="GET")
        self.assertEqual((lost.status, lost.error["param"]), (404, "model"))


class FastLane(Cases, SynchronousTestCase):
    """Through our own protocol."""


class GeneralLane(Cases, SynchronousTestCase):
    """Through `twisted.web`."""

    fast = False
