"""The flat keys of the option table, and the whole of it as `OPTIONS`.

Source: options specification, section 2; the structured keys stand in `groups`.
Keys, kinds and defaults are contract: old databases and consoles rely on them. `help`
is what the console shows.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from knight_tw.options import checks, groups, kinds
from knight_tw.options.kinds import (
    Kind,
    Option,
    fractional,
    integer,
    structure,
    switch,
)
from knight_tw.prices import shipped

RATIOS = kinds.map_of(kinds.number)
RATIOS_OF_GROUPS = kinds.map_of(RATIOS)
EVERY_GROUP = '{"default":1,"svip":1,"vip":1}'

CHATS = [
    {"Cherry Studio": "cherrystudio://providers/api-keys?v=1&data={cherryConfig}"},
    {"AionUI": "aionui://provider/add?v=1&data={aionuiConfig}"},
    {"Fluent Read": "fluentread"},
    {"CC Switch": "ccswitch"},
    {
        "Lobe Chat": "https://chat-preview.lobehub.com/?settings="
        '{"keyVaults":{"openai":{"apiKey":"{key}","baseURL":"{address}/v1"}}}'
    },
    {
        "NextChat": "https://app.nextchat.dev/#/?settings="
        '{"key":"{key}","url":"{address}"}'
    },
    {
        "AI as Workspace": 'https://aiaw.app/set-provider?provider={"type":"openai",'
        '"settings":{"apiKey":"{key}","baseURL":"{address}/v1",'
        '"compatibility":"strict"}}'
    },
    {"AMA": "ama://set-api-key?server={address}&key={key}"},
    {"OpenCat": "opencat://team/join?domain={address}&token={key}"},
]

PAY_METHODS = [
    {"icon": "SiAlipay", "name": "Alipay", "type": "alipay"},
    {"icon": "SiWechat", "name": "WeChat Pay", "type": "wxpay"},
    {
        "icon": "LuCreditCard",
        "min_topup": "50",
        "name": "Custom 1",
        "type": "custom1",
    },
]

WAFFO_PAY_METHODS = [
    {
        "name": name,
        "icon": icon,
        "payMethodType": method,
        "payMethodName": "" if "," in method else method,
    }
    for name, icon, method in (
        ("Card", "/pay-card.png", "CREDITCARD,DEBITCARD"),
        ("Apple Pay", "/pay-apple.png", "APPLEPAY"),
        ("Google Pay", "/pay-google.png", "GOOGLEPAY"),
    )
]

SHIPPED_COMPLETION = {
    "gpt-4-gizmo-*": "2",
    "gpt-4o-gizmo-*": "3",
    "gpt-4-all": "2",
    "gpt-image-1": "8",
}
AUDIO_INPUT = {
    "gpt-4o-audio-preview": "16",
    "gpt-4o-mini-audio-preview": "66.67",
    "gpt-4o-realtime-preview": "8",
    "gpt-4o-mini-realtime-preview": "16.67",
    "gpt-4o-mini-tts": "25",
}
AUDIO_OUTPUT = {
    "gpt-4o-realtime": "2",
    "gpt-4o-mini-realtime": "2",
    "gpt-4o-mini-tts": "1",
    "tts-1": "0",
    "tts-1-hd": "0",
    "tts-1-1106": "0",
    "tts-1-hd-1106": "0",
}

DISABLE_KEYWORDS = (
    "Your credit balance is too low",
    "This organization has been disabled.",
    "You exceeded your current quota",
    "Permission denied",
    "The security token included in the request is invalid",
    "Operation not allowed",
    "Your account is not authorized",
)

RETRY_CODES = "100-199,300-399,401-407,409-499,500-503,505-523,525-599"

MAIL_DOMAINS = (
    "gmail.com,163.com,126.com,qq.com,outlook.com,"
    "hotmail.com,icloud.com,yahoo.com,foxmail.com"
)


def ratio_text(table: Mapping[str, str]) -> str:
    """The JSON of a price table, numbers spelt as they are given."""
    quoted = msgspec.json.Encoder().encode
    body = ",".join(f"{quoted(name).decode()}:{n}" for name, n in table.items())
    return f"{{{body}}}"


def _text(
    key: str,
    area: str,
    help: str = "",
    default: str = "",
    *,
    kind: Kind = Kind.TEXT,
    secret: bool = False,
    unlisted: bool = False,
    check: kinds.Shape | None = None,
) -> Option:
    return Option(
        key, kind, default, area, help, secret=secret, unlisted=unlisted, check=check
    )


def _secret(key: str, area: str, help: str = "", unlisted: bool = False) -> Option:
    return _text(key, area, help, secret=True, unlisted=unlisted)


def _url(key: str, area: str, help: str = "") -> Option:
    return _text(key, area, help, kind=Kind.URL, check=checks.optional_address)


def _ratios(key: str, default: Mapping[str, str], help: str) -> Option:
    return Option(key, Kind.JSON, ratio_text(default), "billing", help, shape=RATIOS)


ACCESS = (
    *(
        integer(f"File{what}Permission", 0, "unused", "legacy minimum role", least=0)
        for what in ("Upload", "Download")
    ),
    *(
        integer(f"Image{what}Permission", 0, "unused", "legacy minimum role", least=0)
        for what in ("Upload", "Download")
    ),
    switch("PasswordLoginEnabled", True, "access", "password login allowed"),
    switch("PasswordRegisterEnabled", True, "access", "password sign-up allowed"),
    switch("RegisterEnabled", True, "access", "any sign-up allowed"),
    switch("EmailVerificationEnabled", False, "access", "sign-up needs a mail code"),
    switch(
        "EmailDomainRestrictionEnabled",
        False,
        "access",
        "only listed mail domains may sign up",
        needs="EmailDomainWhitelist",
    ),
    switch(
        "EmailAliasRestrictionEnabled", False, "access", "refuse + and . before the @"
    ),
    _text(
        "EmailDomainWhitelist",
        "access",
        "allowed mail domains",
        MAIL_DOMAINS,
        kind=Kind.COMMAS,
    ),
    _text("SMTPServer", "operations", "mail server"),
    _text("SMTPAccount", "operations", "mail account"),
    _text("SMTPFrom", "operations", "sender; the account when empty"),
    integer("SMTPPort", 587, "operations", "465 means TLS", least=1, most=65535),
    _secret("SMTPToken", "operations", "mail password"),
    switch("SMTPSSLEnabled", False, "operations", "TLS from the start"),
    switch("SMTPStartTLSEnabled", False, "operations", "STARTTLS"),
    switch("SMTPInsecureSkipVerify", False, "operations", "accept any certificate"),
    switch("SMTPForceAuthLogin", False, "operations", "use AUTH LOGIN"),
    switch(
        "TurnstileCheckEnabled",
        False,
        "access",
        "captcha on sign-in forms",
        needs="TurnstileSiteKey",
    ),
    _text("TurnstileSiteKey", "access", "captcha site key"),
    _secret("TurnstileSecretKey", "access", "captcha secret"),
    switch(
        "GitHubOAuthEnabled", False, "access", "GitHub login", needs="GitHubClientId"
    ),
    _text("GitHubClientId", "access", "GitHub client id"),
    _secret("GitHubClientSecret", "access", "GitHub client secret"),
    switch(
        "LinuxDOOAuthEnabled",
        False,
        "access",
        "LinuxDO login",
        needs="LinuxDOClientId",
        unlisted=True,
    ),
    _text("LinuxDOClientId", "access", "LinuxDO client id", unlisted=True),
    _secret("LinuxDOClientSecret", "access", "LinuxDO client secret", unlisted=True),
    integer(
        "LinuxDOMinimumTrustLevel",
        0,
        "access",
        "lowest trust level that may log in",
        least=0,
        most=4,
        unlisted=True,
    ),
    switch(
        "WeChatAuthEnabled",
        False,
        "access",
        "WeChat login",
        needs="WeChatServerAddress",
    ),
    _url("WeChatServerAddress", "access", "address of the WeChat login server"),
    _secret("WeChatServerToken", "access", "token of the WeChat login server"),
    _text("WeChatAccountQRCodeImageURL", "access", "QR code of the account"),
    switch(
        "TelegramOAuthEnabled",
        False,
        "access",
        "Telegram login",
        needs="TelegramBotToken",
    ),
    _secret("TelegramBotToken", "access", "token of the Telegram bot"),
    _text("TelegramBotName", "access", "user name of the Telegram bot"),
)

SITE = (
    _text("SystemName", "site", "title, mail subject, issuer", "Knight Omega"),
    _text("Logo", "site", "address of the logo"),
    _text("Footer", "site", "HTML below each page"),
    _text("Notice", "site", "Markdown or HTML"),
    _text("About", "site", "Markdown, HTML or an address"),
    _text("HomePageContent", "site", "Markdown, HTML or an address"),
    _url("ServerAddress", "site", "public address: links, callbacks"),
    _text("TopUpLink", "site", "where users buy codes"),
    _text("ChatLink", "content", "older consoles", unlisted=True),
    _text("ChatLink2", "content", "older consoles", unlisted=True),
    structure(
        "Chats",
        CHATS,
        "content",
        "client links in the token list: [{name: URL template}]",
        kinds.list_of(kinds.map_of(kinds.text)),
    ),
    switch("DemoSiteEnabled", False, "operations", "marks of a read-only demo"),
    switch("SelfUseModeEnabled", False, "operations", "unpriced models at ratio 37.5"),
    switch("DrawingEnabled", True, "content", "show the drawing pages"),
    switch("TaskEnabled", True, "content", "show the task pages"),
    switch("DataExportEnabled", True, "content", "keep hourly usage statistics"),
    integer("DataExportInterval", 5, "content", "kept for older consoles", least=1),
    Option(
        "DataExportDefaultTime",
        Kind.CHOICE,
        "hour",
        "content",
        "first view of the statistics",
        values=("hour", "day", "week"),
    ),
    switch("DefaultCollapseSidebar", False, "site", "side bar starts collapsed"),
    Option(
        "HeaderNavModules",
        Kind.JSON,
        "",
        "site",
        "entries of the header",
        unlisted=True,
        shape=kinds.map_of(kinds.anything),
    ),
    Option(
        "SidebarModulesAdmin",
        Kind.JSON,
        "",
        "site",
        "entries of the side bar",
        unlisted=True,
        shape=kinds.map_of(kinds.anything),
    ),
    _url("WorkerUrl", "operations", "outbound fetch proxy"),
    _secret("WorkerValidKey", "operations", "its key"),
    switch(
        "WorkerAllowHttpImageRequestEnabled", False, "operations", "images over http"
    ),
    fractional("USDExchangeRate", "7.3", "billing", "CNY per USD, for display"),
)

QUOTA = (
    fractional("QuotaPerUnit", "500000", "billing", "quota per USD", least=1),
    integer("QuotaForNewUser", 0, "billing", "gift on sign-up", least=0),
    integer("QuotaForInviter", 0, "billing", "gift to the inviter", least=0),
    integer("QuotaForInvitee", 0, "billing", "gift to the invited", least=0),
    integer("QuotaRemindThreshold", 1000, "operations", "low balance line"),
    integer("PreConsumedQuota", 500, "billing", "least prompt tokens held", least=0),
    integer(
        "TrustQuota", 5_000_000, "billing", "above it holds stay in memory", least=0
    ),
    switch("DisplayInCurrencyEnabled", True, "billing", "legacy display switch"),
    switch("DisplayTokenStatEnabled", True, "billing", "billing API shows the token"),
    _ratios("ModelRatio", shipped("model_ratio"), "USD per 1M input tokens / 2"),
    _ratios("CompletionRatio", SHIPPED_COMPLETION, "output price / input price"),
    _ratios("CacheRatio", shipped("cache_ratio"), "cache read / input price"),
    _ratios(
        "CreateCacheRatio", shipped("create_cache_ratio"), "cache write / input price"
    ),
    _ratios("ModelPrice", shipped("model_price"), "USD per call"),
    _ratios("ImageRatio", {"gpt-image-1": "2"}, "image input / input price"),
    _ratios("AudioRatio", AUDIO_INPUT, "audio input / input price"),
    _ratios("AudioCompletionRatio", AUDIO_OUTPUT, "audio output / audio input"),
    Option(
        "GroupRatio",
        Kind.JSON,
        EVERY_GROUP,
        "billing",
        "price factor by group",
        shape=RATIOS,
    ),
    Option(
        "GroupGroupRatio",
        Kind.JSON,
        '{"vip":{"edit_this":0.9}}',
        "billing",
        "price factor by account group and used group",
        shape=RATIOS_OF_GROUPS,
    ),
    Option(
        "UserUsableGroups",
        Kind.JSON,
        '{"default":"Default","vip":"VIP"}',
        "billing",
        "groups that every user may use, with labels",
        shape=kinds.map_of(kinds.text),
    ),
    Option(
        "TopupGroupRatio",
        Kind.JSON,
        EVERY_GROUP,
        "billing",
        "top-up price factor by group",
        shape=RATIOS,
    ),
    Option(
        "AutoGroups",
        Kind.JSON,
        '["default"]',
        "billing",
        "order in which the group auto tries groups",
        shape=kinds.list_of(kinds.text),
        check=checks.distinct_names,
    ),
    switch("DefaultUseAutoGroup", False, "billing", "new tokens start as auto"),
    integer("MaxTokenAutoGroups", 5, "billing", "groups in a token's list", least=1),
    switch("ExposeRatioEnabled", False, "billing", "opens /api/ratio_config"),
)

RELAY = (
    integer("RetryTimes", 0, "models", "tries on other channels", least=0, most=10),
    Option(
        "AutomaticRetryStatusCodes",
        Kind.CODES,
        RETRY_CODES,
        "models",
        "504 and 524 are never retried",
    ),
    switch("AutomaticDisableChannelEnabled", False, "models", "disable on failure"),
    switch("AutomaticEnableChannelEnabled", False, "models", "enable on success"),
    Option(
        "AutomaticDisableStatusCodes",
        Kind.CODES,
        "401",
        "models",
        "statuses that disable a channel",
    ),
    _text(
        "AutomaticDisableKeywords",
        "models",
        "messages that disable a channel, one a line",
        "\n".join(DISABLE_KEYWORDS),
        kind=Kind.LINES,
    ),
    fractional(
        "ChannelDisableThreshold", "5", "models", "seconds a test may take; 0 = any"
    ),
    switch("LogConsumeEnabled", True, "operations", "write a log row per call"),
    switch("CheckSensitiveEnabled", True, "security", "word filter"),
    switch("CheckSensitiveOnPromptEnabled", True, "security", "filter prompts"),
    switch("StopOnSensitiveEnabled", True, "security", "refuse rather than mask"),
    _text(
        "SensitiveWords",
        "security",
        "one a line",
        "test_sensitive",
        kind=Kind.LINES,
    ),
    integer("StreamCacheQueueLength", 0, "unused", "unused", least=0),
    switch("ModelRequestRateLimitEnabled", False, "security", "limit per user"),
    integer("ModelRequestRateLimitDurationMinutes", 1, "security", "window", least=1),
    integer("ModelRequestRateLimitCount", 0, "security", "all calls; 0 = any", least=0),
    integer(
        "ModelRequestRateLimitSuccessCount", 1000, "security", "good calls", least=1
    ),
    Option(
        "ModelRequestRateLimitGroup",
        Kind.JSON,
        "{}",
        "security",
        "group to [all calls, good calls]",
        shape=checks.rate_limits,
    ),
    switch("MjNotifyEnabled", False, "content", "callbacks (reveals our address)"),
    switch("MjAccountFilterEnabled", False, "content", "accounts may be filtered"),
    switch("MjModeClearEnabled", False, "content", "strip --fast, --relax, --turbo"),
    switch("MjForwardUrlEnabled", True, "content", "pictures through our server"),
    switch("MjActionCheckSuccessEnabled", True, "content", "actions need a success"),
)

PAYMENT = (
    _url("PayAddress", "billing", "EPay gateway; /submit.php is added"),
    _url("CustomCallbackAddress", "billing", "callbacks; else the server address"),
    _text("EpayId", "billing", "EPay merchant"),
    _secret("EpayKey", "billing", "EPay merchant's key"),
    fractional("Price", "7.3", "billing", "money per USD of quota"),
    integer("MinTopUp", 1, "billing", "least amount", least=0),
    structure(
        "PayMethods",
        PAY_METHODS,
        "billing",
        "[{name, type, icon or color, min_topup}]",
        kinds.list_of(kinds.fields(name=kinds.text, type=kinds.text)),
    ),
    _secret("StripeApiSecret", "billing", "key, sk_ or rk_"),
    _secret("StripeWebhookSecret", "billing", "signs events, whsec_"),
    _text("StripePriceId", "billing", "price of one USD of quota, price_"),
    fractional("StripeUnitPrice", "8", "billing", "display price per USD of quota"),
    integer("StripeMinTopUp", 1, "billing", "least amount", least=0),
    switch("StripePromotionCodesEnabled", False, "billing", "promotion codes"),
    _secret("CreemApiKey", "billing", "key"),
    _secret("CreemWebhookSecret", "billing", "signs events"),
    Option(
        "CreemProducts",
        Kind.JSON,
        "[]",
        "billing",
        "[{name, productId, price, currency, quota}]",
        shape=kinds.list_of(kinds.map_of(kinds.anything)),
    ),
    switch("CreemTestMode", False, "billing", "use Creem's test service"),
    switch("WaffoEnabled", False, "billing"),
    switch("WaffoSandbox", False, "billing"),
    _secret("WaffoApiKey", "billing"),
    _secret("WaffoPrivateKey", "billing"),
    _text("WaffoPublicCert", "billing"),
    _secret("WaffoSandboxApiKey", "billing"),
    _secret("WaffoSandboxPrivateKey", "billing"),
    _text("WaffoSandboxPublicCert", "billing"),
    _text("WaffoMerchantId", "billing"),
    _text("WaffoNotifyUrl", "billing"),
    _text("WaffoReturnUrl", "billing"),
    _text("WaffoSubscriptionReturnUrl", "billing"),
    _text("WaffoCurrency", "billing"),
    fractional("WaffoUnitPrice", "1", "billing"),
    integer("WaffoMinTopUp", 1, "billing", least=0),
    structure(
        "WaffoPayMethods",
        WAFFO_PAY_METHODS,
        "billing",
        "payment methods",
        kinds.list_of(kinds.map_of(kinds.anything)),
    ),
    _text("WaffoPancakeMerchantID", "billing"),
    _secret("WaffoPancakePrivateKey", "billing"),
    _text("WaffoPancakeReturnURL", "billing"),
    _text("WaffoPancakeStoreID", "billing"),
    _text("WaffoPancakeProductID", "billing"),
    fractional("WaffoPancakeUnitPrice", "1", "billing"),
    integer("WaffoPancakeMinTopUp", 1, "billing", least=0),
)

OPTIONS: Mapping[str, Option] = {
    option.key: option
    for option in (*ACCESS, *SITE, *QUOTA, *RELAY, *PAYMENT, *groups.GROUPS)
}
"""Every known option by key."""
