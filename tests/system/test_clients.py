"""The real clients through a running gateway: each scenario, each kind of channel."""

from __future__ import annotations

from tests.system.clients.chat import ChatClient
from tests.system.clients.claude import ClaudeClient
from tests.system.clients.gemini import GeminiClient
from tests.system.clients.responses import ResponsesClient
from tests.system.matrix import Case, Traits, fill

CHAT = Traits(ChatClient)
RESPONSES = Traits(ResponsesClient, stops=False)
CLAUDE = Traits(ClaudeClient, tells_stop=True, marks=True)
GEMINI = Traits(GeminiClient, gemini=True)


@fill
class OpenAIChat(Case):
    """`openai`, chat completions."""

    traits = CHAT


@fill
class OpenAIResponses(Case):
    """`openai`, Responses."""

    traits = RESPONSES


@fill
class Anthropic(Case):
    """`anthropic`."""

    traits = CLAUDE


@fill
class GoogleGenAI(Case):
    """`google-genai`."""

    traits = GEMINI
