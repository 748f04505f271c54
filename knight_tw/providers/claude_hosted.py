"""Claude models as other clouds serve them: the model and the beta marks change place.

The model stands in the URL, version and beta features in the body instead of headers
(providers specification, 7.4 and 7.5).
"""

from __future__ import annotations

from knight_tw.providers.credentials import claude_betas
from knight_tw.providers.provider import Body, Target
from knight_tw.wire import top


def host_body(body: Body, target: Target, version: str) -> None:
    """Bring a Claude request into the form of a cloud, in place.

    Args:
        version: The cloud's `anthropic_version`, unless the client names one.
    """
    body.pop("model", None)
    body.setdefault("anthropic_version", version)
    asked = top.plain(body, "anthropic_beta")
    given = [m for m in asked if isinstance(m, str)] if isinstance(asked, list) else []
    marks = list(dict.fromkeys([*given, *claude_betas(target)]))
    if marks != given:
        body["anthropic_beta"] = marks
