"""Custom (8): the channel's address is the whole URL, for every kind of request."""

from __future__ import annotations

from urllib.parse import quote

from knight_tw.providers.addresses import channel_root
from knight_tw.providers.openai_family import openai_provider
from knight_tw.providers.provider import Target


def url(target: Target) -> str:
    """The address with `{model}` replaced; nothing is appended."""
    root = channel_root(target.channel, "")
    return root.replace("{model}", quote(target.model, safe="/@:"))


CUSTOM = openai_provider(8, "Custom", "", url=url, models_path="")
