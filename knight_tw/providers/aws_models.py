"""Names of models on Amazon Bedrock (providers specification, 7.5).

Most models are reached through an inference profile of several regions: their id has
the geography in front.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

_DATED = {
    "claude-3-sonnet-20240229": "us eu ap",
    "claude-3-opus-20240229": "us",
    "claude-3-haiku-20240307": "us eu ap",
    "claude-3-5-sonnet-20240620": "us eu ap",
    "claude-3-5-haiku-20241022": "us",
    "claude-3-7-sonnet-20250219": "us eu ap",
    "claude-sonnet-4-20250514": "us eu ap",
    "claude-opus-4-20250514": "us",
    "claude-opus-4-1-20250805": "us",
    "claude-sonnet-4-5-20250929": "us eu ap",
    "claude-haiku-4-5-20251001": "us eu ap",
    "claude-opus-4-5-20251101": "us eu ap",
}
_NOVA = ("micro", "lite", "pro", "canvas", "reel", "sonic")
_EVERYWHERE = "us eu ap"


@frozen
class Place:
    """A model's id, and the first letters of the regions with a profile for it."""

    id: str
    profiles: frozenset[str]

    @classmethod
    def of(cls, identity: str, profiles: str) -> Place:
        """From a text of regions."""
        return cls(identity, frozenset(profiles.split()))


PLACES: Mapping[str, Place] = {
    **{
        name: Place.of(f"anthropic.{name}-v1:0", profiles)
        for name, profiles in _DATED.items()
    },
    "claude-3-5-sonnet-20241022": Place.of(
        "anthropic.claude-3-5-sonnet-20241022-v2:0", "us ap"
    ),
    "claude-opus-4-6": Place.of("anthropic.claude-opus-4-6-v1", _EVERYWHERE),
    **{
        name: Place.of(f"anthropic.{name}", _EVERYWHERE)
        for name in ("claude-sonnet-4-6", "claude-opus-4-7", "claude-opus-4-8")
    },
    **{
        f"nova-{kind}-v1:0": Place.of(f"amazon.nova-{kind}-v1:0", _EVERYWHERE)
        for kind in _NOVA
    },
    **{
        f"nova-{kind}": Place.of(f"amazon.nova-{kind}", "us")
        for kind in ("premier-v1:0", "reel-v1:1")
    },
}
"""Our names of models to their ids."""

_GEOGRAPHIES = {"us": "us", "eu": "eu", "ap": "apac"}


def model_id(model: str, region: str) -> str:
    """The id by which a region knows a model; names of its own stay as they are."""
    place = PLACES.get(model)
    if place is None:
        return model
    start = region[:2]
    if start not in place.profiles:
        return place.id
    return f"{_GEOGRAPHIES[start]}.{place.id}"
