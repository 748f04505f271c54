"""The sentences of letters and notices, in the languages that they are written in.

A language is chosen by the account's setting, else by what the browser asks for.
"""
# ruff: noqa: RUF001 - Chinese has its own punctuation

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ENGLISH, CHINESE = "en", "zh"

_TAG = re.compile(r"\s*([A-Za-z]{2,3})")

_WORDS: Mapping[str, Mapping[str, str]] = {
    ENGLISH: {
        "code.subject": "{site}: your verification code",
        "code.intro": "Your verification code for {site} is:",
        "code.end": "It is good for {minutes} minutes. If you did not ask for it,"
        " somebody typed your address by mistake: do nothing.",
        "reset.subject": "{site}: set a new password",
        "reset.intro": "Somebody, probably you, asked for a new password at {site}."
        " Open this address to get one:",
        "reset.end": "It is good for {minutes} minutes and for one use. If you did not"
        " ask for it, do nothing: your password stays as it is.",
        "test.subject": "{site}: the mail server works",
        "test.text": "This is a test letter from {site}. It arrived, so mail works.",
        "low.title": "Your balance is running out",
        "low.text": "{mark}: {mark} left.\nTop up in time, so that your calls go on:\n"
        "{mark}",
        "channel.disabled": "Channel {name} (#{id}) was disabled",
        "channel.enabled": "Channel {name} (#{id}) was enabled again",
        "channel.text": "{mark}.\nReason: {mark}",
        "tested.title": "The test of all channels is over",
        "tested.text": "{mark}: {mark}.",
        "models.title": "Model lists of upstreams have changed",
        "models.text": "{mark}: {mark}.",
        "trial.title": "This is a test notice",
        "trial.text": "{mark}.\n{mark} tells you here when your balance runs out.",
    },
    CHINESE: {
        "code.subject": "{site}：您的验证码",
        "code.intro": "您在 {site} 的验证码为：",
        "code.end": "验证码 {minutes} 分钟内有效。如果不是您本人操作，请忽略此邮件。",
        "reset.subject": "{site}：设置新密码",
        "reset.intro": "有人（可能是您）在 {site} 申请重置密码。请打开以下链接：",
        "reset.end": "链接 {minutes} 分钟内有效，仅可使用一次。如果不是您本人操作，"
        "请忽略此邮件，您的密码不会改变。",
        "test.subject": "{site}：邮件服务器可用",
        "test.text": "这是来自 {site} 的测试邮件。您收到了它，说明邮件发送正常。",
        "low.title": "您的额度即将用尽",
        "low.text": "{mark}：当前剩余额度为 {mark}。\n"
        "为了不影响您的使用，请及时充值：\n{mark}",
        "channel.disabled": "渠道 {name}（#{id}）已被禁用",
        "channel.enabled": "渠道 {name}（#{id}）已恢复启用",
        "channel.text": "{mark}。\n原因：{mark}",
        "tested.title": "所有渠道测试已完成",
        "tested.text": "{mark}：{mark}。",
        "models.title": "上游模型列表有变更",
        "models.text": "{mark}：{mark}。",
        "trial.title": "这是一条测试通知",
        "trial.text": "{mark}。\n当额度即将用尽时，{mark} 会在此通知您。",
    },
}


def language(*wishes: str) -> str:
    """The first language of the wishes that there are sentences in, else English.

    Args:
        wishes: Names like `zh` or `zh-CN`, or a whole `Accept-Language`; the most
            important first.
    """
    for wish in wishes:
        for part in wish.split(","):
            found = _TAG.match(part)
            if found is not None and found[1].lower() in _WORDS:
                return found[1].lower()
    return ENGLISH


def say(spoken: str, key: str, **values: Any) -> str:
    """A sentence in a language that `language` returned."""
    return _WORDS[spoken][key].format(**values)
