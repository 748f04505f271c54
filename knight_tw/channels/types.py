"""What the console needs to know of each channel type to draw its form.

Names and addresses come from the providers; here stand the forms of keys and the fields
that only some types have (providers specification, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from knight_tw.channels.probes import UNTESTABLE
from knight_tw.providers import find
from knight_tw.providers.identity import ALL as IDENTITIES
from knight_tw.providers.identity import Identity, endpoint_types


@frozen
class KeyForm:
    """How a key of a type is written: an example for people, a pattern for forms."""

    hint: str
    pattern: str = ""


@frozen
class Field:
    """A field that a type adds to the form.

    Attributes:
        name: A column, or a member of `settings` or `setting` as `settings.x`.
        kind: `text`, `flag`, `json`, `choice:a|b`.
    """

    name: str
    kind: str = "text"
    required: bool = False


_PART = r"[^|\s]+"
_KEYS: Mapping[int, KeyForm] = {
    15: KeyForm("APIKey|SecretKey", rf"{_PART}\|{_PART}"),
    16: KeyForm("id.secret", r"[^.\s]+\.[^.\s]+"),
    18: KeyForm("APPID|APISecret|APIKey", rf"{_PART}\|{_PART}\|{_PART}"),
    22: KeyForm("APIKey-AppId"),
    23: KeyForm("AppId|SecretId|SecretKey", rf"{_PART}\|{_PART}\|{_PART}"),
    24: KeyForm("AIza..."),
    26: KeyForm("id.secret"),
    33: KeyForm("AccessKey|SecretKey|Region", rf"{_PART}\|{_PART}(\|{_PART})?"),
    37: KeyForm("app-..."),
    38: KeyForm("jina_..."),
    41: KeyForm("service account JSON, or an API key"),
    45: KeyForm("key, or AppId|AccessToken for speech"),
    46: KeyForm("token, or token|appid"),
    48: KeyForm("xai-..."),
    49: KeyForm("pat_..."),
    50: KeyForm("AccessKey|SecretKey, or sk-..."),
    51: KeyForm("AccessKey|SecretKey", rf"{_PART}\|{_PART}"),
    56: KeyForm("r8_..."),
    57: KeyForm('{"access_token": "...", "account_id": "..."}'),
}
_USUAL_KEY = KeyForm("sk-...")

_PRIVACY = (
    Field("settings.allow_service_tier", "flag"),
    Field("settings.allow_inference_geo", "flag"),
)
_OPENAI = (
    Field("openai_organization"),
    Field("setting.force_format", "flag"),
    *_PRIVACY,
    Field("settings.disable_store", "flag"),
    Field("settings.allow_safety_identifier", "flag"),
    Field("settings.allow_include_obfuscation", "flag"),
)
_ADDRESS = Field("base_url", required=True)
_FIELDS: Mapping[int, tuple[Field, ...]] = {
    1: _OPENAI,
    2: (_ADDRESS,),
    3: (_ADDRESS, Field("other"), Field("settings.azure_responses_version")),
    5: (_ADDRESS,),
    8: (_ADDRESS,),
    14: (
        *_PRIVACY,
        Field("settings.allow_speed", "flag"),
        Field("settings.claude_beta_query", "flag"),
    ),
    17: (Field("other"),),
    18: (Field("other", required=True),),
    20: (Field("settings.openrouter_enterprise", "flag"),),
    21: (Field("other", required=True),),
    33: (Field("settings.aws_key_type", "choice:ak_sk|api_key"),),
    34: (Field("settings.cohere_api", "choice:v2|v1"),),
    36: (_ADDRESS,),
    39: (Field("other", required=True),),
    41: (
        Field("other", required=True),
        Field("settings.vertex_key_type", "choice:json|api_key"),
    ),
    47: (_ADDRESS,),
    49: (Field("other", required=True),),
    58: (_ADDRESS, Field("settings.advanced_custom", "json", required=True)),
    59: (_ADDRESS,),
    60: (_ADDRESS,),
}

_LISTED_ELSEWHERE = frozenset({4, 14, 24})
"""Types whose model list has a form of its own."""


def described(identity: Identity) -> dict[str, Any]:
    """One channel type: names, key, fields, what it can do."""
    provider = find(identity.id)
    key = _KEYS.get(identity.id, _USUAL_KEY)
    return {
        "type": identity.id,
        "name": identity.name,
        "icon": icon_of(identity),
        "base_url": identity.base_url,
        "key_hint": key.hint,
        "key_pattern": key.pattern,
        "fields": [
            {"name": field.name, "kind": field.kind, "required": field.required}
            for field in _FIELDS.get(identity.id, ())
        ],
        "fetchable": fetchable(identity.id),
        "testable": identity.id not in UNTESTABLE,
        "supported": provider is not None,
        "deprecated": identity.deprecated,
        "endpoints": endpoint_types("", [identity.id]),
        "models": list(provider.models) if provider else [],
    }


def fetchable(type_id: int) -> bool:
    """True when an upstream of the type lists its models."""
    provider = find(type_id)
    if provider is None:
        return False
    return type_id in _LISTED_ELSEWHERE or bool(provider.models_path)


def icon_of(identity: Identity) -> str:
    """The name of a type's icon: its own name in lower case, without blanks."""
    letters = (c for c in identity.name.lower() if c.isalnum())
    return "".join(letters)


def every_type() -> list[dict[str, Any]]:
    """All channel types."""
    return [described(identity) for identity in IDENTITIES]


def default_addresses() -> dict[str, str]:
    """Channel type to its usual address, of those that have one."""
    return {str(one.id): one.base_url for one in IDENTITIES if one.base_url}
