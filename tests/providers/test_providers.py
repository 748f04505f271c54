"""Each provider's own fields, headers, errors and usage."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw import providers
from knight_tw.errors import ChannelFault, UnsupportedEndpoint
from knight_tw.providers.fields import cached_from
from knight_tw.providers.mistral import short_id
from knight_tw.providers.provider import Provider
from knight_tw.records import Dialect, Mode
from knight_tw.wire.usage import read_usage
from tests.providers.attempts import prepared, target

USER = [{"role": "user", "content": "hi"}]


def of(type_id: int) -> Provider:
    """A provider that must exist."""
    provider = providers.find(type_id)
    assert provider is not None
    return provider


def sent(
    type_id: int,
    model: str = "m",
    mode: Mode = Mode.CHAT,
    *,
    of_: Any = None,
    **members: Any,
) -> Any:
    """The body that goes out, without the client's model name."""
    aim = target(mode, model, type_id=type_id, **(of_ or {}))
    return prepared(of(type_id), aim, **members)


def headers(type_id: int, **more: Any) -> dict[str, str]:
    """The credential headers of an attempt."""
    mode = more.pop("mode", Mode.CHAT)
    return dict(of(type_id).authorize(target(mode, type_id=type_id, **more)))


def raised(type_id: int, answer: Any) -> Any:
    """The error that a 200 answer hides."""
    read = of(type_id).raised_error
    assert read is not None
    return read(answer)


def usage(type_id: int, **members: Any) -> Any:
    """The usage read from a provider's object."""
    return read_usage(members, of(type_id).read_usage)


class Shared(SynchronousTestCase):
    """What several providers have in common."""

    def test_openai(self) -> None:
        """The organisation is named when the channel has one."""
        self.assertEqual(headers(1), {"Authorization": "Bearer key"})
        found = headers(1, organization="org")
        self.assertEqual(found["OpenAI-Organization"], "org")

    def test_claude_endpoints(self) -> None:
        """Claude endpoints of others get the key in both places, and the version."""
        for type_id in (17, 25, 26, 35, 43, 45, 59, 60):
            found = headers(type_id, mode=Mode.MESSAGES)
            self.assertEqual(found["x-api-key"], "key")
            self.assertEqual(found["Authorization"], "Bearer key")
            self.assertEqual(found["anthropic-version"], "2023-06-01")
        asked = {"anthropic-version": "2024-01-01", "anthropic-beta": "b"}
        found = headers(43, mode=Mode.MESSAGES, headers=asked)
        self.assertEqual({name: found[name] for name in asked}, asked)
        options = {"claude.anthropic_version": "2025-01-01"}
        found = headers(43, mode=Mode.MESSAGES, options=options)
        self.assertEqual(found["anthropic-version"], "2025-01-01")

    def test_gemini_endpoints(self) -> None:
        """Gemini endpoints read their own header."""
        found = headers(60, mode=Mode.GEMINI)
        self.assertEqual(found, {"x-goog-api-key": "key"})

    def test_cached_tokens(self) -> None:
        """The first place that is not zero counts, unless the usual one does."""
        complete = cached_from("a.b", "c")
        for obj, expected in (
            ({"a": {"b": 3}, "c": 4}, 3),
            ({"a": {"b": 0}, "c": 4}, 4),
            ({"a": 5, "c": 4}, 4),
            ({"c": 4, "prompt_tokens_details": {"cached_tokens": 9}}, 9),
            ({}, 0),
        ):
            found = read_usage({"prompt_tokens": 20, **obj}, complete)
            assert found is not None
            self.assertEqual(found.cached, expected)

    def test_details_are_not_shared(self) -> None:
        """Completing a usage leaves the provider's own details object alone."""
        details = {"audio_tokens": 1}
        obj = {"prompt_tokens_details": details, "cached_tokens": 2}
        cached_from("cached_tokens")(obj)
        self.assertEqual(details, {"audio_tokens": 1})
        self.assertEqual(obj["prompt_tokens_details"]["audio_tokens"], 1)


class Azure(SynchronousTestCase):
    """Azure (3)."""

    ROOT = "https://r.openai.azure.com"

    def url(self, mode: Mode = Mode.CHAT, model: str = "gpt-4.1", **more: Any) -> str:
        """Where Azure is called."""
        more.setdefault("base_url", self.ROOT)
        return of(3).url(target(mode, model, type_id=3, **more))

    def test_deployments(self) -> None:
        """The model is a deployment; client, channel or default give the version."""
        place = f"{self.ROOT}/openai/deployments/gpt-4.1"
        for mode, path in (
            (Mode.CHAT, "/chat/completions"),
            (Mode.EMBEDDINGS, "/embeddings"),
            (Mode.IMAGE_EDITS, "/images/edits"),
        ):
            expected = f"{place}{path}?api-version=2025-04-01-preview"
            self.assertEqual(self.url(mode), expected)
        for more, version in (
            ({"other": "v1"}, "v1"),
            ({"other": "v1", "query": "api-version=v2&x=1"}, "v2"),
            ({"options": {"azure_default_api_version": "v3"}}, "v3"),
        ):
            self.assertTrue(self.url(**more).endswith(f"?api-version={version}"))

    def test_converted(self) -> None:
        """Converted requests go to the chat path."""
        found = self.url(Mode.MESSAGES, dialect=Dialect.CHAT)
        self.assertIn("/gpt-4.1/chat/completions?", found)

    def test_full_stops(self) -> None:
        """Old channels name deployments without full stops."""
        for created, name in ((1, "gpt-41"), (0, "gpt-41"), (1746835200, "gpt-4.1")):
            found = self.url(created_time=created)
            self.assertIn(f"/deployments/{name}/", found)

    def test_responses(self) -> None:
        """Responses have a path and version of their own."""
        other = "https://x.cognitiveservices.azure.com"
        mine = {"settings": {"azure_responses_version": "v9"}}
        for more, expected in (
            ({}, f"{self.ROOT}/openai/v1/responses?api-version=preview"),
            (mine, f"{self.ROOT}/openai/v1/responses?api-version=v9"),
            (
                {"base_url": other},
                f"{other}/openai/responses?api-version=2025-04-01-preview",
            ),
            ({"base_url": other, **mine}, f"{other}/openai/responses?api-version=v9"),
        ):
            self.assertEqual(self.url(Mode.RESPONSES, **more), expected)
        self.assertIn("/openai/v1/responses/compact?", self.url(Mode.COMPACT))

    def test_realtime(self) -> None:
        """Realtime is a websocket with the deployment in the query."""
        expected = (
            "wss://r.openai.azure.com/openai/realtime"
            "?deployment=gpt-4.1&api-version=2025-04-01-preview"
        )
        self.assertEqual(self.url(Mode.REALTIME), expected)

    def test_cloudflare(self) -> None:
        """An AI Gateway's address already stands for the deployments."""
        root = "https://gateway.ai.cloudflare.com/v1/a/g/azure-openai/r"
        found = self.url(base_url=root)
        self.assertTrue(found.startswith(f"{root}/gpt-4.1/chat/completions?"))

    def test_newer_surface(self) -> None:
        """An address that ends in `/openai/v1` has plain paths and the model inside."""
        root = f"{self.ROOT}/openai/v1"
        self.assertEqual(self.url(base_url=root), f"{root}/chat/completions")
        found = sent(3, "gpt-4.1", of_={"base_url": root}, messages=USER)
        self.assertEqual(found["model"], "gpt-4.1")

    def test_bodies(self) -> None:
        """Chat names the model only in the URL, other work keeps it."""
        self.assertEqual(sent(3, model="m", messages=USER), {"messages": USER})
        found = sent(3, "m", Mode.EMBEDDINGS, input="a")
        self.assertEqual(found, {"input": "a", "model": "m"})

    def test_credentials(self) -> None:
        """A key goes into `api-key`, a token of Entra is a Bearer."""
        self.assertEqual(headers(3), {"api-key": "key"})
        self.assertEqual(headers(3, key="eyJx"), {"Authorization": "Bearer eyJx"})


class Ali(SynchronousTestCase):
    """Ali (17)."""

    def test_top_p(self) -> None:
        """It is brought between 0 and 1, absent it stays absent."""
        for value, expected in (
            (1, 0.999),
            (2, 0.999),
            (0, 0.001),
            (-1, 0.001),
            (0.5, 0.5),
        ):
            self.assertEqual(sent(17, top_p=value)["top_p"], expected)
        self.assertNotIn("top_p", sent(17))
        for odd in (None, "1", True):
            self.assertEqual(sent(17, top_p=odd)["top_p"], odd)
        found = sent(17, "qwen", Mode.MESSAGES, top_p=1)
        self.assertEqual(found["top_p"], 1)

    def test_headers(self) -> None:
        """Streams and plug-ins have a header each."""
        found = headers(17, stream=True, other="plug")
        self.assertEqual(found["X-DashScope-SSE"], "enable")
        self.assertEqual(found["X-DashScope-Plugin"], "plug")
        self.assertEqual(headers(17), {"Authorization": "Bearer key"})

    def test_errors(self) -> None:
        """A code with a message is an error, an answer is none."""
        self.assertEqual(raised(17, {"code": "X", "message": "m"}), (502, "m"))
        for answer in ({"code": "", "message": "m"}, {"code": "X"}, {"choices": []}):
            self.assertIsNone(raised(17, answer))


class OpenRouter(SynchronousTestCase):
    """OpenRouter (20)."""

    def test_usage_is_asked_for(self) -> None:
        """Usage is included unless the client says how; only in chat."""
        self.assertEqual(sent(20)["usage"], {"include": True})
        self.assertEqual(sent(20, usage={"x": 1})["usage"], {"x": 1})
        self.assertNotIn("usage", sent(20, "m", Mode.EMBEDDINGS))

    def test_reasoning(self) -> None:
        """Suffix, effort and Claude's thinking become `reasoning`."""
        claude = "anthropic/claude"
        thinking = {"type": "enabled", "budget_tokens": 9}
        for model, members, expected in (
            ("a/b-thinking", {}, {"enabled": True}),
            (
                "a/b-thinking",
                {"reasoning_effort": "low"},
                {"enabled": True, "effort": "low"},
            ),
            ("a/b", {"reasoning_effort": "low"}, {"effort": "low"}),
            ("a/b", {"reasoning_effort": "none"}, {"enabled": False}),
            (claude, {"thinking": thinking}, {"enabled": True, "max_tokens": 9}),
            (claude, {"thinking": {"type": "disabled"}}, None),
            ("a/b", {"reasoning": {"x": 1}}, {"x": 1}),
            (
                "a/b",
                {"reasoning": {"effort": "high"}, "reasoning_effort": "low"},
                {"effort": "high"},
            ),
            ("a/b", {}, None),
        ):
            with self.subTest(model=model, members=members):
                found = sent(20, model, **members)
                self.assertEqual(found.get("reasoning"), expected)
                self.assertFalse({"reasoning_effort", "thinking"} & found.keys())
                self.assertEqual(found["model"], model.removesuffix("-thinking"))

    def test_real_names(self) -> None:
        """Models whose own name ends in `-thinking` keep it."""
        for model in ("qwen/qwen3-max-thinking", "moonshotai/kimi-k2-thinking"):
            found = sent(20, model)
            self.assertEqual(found["model"], model)
            self.assertNotIn("reasoning", found)

    def test_thinking_of_others(self) -> None:
        """Thinking of other models goes on as it is."""
        found = sent(20, "z/glm", thinking={"type": "enabled"})
        self.assertEqual(found["thinking"], {"type": "enabled"})

    def test_headers(self) -> None:
        """Who asks is said when the options say it."""
        options = {"openrouter.referer": "https://r", "openrouter.title": "T"}
        found = headers(20, options=options)
        self.assertEqual(found["HTTP-Referer"], "https://r")
        self.assertEqual(found["X-OpenRouter-Title"], "T")
        self.assertEqual(headers(20), {"Authorization": "Bearer key"})

    def test_wrapping(self) -> None:
        """Enterprise answers are opened, others stay."""
        settings = {"openrouter_enterprise": True}
        read = of(20).unwrap
        assert read is not None
        unwrap = read(target(settings=settings))
        assert unwrap is not None
        self.assertEqual(unwrap({"success": True, "data": {"a": 1}}), {"a": 1})
        for other in ({"choices": []}, {"success": False, "error": "m"}):
            self.assertEqual(unwrap(other), other)


class Others(SynchronousTestCase):
    """Providers with few differences."""

    def test_moonshot(self) -> None:
        """Kimi 2.6 takes temperature 1; cached tokens stand at the top."""
        self.assertEqual(sent(25, "kimi-k2.6-x", temperature=0.5)["temperature"], 1)
        self.assertEqual(sent(25, "kimi-k2.5", temperature=0.5)["temperature"], 0.5)
        self.assertNotIn("temperature", sent(25, "kimi-k2.6"))
        self.assertEqual(usage(25, prompt_tokens=9, cached_tokens=4).cached, 4)

    def test_zhipu(self) -> None:
        """`top_p`, stop words and images have Zhipu's form."""
        found = sent(26, top_p=1, stop="x")
        self.assertEqual((found["top_p"], found["stop"]), (0.99, ["x"]))
        self.assertEqual(sent(26, stop=["a", "b"])["stop"], ["a", "b"])
        image = {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,QUJD"},
        }
        plain = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
        odd = [{"type": "text"}, {"image_url": "x"}, "odd"]
        messages = [{"content": [image, plain, *odd]}, {"content": "t"}, "odd"]
        found = sent(26, messages=messages)["messages"][0]["content"]
        self.assertEqual(found[0]["image_url"], {"url": "QUJD"})
        self.assertEqual(found[1:], [plain, *odd])
        self.assertEqual(sent(26, messages=USER)["messages"], USER)
        body: dict[str, Any] = {"messages": [{"content": [dict(image)]}]}
        of(26).prepare(body, target(type_id=26))
        self.assertEqual(body["messages"][0]["content"][0]["image_url"]["url"], "QUJD")
        self.assertEqual(sent(26, "m", Mode.EMBEDDINGS, top_p=1)["top_p"], 1)
        self.assertEqual(sent(26, messages=";base64,")["messages"], ";base64,")

    def test_zhipu_usage(self) -> None:
        """Cached tokens are found in any of their places."""
        for place in (
            {"input_tokens_details": {"cached_tokens": 3}},
            {"prompt_tokens_details": {"cached_tokens": 3}},
            {"cached_tokens": 3},
            {"prompt_cache_hit_tokens": 3},
        ):
            self.assertEqual(usage(26, prompt_tokens=9, **place).cached, 3)

    def test_perplexity(self) -> None:
        """`top_p` stays below 1, search fields pass."""
        found = sent(27, top_p=1.0, search_mode="academic")
        self.assertEqual((found["top_p"], found["search_mode"]), (0.99, "academic"))
        found = sent(27, "m", Mode.RESPONSES, top_p=1)
        self.assertEqual(found, {"top_p": 1, "model": "m"})

    def test_minimax(self) -> None:
        """Errors in `base_resp` have the statuses that they mean."""
        for code, status in (
            (1002, 429),
            (1004, 401),
            (1008, 402),
            (7, 502),
            ("x", 502),
        ):
            answer = {"base_resp": {"status_code": code, "status_msg": "m"}}
            self.assertEqual(raised(35, answer), (status, "m"))
        for answer in ({}, {"base_resp": {"status_code": 0}}, {"base_resp": "x"}):
            self.assertIsNone(raised(35, answer))
        bare = {"base_resp": {"status_code": 7}}
        self.assertEqual(raised(35, bare), (502, "MiniMax error 7"))

    def test_siliconflow(self) -> None:
        """Image names, an empty message list, rerank usage and errors."""
        found = sent(40, "m", Mode.IMAGES, size="1x1", n=2, seed=3)
        expected = {"image_size": "1x1", "batch_size": 2, "seed": 3, "model": "m"}
        self.assertEqual(found, expected)
        found = sent(40, "m", Mode.IMAGES, size="1x1", image_size="2x2")
        self.assertEqual(found["image_size"], "2x2")
        self.assertEqual(sent(40, prefix="a")["messages"], [])
        self.assertEqual(sent(40, messages=USER)["messages"], USER)
        self.assertEqual(usage(40, tokens={"input_tokens": 5}).prompt, 5)
        self.assertEqual(
            usage(40, prompt_tokens=6, tokens={"input_tokens": 5}).prompt, 6
        )
        self.assertEqual(raised(40, {"code": 20012, "message": "m"}), (502, "m"))
        for answer in (
            {"code": 20000, "message": "Ok"},
            {"code": "x", "message": "m"},
            {"code": 1},
        ):
            self.assertIsNone(raised(40, answer))

    def test_deepseek(self) -> None:
        """Suffixes of v4 names switch thinking, in each dialect's way."""
        none, most = "deepseek-v4-pro-none", "deepseek-v4-pro-max"
        off, on = {"type": "disabled"}, {"type": "enabled"}
        found = sent(43, none, reasoning_effort="high")
        self.assertEqual(found, {"thinking": off, "model": "deepseek-v4-pro"})
        found = sent(43, most)
        self.assertEqual((found["thinking"], found["reasoning_effort"]), (on, "max"))
        found = sent(43, most, Mode.MESSAGES, output_config={"format": 1})
        self.assertEqual(found["output_config"], {"format": 1, "effort": "max"})
        self.assertEqual(sent(43, none, Mode.MESSAGES)["thinking"], off)
        found = sent(43, most, Mode.RESPONSES)
        self.assertEqual(found["reasoning"], {"effort": "max"})
        for name in ("deepseek-chat", "deepseek-v4-pro", "deepseek-v3-max"):
            self.assertEqual(sent(43, name), {"model": name})
        self.assertEqual(
            usage(43, prompt_tokens=9, prompt_cache_hit_tokens=4).cached, 4
        )

    def test_moka(self) -> None:
        """The total is the prompt."""
        found = usage(44, total_tokens=7)
        self.assertEqual((found.prompt, found.completion), (7, 0))

    def test_volcengine(self) -> None:
        """`-thinking` behind DeepSeek names alone is a switch."""
        found = sent(45, "deepseek-r1-thinking")
        expected = {"thinking": {"type": "enabled"}, "model": "deepseek-r1"}
        self.assertEqual(found, expected)
        name = "doubao-seed-1-6-thinking"
        self.assertEqual(sent(45, name), {"model": name})

    def test_baidu(self) -> None:
        """The key may carry an application; `-search` asks for a search."""
        self.assertEqual(headers(46, key="t"), {"Authorization": "Bearer t"})
        self.assertEqual(
            headers(46, key="t|a"), {"Authorization": "Bearer t", "appid": "a"}
        )
        found = sent(46, "ernie-search")
        self.assertEqual(found["model"], "ernie")
        self.assertEqual(
            found["web_search"],
            {
                "enable": True,
                "enable_citation": True,
                "enable_trace": True,
                "enable_status": False,
            },
        )
        given = {"enable": False}
        self.assertEqual(sent(46, "e-search", web_search=given)["web_search"], given)
        self.assertEqual(sent(46, "e-search", Mode.EMBEDDINGS), {"model": "e-search"})

    def test_xai(self) -> None:
        """Suffixes become fields, images keep few members, reasoning is completion."""
        found = sent(48, "grok-3-search")
        self.assertEqual(found["search_parameters"], {"mode": "on"})
        self.assertEqual(found["model"], "grok-3")
        found = sent(48, "grok-3-mini-high", max_tokens=5)
        expected = {
            "model": "grok-3-mini",
            "reasoning_effort": "high",
            "max_completion_tokens": 5,
        }
        self.assertEqual(found, expected)
        self.assertEqual(sent(48, "grok-4-low", max_tokens=5)["max_tokens"], 5)
        found = sent(48, "m", Mode.IMAGES, prompt="p", n=1, size="1x1", quality="hd")
        self.assertEqual(found, {"prompt": "p", "n": 1, "model": "m"})
        found = sent(48, "m", Mode.RESPONSES, max_tokens=5)
        self.assertEqual(found, {"max_tokens": 5, "model": "m"})
        found = usage(48, prompt_tokens=10, completion_tokens=1, total_tokens=40)
        self.assertEqual(found.completion, 30)
        found = usage(48, prompt_tokens=10, completion_tokens=1)
        self.assertEqual(found.completion, 1)


class Mistral(SynchronousTestCase):
    """Mistral (42)."""

    def test_members(self) -> None:
        """Names are Mistral's, what it refuses goes, the unknown stays."""
        found = sent(
            42,
            seed=1,
            max_completion_tokens=5,
            tool_choice="required",
            user="u",
            stream_options={},
            logit_bias={},
            safe_prompt=True,
            stop=["x"],
        )
        expected = {
            "random_seed": 1,
            "max_tokens": 5,
            "tool_choice": "any",
            "safe_prompt": True,
            "stop": ["x"],
            "model": "m",
        }
        self.assertEqual(found, expected)
        self.assertEqual(sent(42, tool_choice="auto")["tool_choice"], "auto")
        self.assertEqual(sent(42, "m", Mode.EMBEDDINGS, user="u")["user"], "u")

    def test_ids(self) -> None:
        """Tool call ids are shortened alike in calls and results."""
        call = {"id": "toolu_01", "function": {"name": "f"}}
        messages = [
            {"role": "assistant", "tool_calls": [call, {"id": "abcDEF123"}, {}, "odd"]},
            {"role": "tool", "tool_call_id": "toolu_01", "content": "r"},
            "odd",
        ]
        found = sent(42, messages=messages)["messages"]
        short = short_id("toolu_01")
        self.assertEqual(len(short), 9)
        ids = [c.get("id") for c in found[0]["tool_calls"][:3]]
        self.assertEqual(ids, [short, "abcDEF123", None])
        self.assertEqual(found[1]["tool_call_id"], short)
        self.assertEqual(found[2], "odd")

    def test_images(self) -> None:
        """An image's address is plain text."""
        image = {"type": "image_url", "image_url": {"url": "https://x"}}
        ready = {"type": "image_url", "image_url": "https://y"}
        messages = [{"role": "user", "content": [image, ready, "odd"]}]
        found = sent(42, messages=messages)["messages"][0]["content"]
        expected = [{"type": "image_url", "image_url": "https://x"}, ready, "odd"]
        self.assertEqual(found, expected)

    def test_nothing_to_do(self) -> None:
        """Messages without calls and images are not decoded; odd ones pass."""
        self.assertEqual(sent(42, messages=USER)["messages"], USER)
        self.assertEqual(sent(42, messages='"image_url"')["messages"], '"image_url"')
        body: dict[str, Any] = {"messages": list(USER)}
        of(42).prepare(body, target(type_id=42))
        self.assertEqual(body["messages"], USER)


class Cloudflare(SynchronousTestCase):
    """Cloudflare (39)."""

    def url(self, mode: Mode = Mode.CHAT, **more: Any) -> str:
        """Where Workers AI is called."""
        more.setdefault("other", "acc")
        return of(39).url(target(mode, "@cf/meta/x", type_id=39, **more))

    def test_urls(self) -> None:
        """Paths stand below the account, or below the gateway."""
        place = "https://api.cloudflare.com/client/v4/accounts/acc/ai"
        self.assertEqual(self.url(), f"{place}/v1/chat/completions")
        self.assertEqual(self.url(Mode.RESPONSES), f"{place}/v1/responses")
        self.assertEqual(self.url(Mode.COMPLETIONS), f"{place}/run/@cf/meta/x")
        gateway = "https://gateway.ai.cloudflare.com/v1/a/g/workers-ai"
        found = self.url(base_url=gateway, other="")
        self.assertEqual(found, f"{gateway}/v1/chat/completions")
        found = self.url(Mode.COMPLETIONS, base_url=gateway)
        self.assertEqual(found, f"{gateway}/@cf/meta/x")
        self.assertRaises(ChannelFault, self.url, other="")

    def test_bodies(self) -> None:
        """Completions keep the members that there are."""
        found = sent(39, "m", Mode.COMPLETIONS, prompt="p", n=1, stream=True)
        self.assertEqual(found, {"prompt": "p", "stream": True})
        self.assertEqual(sent(39, x=1), {"x": 1, "model": "m"})

    def test_completions(self) -> None:
        """Whole completions and their chunks become OpenAI's."""
        read = of(39).unwrap
        assert read is not None
        self.assertIsNone(read(target()))
        unwrap = read(target(Mode.COMPLETIONS, "m"))
        assert unwrap is not None
        whole = unwrap({"result": {"response": "hi", "usage": {"total_tokens": 1}}})
        self.assertEqual(whole["choices"][0]["text"], "hi")
        self.assertEqual(whole["choices"][0]["finish_reason"], "stop")
        self.assertEqual(whole["usage"], {"total_tokens": 1})
        chunk = unwrap({"response": "hi"})
        self.assertIsNone(chunk["choices"][0]["finish_reason"])
        self.assertNotIn("usage", chunk)
        self.assertEqual((chunk["object"], chunk["model"]), ("text_completion", "m"))
        for other in ({"success": False}, {"result": "x"}, {"response": None}):
            self.assertEqual(unwrap(other), other)

    def test_errors(self) -> None:
        """`success: false` is an error with its messages."""
        errors = [{"code": 1, "message": "a"}, {"message": "b"}, {}, "odd"]
        found = raised(39, {"success": False, "errors": errors})
        self.assertEqual(found, (502, "a; b"))
        self.assertEqual(raised(39, {"success": False})[0], 502)
        self.assertIsNone(raised(39, {"success": True}))
        self.assertIsNone(raised(39, {}))


class AdvancedCustom(SynchronousTestCase):
    """Advanced Custom (58)."""

    CHAT = "/v1/chat/completions"

    def aim(self, *routes: Any, **more: Any) -> Any:
        """An attempt on a channel with these routes."""
        table = {"advanced_custom": {"advanced_routes": list(routes)}}
        more.setdefault("base_url", "https://h")
        return target(type_id=58, settings=table, **more)

    def spoken(self, aim: Any) -> Any:
        """The dialects for an attempt."""
        return providers.dialects(of(58), aim.channel, aim.model, aim.path)

    def test_url(self) -> None:
        """The route's path stands behind the address, or is an address itself."""
        for route, expected in (
            ({"upstream_path": "/x/{model}"}, "https://h/x/m"),
            ({"upstream_path": "x"}, "https://h/x"),
            ({"upstream_path": "https://o/{model}"}, "https://o/m"),
            ({}, "https://h/v1/chat/completions"),
        ):
            aim = self.aim({"incoming_path": self.CHAT, **route})
            self.assertEqual(of(58).url(aim), expected)

    def test_which_route(self) -> None:
        """Path and model choose, the longest path wins."""
        route = {"incoming_path": "/v1/{model}", "upstream_path": "/short"}
        longer = {"incoming_path": "/v1/chat/{model}", "upstream_path": "/long"}
        other = {"incoming_path": self.CHAT, "models": ["x"], "upstream_path": "/no"}
        self.assertEqual(of(58).url(self.aim(route, longer, other)), "https://h/long")
        for models, served in (
            (["m"], True),
            (["re:^m"], True),
            (["re:["], False),
            (["n"], False),
            ([], True),
            ("m", True),
        ):
            aim = self.aim({"incoming_path": self.CHAT, "models": models})
            self.assertEqual(bool(self.spoken(aim)), served)

    def test_mapped_names(self) -> None:
        """A route may name the client's or the upstream's model."""
        route = {"incoming_path": self.CHAT, "models": ["client"]}
        mapping = {"client": "m", "other": "n"}
        self.assertTrue(self.spoken(self.aim(route, model_mapping=mapping)))

    def test_no_route(self) -> None:
        """Without a route there is nothing to speak to."""
        for aim in (
            self.aim({"incoming_path": "/v1/other"}),
            self.aim({"incoming_path": "/v1/chat/completions/{model}"}),
            self.aim("odd", {}),
            target(type_id=58, settings={"advanced_custom": 5}),
            target(type_id=58, settings={"advanced_custom": {"advanced_routes": 5}}),
        ):
            self.assertEqual(self.spoken(aim), ())
            self.assertRaises(UnsupportedEndpoint, of(58).url, aim)

    def test_dialects(self) -> None:
        """The converter says what is spoken, else the path."""
        gemini = "/v1beta/models/{model}:generateContent"
        for path, converter, expected in (
            (self.CHAT, "none", Dialect.CHAT),
            ("/v1/messages", None, Dialect.CLAUDE),
            ("/v1/responses", "", Dialect.RESPONSES),
            (gemini, "none", Dialect.GEMINI),
            (
                "/v1/messages",
                "anthropic_messages_to_openai_chat_completions",
                Dialect.CHAT,
            ),
            (
                self.CHAT,
                "openai_chat_completions_to_anthropic_messages",
                Dialect.CLAUDE,
            ),
        ):
            route = {"incoming_path": path, "converter": converter}
            aim = self.aim(route, path=path.replace("{model}", "m"))
            self.assertEqual(self.spoken(aim), (expected,))

    def test_gemini_streams(self) -> None:
        """A route of `generateContent` serves streams, as events."""
        path = "/v1beta/models/{model}:generateContent"
        route = {"incoming_path": path, "upstream_path": path}
        asked = "/v1beta/models/m:streamGenerateContent"
        aim = self.aim(route, path=asked, stream=True)
        self.assertEqual(of(58).url(aim), f"https://h{asked}?alt=sse")

    def test_credentials(self) -> None:
        """The key goes where the route says."""
        for auth, expected, query in (
            (None, {"Authorization": "Bearer key"}, ""),
            ({"type": "none"}, {}, ""),
            (
                {"type": "header", "name": "X-Key", "value": "k {api_key}"},
                {"X-Key": "k key"},
                "",
            ),
            ({"type": "header"}, {"Authorization": "key"}, ""),
            ({"type": "query"}, {}, "&key=key"),
            ({"type": "query", "name": "k", "value": "a {api_key}"}, {}, "&k=a%20key"),
        ):
            route = {
                "incoming_path": self.CHAT,
                "upstream_path": "/x?a=1",
                "auth": auth,
            }
            aim = self.aim(route)
            self.assertEqual(dict(of(58).authorize(aim)), expected)
            self.assertEqual(of(58).url(aim), f"https://h/x?a=1{query}")
