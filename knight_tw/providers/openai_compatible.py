"""Providers with OpenAI's own API and nothing of their own but the address."""

from __future__ import annotations

from knight_tw.providers.openai_family import openai_provider

OPENAI_MAX = openai_provider(6, "OpenAIMax", "https://api.openaimax.com")
OHMYGPT = openai_provider(7, "OhMyGPT", "https://api.ohmygpt.com")
AILS = openai_provider(9, "AILS", "https://api.caipacity.com")
AIPROXY = openai_provider(10, "AIProxy", "https://api.aiproxy.io")
API2GPT = openai_provider(12, "API2GPT", "https://api.api2gpt.com")
AIGC2D = openai_provider(13, "AIGC2D", "https://api.aigc2d.com")
QIHOO_360 = openai_provider(19, "360", "https://api.360.cn", models=())
FASTGPT = openai_provider(22, "FastGPT", "https://fastgpt.run/api/openapi")
LINGYIWANWU = openai_provider(
    31,
    "LingYiWanWu (01.AI)",
    "https://api.lingyiwanwu.com",
    models=(
        "yi-large",
        "yi-medium",
        "yi-vision",
        "yi-medium-200k",
        "yi-spark",
        "yi-large-rag",
        "yi-large-turbo",
        "yi-large-preview",
        "yi-large-rag-preview",
    ),
)
XINFERENCE = openai_provider(
    47, "Xinference", "", models=("bge-reranker-v2-m3", "jina-reranker-v2")
)
SUBMODEL = openai_provider(
    53,
    "Submodel",
    "https://llm.submodel.ai",
    stream_options=True,
    models=(
        "NousResearch/Hermes-4-405B-FP8",
        "Qwen/Qwen3-235B-A22B-Thinking-2507",
        "Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8",
        "Qwen/Qwen3-235B-A22B-Instruct-2507",
        "zai-org/GLM-4.5-FP8",
        "openai/gpt-oss-120b",
        "deepseek-ai/DeepSeek-R1-0528",
        "deepseek-ai/DeepSeek-R1",
        "deepseek-ai/DeepSeek-V3-0324",
        "deepseek-ai/DeepSeek-V3.1",
    ),
)

ALL = (
    OPENAI_MAX,
    OHMYGPT,
    AILS,
    AIPROXY,
    API2GPT,
    AIGC2D,
    QIHOO_360,
    FASTGPT,
    LINGYIWANWU,
    XINFERENCE,
    SUBMODEL,
)
