"""OpenAI (1): the form that everybody else is compared with."""

from __future__ import annotations

from knight_tw.providers.credentials import with_organization
from knight_tw.providers.openai_family import openai_provider

OPENAI = openai_provider(
    1,
    "OpenAI",
    "https://api.openai.com",
    authorize=with_organization,
    stream_options=True,
)
