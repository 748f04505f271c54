"""URLs of attempts."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw import providers
from knight_tw.errors import ChannelFault, UnsupportedEndpoint
from knight_tw.providers.addresses import gemini_path
from knight_tw.records import Dialect, Mode
from tests.providers.attempts import target


def url_of(type_id: int, mode: Mode = Mode.CHAT, model: str = "m", **more: Any) -> str:
    """Where a provider is called."""
    provider = providers.find(type_id)
    assert provider is not None
    return provider.url(target(mode, model, type_id=type_id, **more))


CHAT, RESPONSES, MESSAGES = Mode.CHAT, Mode.RESPONSES, Mode.MESSAGES
COMPLETIONS, EMBEDDINGS = Mode.COMPLETIONS, Mode.EMBEDDINGS
PLAN = "kimi-coding-plan"

URLS: tuple[tuple[int, Mode, dict[str, Any], str], ...] = (
    (1, CHAT, {}, "https://api.openai.com/v1/chat/completions"),
    (1, RESPONSES, {}, "https://api.openai.com/v1/responses"),
    (1, Mode.COMPACT, {}, "https://api.openai.com/v1/responses/compact"),
    (1, EMBEDDINGS, {"base_url": "https://h/"}, "https://h/v1/embeddings"),
    (1, CHAT, {"base_url": "https://h/v1"}, "https://h/v1/chat/completions"),
    (
        1,
        CHAT,
        {"base_url": "https://h/v3/openai"},
        "https://h/v3/openai/chat/completions",
    ),
    (
        1,
        CHAT,
        {"base_url": "https://h/v1beta/openai"},
        "https://h/v1beta/openai/chat/completions",
    ),
    (1, CHAT, {"base_url": "https://h/v2ray"}, "https://h/v2ray/v1/chat/completions"),
    (
        1,
        CHAT,
        {"base_url": "https://h/x", "settings": {"join_without_v1": True}},
        "https://h/x/chat/completions",
    ),
    (
        1,
        CHAT,
        {"base_url": "https://gateway.ai.cloudflare.com/v1/a/g/openai"},
        "https://gateway.ai.cloudflare.com/v1/a/g/openai/chat/completions",
    ),
    (1, Mode.REALTIME, {}, "wss://api.openai.com/v1/realtime?model=m"),
    (1, Mode.REALTIME, {"base_url": "http://h"}, "ws://h/v1/realtime?model=m"),
    (8, CHAT, {"base_url": "https://h/{model}/x"}, "https://h/m/x"),
    (8, EMBEDDINGS, {"base_url": "https://h/y"}, "https://h/y"),
    (
        17,
        CHAT,
        {},
        "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions",
    ),
    (
        17,
        RESPONSES,
        {},
        "https://dashscope.aliyuncs.com/api/v2/apps/protocols/compatible-mode/v1/responses",
    ),
    (17, MESSAGES, {}, "https://dashscope.aliyuncs.com/apps/anthropic/v1/messages"),
    (20, CHAT, {}, "https://openrouter.ai/api/v1/chat/completions"),
    (
        20,
        CHAT,
        {"base_url": "https://openrouter.ai/api/v1"},
        "https://openrouter.ai/api/v1/chat/completions",
    ),
    (25, MESSAGES, {}, "https://api.moonshot.cn/anthropic/v1/messages"),
    (25, CHAT, {"base_url": PLAN}, "https://api.kimi.com/coding/v1/chat/completions"),
    (25, MESSAGES, {"base_url": PLAN}, "https://api.kimi.com/coding/v1/messages"),
    (26, CHAT, {}, "https://open.bigmodel.cn/api/paas/v4/chat/completions"),
    (26, MESSAGES, {}, "https://open.bigmodel.cn/api/anthropic/v1/messages"),
    (
        26,
        CHAT,
        {"base_url": "glm-coding-plan"},
        "https://open.bigmodel.cn/api/coding/paas/v4/chat/completions",
    ),
    (
        26,
        MESSAGES,
        {"base_url": "glm-coding-plan-international"},
        "https://api.z.ai/api/anthropic/v1/messages",
    ),
    (27, CHAT, {}, "https://api.perplexity.ai/chat/completions"),
    (27, RESPONSES, {}, "https://api.perplexity.ai/v1/responses"),
    (35, CHAT, {}, "https://api.minimax.chat/v1/text/chatcompletion_v2"),
    (35, MESSAGES, {}, "https://api.minimax.chat/anthropic/v1/messages"),
    (40, COMPLETIONS, {}, "https://api.siliconflow.cn/v1/completions"),
    (42, COMPLETIONS, {}, "https://api.mistral.ai/v1/fim/completions"),
    (43, CHAT, {}, "https://api.deepseek.com/v1/chat/completions"),
    (43, COMPLETIONS, {}, "https://api.deepseek.com/beta/completions"),
    (
        43,
        COMPLETIONS,
        {"base_url": "https://api.deepseek.com/beta"},
        "https://api.deepseek.com/beta/completions",
    ),
    (43, RESPONSES, {}, "https://api.deepseek.com/responses"),
    (43, MESSAGES, {}, "https://api.deepseek.com/anthropic/v1/messages"),
    (44, EMBEDDINGS, {}, "https://api.moka.ai/embeddings"),
    (45, CHAT, {}, "https://ark.cn-beijing.volces.com/api/v3/chat/completions"),
    (
        45,
        CHAT,
        {"model": "bot-1"},
        "https://ark.cn-beijing.volces.com/api/v3/bots/chat/completions",
    ),
    (45, EMBEDDINGS, {}, "https://ark.cn-beijing.volces.com/api/v3/embeddings"),
    (
        45,
        EMBEDDINGS,
        {"model": "doubao-embedding-vision"},
        "https://ark.cn-beijing.volces.com/api/v3/embeddings/multimodal",
    ),
    (
        45,
        Mode.IMAGE_EDITS,
        {},
        "https://ark.cn-beijing.volces.com/api/v3/images/generations",
    ),
    (
        45,
        MESSAGES,
        {"base_url": "doubao-coding-plan"},
        "https://ark.cn-beijing.volces.com/api/coding/v1/messages",
    ),
    (46, CHAT, {}, "https://qianfan.baidubce.com/v2/chat/completions"),
    (48, Mode.IMAGES, {}, "https://api.x.ai/v1/images/generations"),
    (60, CHAT, {"base_url": "https://g"}, "https://g/v1/chat/completions"),
    (60, MESSAGES, {"base_url": "https://g"}, "https://g/v1/messages"),
    (59, Mode.ALPHA_SEARCH, {"base_url": "https://g"}, "https://g/v1/alpha/search"),
    (
        60,
        Mode.COUNT_TOKENS,
        {"base_url": "https://g"},
        "https://g/v1/messages/count_tokens",
    ),
    (
        60,
        Mode.GEMINI,
        {"base_url": "https://g", "model": "a/b"},
        "https://g/v1beta/models/a/b:generateContent",
    ),
)


class Joining(SynchronousTestCase):
    """Addresses joined with paths."""

    def test_urls(self) -> None:
        """Each kind of request has the URL of the specification."""
        for type_id, mode, more, expected in URLS:
            with self.subTest(type_id=type_id, mode=mode, more=more):
                self.assertEqual(url_of(type_id, mode, **more), expected)

    def test_what_is_sent_decides(self) -> None:
        """A converted request goes to the path of its new form."""
        for mode in (Mode.MESSAGES, Mode.GEMINI, Mode.RESPONSES):
            found = url_of(40, mode, dialect=Dialect.CHAT)
            self.assertEqual(found, "https://api.siliconflow.cn/v1/chat/completions")
        found = url_of(43, Mode.CHAT, dialect=Dialect.CLAUDE)
        self.assertEqual(found, "https://api.deepseek.com/anthropic/v1/messages")

    def test_query(self) -> None:
        """The client's query goes along with its path, without credentials."""
        found = url_of(1, query="a=1&key=sk-x&&b")
        self.assertEqual(found, "https://api.openai.com/v1/chat/completions?a=1&b")
        found = url_of(1, query="key=sk-x")
        self.assertEqual(found, "https://api.openai.com/v1/chat/completions")
        found = url_of(1, Mode.MESSAGES, dialect=Dialect.CHAT, query="beta=true")
        self.assertEqual(found, "https://api.openai.com/v1/chat/completions")

    def test_no_address(self) -> None:
        """A type without a default address needs one in the channel."""
        self.assertRaises(ChannelFault, url_of, 47)

    def test_no_such_kind(self) -> None:
        """A kind of request that the provider lacks is refused."""
        error = self.assertRaises(UnsupportedEndpoint, url_of, 27, Mode.EMBEDDINGS)
        self.assertEqual((error.status, error.code), (400, "unsupported_endpoint"))

    def test_no_such_kind_in_a_plan(self) -> None:
        """A coding plan has no kind of request that the provider lacks."""
        self.assertRaises(UnsupportedEndpoint, url_of, 25, Mode.SPEECH, base_url=PLAN)


class Gemini(SynchronousTestCase):
    """`gemini_path`."""

    def test_the_clients_action(self) -> None:
        """Version and action of the client are kept, the model is ours."""
        for path, stream, expected in (
            ("/v1beta/models/x:countTokens", False, "/v1beta/models/m:countTokens"),
            ("/v1alpha/models/a/b:predict", False, "/v1alpha/models/m:predict"),
            ("/v1/models/x:embedContent", False, "/v1beta/models/m:embedContent"),
            (
                "/v1beta/models/x:streamGenerateContent",
                True,
                "/v1beta/models/m:streamGenerateContent?alt=sse",
            ),
            ("/v1/messages", False, "/v1beta/models/m:generateContent"),
            (
                "/v1/messages",
                True,
                "/v1beta/models/m:streamGenerateContent?alt=sse",
            ),
        ):
            with self.subTest(path=path):
                aim = target(Mode.GEMINI, path=path, stream=stream)
                self.assertEqual(gemini_path(aim), expected)
