"""Tests of knight_tw.options and the option table."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.options import OptionRefused, Options, hidden, kinds
from knight_tw.options.kinds import Kind
from knight_tw.options.table import OPTIONS
from knight_tw.prices import shipped

NONE = Options.from_rows({})


class ReadingTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        """Without rows every key stands at its default, typed."""
        self.assertEqual(NONE.integer("RetryTimes"), 0)
        self.assertIs(NONE.flag("RegisterEnabled"), True)
        self.assertEqual(NONE.decimal("Price"), Decimal("7.3"))
        self.assertEqual(NONE.decimal("PreConsumedQuota"), 500)
        self.assertEqual(NONE.text("SystemName"), "Knight Omega")
        self.assertEqual(
            NONE.lines("EmailDomainWhitelist")[:2], ("gmail.com", "163.com")
        )
        self.assertEqual(NONE.json("AutoGroups"), ["default"])
        self.assertEqual(NONE.problems, {})

    def test_every_default_may_be_saved(self) -> None:
        """The default of each key passes the key's own check."""
        for option in OPTIONS.values():
            if not option.refused:
                NONE.check(option.key, option.default)

    def test_rows_win(self) -> None:
        """A stored row replaces the default."""
        options = Options.from_rows({"RetryTimes": "2", "SystemName": "Mine"})
        self.assertEqual(options.integer("RetryTimes"), 2)
        self.assertEqual(options.text("SystemName"), "Mine")

    def test_numbers_as_go_writes_them(self) -> None:
        """Exponents are read; a whole number may carry a decimal point."""
        options = Options.from_rows({"QuotaPerUnit": "1e+06", "RetryTimes": "3.0"})
        self.assertEqual(options.decimal("QuotaPerUnit"), 1_000_000)
        self.assertEqual(options.integer("RetryTimes"), 3)

    def test_bad_rows_keep_the_default(self) -> None:
        """Rows that cannot be read leave the default in force and are listed."""
        bad = {
            "RetryTimes": "many",
            "QuotaPerUnit": "abc",
            "MinTopUp": "1e999999999",
            "Price": "NaN",
            "SMTPPort": "0",
            "MaxTokenAutoGroups": "1.5",
            "RegisterEnabled": "maybe",
            "ModelRatio": "[1]",
            "GroupRatio": '{"default":-1}',
            "UserUsableGroups": "{",
            "Chats": "[" * 100_000,
            "AutomaticRetryStatusCodes": "abc",
            "relay.retry_tier_mode": "sideways",
        }
        options = Options.from_rows(bad)
        mirror = "group_ratio_setting.group_ratio"
        self.assertEqual(set(options.problems), {*bad, mirror})
        for key in bad:
            self.assertEqual(options.get(key), NONE.get(key), key)
            self.assertEqual(options.value(key), NONE.value(key), key)

    def test_too_large_is_cut(self) -> None:
        """A number above its bound is read as the bound."""
        self.assertEqual(
            Options.from_rows({"RetryTimes": "99"}).integer("RetryTimes"), 10
        )

    def test_blank_rows(self) -> None:
        """A blank number, choice or JSON row is the default; a blank text is blank."""
        options = Options.from_rows(
            {"RetryTimes": "", "GroupRatio": " ", "SystemName": "", "Price": ""}
        )
        self.assertEqual(options.problems, {})
        self.assertEqual(options.json("GroupRatio"), NONE.json("GroupRatio"))
        self.assertEqual(options.decimal("Price"), Decimal("7.3"))
        self.assertEqual(options.text("SystemName"), "")

    def test_a_row_replaces_a_price_table(self) -> None:
        """A stored ratio map replaces the shipped one completely."""
        options = Options.from_rows({"ModelRatio": '{"m": 0.10}'})
        self.assertEqual(options.json("ModelRatio"), {"m": Decimal("0.10")})

    def test_shipped_price_tables_are_listed_whole(self) -> None:
        """The rows hold the full default price tables as JSON."""
        table = json.loads(NONE.rows()["ModelRatio"])
        self.assertEqual(table["gpt-4o"], 1.25)
        self.assertEqual(len(table), len(shipped("model_ratio")))
        self.assertEqual(json.loads(NONE.rows()["ModelPrice"])["dall-e-3"], 0.04)

    def test_unknown_keys_are_kept(self) -> None:
        """A key that nobody knows keeps its text and is listed."""
        options = Options.from_rows({"example": "kept"})
        self.assertEqual(options.text("example"), "kept")
        self.assertEqual(options.value("example"), "kept")
        self.assertEqual(options.rows()["example"], "kept")
        self.assertIsNone(NONE.get("example"))
        self.assertEqual(NONE.text("example"), "")

    def test_unlisted_until_stored(self) -> None:
        """Some keys appear among the rows only once they are stored."""
        self.assertNotIn("LinuxDOClientId", NONE.rows())
        options = Options.from_rows({"LinuxDOClientId": "x"})
        self.assertIn("LinuxDOClientId", options.rows())
        self.assertEqual(options.stored, {"LinuxDOClientId": "x"})

    def test_environment(self) -> None:
        """Defaults of the environment yield to rows, forced values win over them."""
        options = Options.from_rows(
            {"SMTPStartTLSEnabled": "false", "RetryTimes": "1"},
            defaults={"SMTPStartTLSEnabled": "true", "SMTPInsecureSkipVerify": "true"},
            forced={"RetryTimes": "4"},
        )
        self.assertIs(options.flag("SMTPStartTLSEnabled"), False)
        self.assertIs(options.flag("SMTPInsecureSkipVerify"), True)
        self.assertEqual(options.integer("RetryTimes"), 4)
        after = options.changed({"SMTPStartTLSEnabled": None})
        self.assertIs(after.flag("SMTPStartTLSEnabled"), True)
        self.assertEqual(after.integer("RetryTimes"), 4)

    def test_group_ratio_has_two_names(self) -> None:
        """The flat and the structured key of the group ratios show the same."""
        flat = Options.from_rows({"GroupRatio": '{"a":2}'})
        self.assertEqual(flat.text("group_ratio_setting.group_ratio"), '{"a":2}')
        structured = Options.from_rows({"group_ratio_setting.group_ratio": '{"b":3}'})
        self.assertEqual(structured.json("GroupRatio"), {"b": 3})


class HiddenTests(SynchronousTestCase):
    def test_by_ending_and_by_mark(self) -> None:
        """Keys with telling endings, known or not, and marked keys are hidden."""
        for key in ("SMTPToken", "TurnstileSiteKey", "x.api_key", "oidc.client_secret"):
            self.assertTrue(hidden(key), key)
        for key in ("SystemName", "GitHubClientId", "TelegramBotName", "own"):
            self.assertFalse(hidden(key), key)

    def test_every_marked_key(self) -> None:
        """No secret of the table is shown."""
        marked = [key for key, option in OPTIONS.items() if option.secret]
        self.assertGreater(len(marked), 15)
        self.assertEqual([key for key in marked if not hidden(key)], [])


class SavingTests(SynchronousTestCase):
    def refuses(self, key: str, *values: Any, options: Options = NONE) -> None:
        for value in values:
            with self.assertRaises(OptionRefused, msg=f"{key} = {value!r:.80}"):
                options.check(key, value)

    def test_stored_text(self) -> None:
        """Values of any JSON type become the text that old consoles and Go read."""
        for key, value, stored in (
            ("RetryTimes", 2, "2"),
            ("RetryTimes", 2.0, "2"),
            ("RetryTimes", " 3 ", "3"),
            ("QuotaPerUnit", 500000.0, "500000.0"),
            ("QuotaPerUnit", "1e6", "1000000"),
            ("Price", Decimal("7.30"), "7.30"),
            ("RegisterEnabled", True, "true"),
            ("RegisterEnabled", "False", "false"),
            ("ServerAddress", "https://gate.example.com/", "https://gate.example.com"),
            ("AutomaticDisableStatusCodes", "403, 401", "401,403"),
            ("GroupRatio", {"default": Decimal("0.5")}, '{"default":0.5}'),
            ("GroupRatio", ' {"default": 1}', ' {"default": 1}'),
            ("GroupRatio", "", ""),
            ("relay.reasoning_memory", " on ", "on"),
            ("example_unknown_key", "kept", "kept"),
        ):
            self.assertEqual(NONE.check(key, value), stored, key)

    def test_types(self) -> None:
        """Values that are not of the key's type are refused."""
        self.refuses("QuotaPerUnit", "abc", 0, "inf", "9" * 40, "1e-40")
        self.refuses("RetryTimes", "many", 11, -1, 1.5, True)
        self.refuses("RegisterEnabled", "maybe", 2)
        self.refuses("ModelRatio", "[1]", '{"m":"1"}', '{"m":true}', "{", "null")
        self.refuses("ModelRatio", '{"m":1e300}', '{"m":-0.1}')
        self.refuses("GroupGroupRatio", '{"vip":1}')
        self.refuses("AutomaticRetryStatusCodes", "abc", "99", "500-400")
        self.refuses("relay.retry_tier_mode", "up")

    def test_missing_key(self) -> None:
        """A write without a key or a value names what is missing."""
        for key, value in (("", "x"), (" ", "x"), ("RetryTimes", None)):
            with self.assertRaises(OptionRefused) as caught:
                NONE.check(key, value)
            self.assertEqual(caught.exception.code, "missing_field")

    def test_size(self) -> None:
        """Keys and values have a limit; NUL, which databases refuse, is refused."""
        self.refuses("Notice", "x" * 2_000_000, "a\0b")
        self.refuses("k" * 300, "x")

    def test_switch_needs_its_setting(self) -> None:
        """A login method can be switched on only when its client is known."""
        for key, needed in (
            ("GitHubOAuthEnabled", "GitHubClientId"),
            ("discord.enabled", "discord.client_id"),
            ("oidc.enabled", "oidc.client_id"),
            ("LinuxDOOAuthEnabled", "LinuxDOClientId"),
            ("WeChatAuthEnabled", "WeChatServerAddress"),
            ("TelegramOAuthEnabled", "TelegramBotToken"),
            ("TurnstileCheckEnabled", "TurnstileSiteKey"),
        ):
            self.refuses(key, True)
            self.assertEqual(NONE.check(key, False), "false")
            ready = Options.from_rows({needed: "https://example.com"})
            self.assertEqual(ready.check(key, "true"), "true")

    def test_domain_list_must_not_be_empty(self) -> None:
        """The mail domain restriction needs a white list."""
        empty = Options.from_rows({"EmailDomainWhitelist": ""})
        self.refuses("EmailDomainRestrictionEnabled", True, options=empty)
        self.assertEqual(NONE.check("EmailDomainRestrictionEnabled", True), "true")

    def test_rate_limits(self) -> None:
        """Groups have two limits; the second is at least 1."""
        key = "ModelRequestRateLimitGroup"
        self.assertTrue(NONE.check(key, '{"default":[0,1]}'))
        self.refuses(key, '{"a":[1]}', '{"a":[0,0]}', '{"a":[-1,1]}', '{"a":5}', "[]")
        self.refuses(key, '{"a":[2147483648,1]}', '{"a":[1.5,1]}')

    def test_claude_default_max_tokens(self) -> None:
        """The table needs whole numbers and an entry for all other models."""
        key = "claude.default_max_tokens"
        self.assertTrue(NONE.check(key, '{"default":1,"m":0}'))
        self.refuses(key, '{"m":1}', '{"default":-1}', '{"default":"1"}')

    def test_safety_settings(self) -> None:
        """Only thresholds that the provider knows."""
        self.assertTrue(NONE.check("gemini.safety_settings", '{"default":""}'))
        self.refuses("gemini.safety_settings", '{"default":"LOUD"}')

    def test_tool_prices(self) -> None:
        """Tool prices are numbers not below zero."""
        key = "tool_price_setting.prices"
        self.assertTrue(NONE.check(key, '{"web_search:gpt-4o*": 25}'))
        self.refuses(key, '{"web_search": -1}', '{"web_search": "1"}', "[]")

    def test_compliance_has_its_own_route(self) -> None:
        """The payment terms cannot be confirmed by an option write."""
        self.refuses("payment_setting.compliance_confirmed", "true")

    def test_discounts(self) -> None:
        """A discount is a factor of at most 1 for an amount."""
        key = "payment_setting.amount_discount"
        self.assertTrue(NONE.check(key, '{"100":0.95}'))
        self.refuses(key, '{"100":1.5}', '{"many":0.5}')

    def test_auto_groups(self) -> None:
        """The order of groups names each group once."""
        self.assertTrue(NONE.check("AutoGroups", '["a","b"]'))
        self.refuses("AutoGroups", '["a","a"]', '[""]', "[1]", "{}")

    def test_lists_of_objects(self) -> None:
        """Payment methods are objects whose names are texts."""
        self.assertTrue(NONE.check("PayMethods", '[{"name":"a","type":"b"}]'))
        self.refuses("PayMethods", "[1]", '[{"name":1}]', "{}")

    def test_expressions(self) -> None:
        """Price expressions are tried out before they are saved."""
        key = "billing_setting.billing_expr"
        self.assertTrue(NONE.check(key, '{"m":"tier(\\"a\\", p*3)"}'))
        self.refuses(key, '{"m":"p *"}', '{"m":"p - 5000"}', '{"m":5}')

    def test_fetch_lists(self) -> None:
        """Ports, ranges of ports, addresses and networks."""
        ports, nets = "fetch_setting.allowed_ports", "fetch_setting.ip_list"
        self.assertTrue(NONE.check(ports, '["80", 443, "8000-9000"]'))
        self.refuses(ports, '["http"]', "[0]", "[70000]", '["9-8"]', "{}")
        self.assertTrue(NONE.check(nets, '["10.0.0.0/8", "::1"]'))
        self.refuses(nets, '["example.com"]', "[1]")

    def test_policy(self) -> None:
        """The chat-to-responses policy is an object of known member types."""
        key = "global.chat_completions_to_responses_policy"
        self.assertTrue(NONE.check(key, '{"enabled":true,"channel_ids":[1],"x":1}'))
        self.refuses(key, '{"enabled":1}', '{"enabled":true,"channel_types":[true]}')
        self.refuses(key, '{"model_patterns":["("]}', "[]")

    def test_affinity_rules(self) -> None:
        """Rules need a name, patterns that compile and known key sources."""
        key = "channel_affinity_setting.rules"
        self.assertTrue(NONE.check(key, '[{"name":"a","model_regex":["^x"]}]'))
        self.refuses(
            key,
            "[{}]",
            '[{"name":"a","model_regex":["("]}]',
            '[{"name":"a","path_regex":"x"}]',
            '[{"name":"a","key_sources":[{"type":"cookie"}]}]',
            '[{"name":"a","value_regex":"' + "x" * 600 + '"}]',
            "[1]",
        )


class ContentTests(SynchronousTestCase):
    """The console's panels, options specification section 4."""

    def refuses(self, name: str, *values: Any) -> None:
        for value in values:
            with self.assertRaises(OptionRefused, msg=f"{name} {value!r:.80}"):
                NONE.check(f"console_setting.{name}", value)

    def passes(self, name: str, value: Any) -> None:
        NONE.check(f"console_setting.{name}", value)

    def test_api_links(self) -> None:
        """Links have an http address, three short texts and a known colour."""
        link = {"url": "https://x.io", "route": "r", "description": "d", "color": "red"}
        self.passes("api_info", [link])
        self.passes("api_info", "")
        self.refuses(
            "api_info",
            [link] * 51,
            [{**link, "url": "ftp://x.io"}],
            [{**link, "url": "https://[x"}],
            [{**link, "url": "https://x.io/" + "x" * 500}],
            [{**link, "route": "r" * 101}],
            [{**link, "description": "<SCRIPT>"}],
            [{**link, "color": "black"}],
            [{"url": "https://x.io"}],
            "not json",
        )

    def test_announcements(self) -> None:
        """Announcements have a date with a zone; lengths count characters."""
        note = {"content": "汉" * 500, "publishDate": "2026-11-01T10:00:00Z"}
        self.passes("announcements", [{**note, "type": "warning", "extra": ""}])
        self.refuses(
            "announcements",
            [{**note, "content": "汉" * 501}],
            [{**note, "publishDate": "2026-11-01"}],
            [{**note, "publishDate": "2026-11-01T10:00:00"}],
            [{**note, "publishDate": "soon"}],
            [{**note, "publishDate": 5}],
            [{**note, "type": "loud"}],
            [{**note, "extra": "x" * 201}],
            [note] * 101,
        )

    def test_questions(self) -> None:
        """Questions and answers are short and run nothing."""
        self.passes("faq", [{"question": "Why?", "answer": "Because."}])
        self.refuses(
            "faq",
            [{"question": "Why?"}],
            [{"question": "q" * 201, "answer": ""}],
            [{"question": "q", "answer": 'javascript:alert("x")'}],
            [{"question": 1, "answer": ""}],
        )

    def test_uptime_groups(self) -> None:
        """Status page groups have different names and plain slugs."""
        group = {"categoryName": "a", "url": "https://x.io", "slug": "main-1"}
        self.passes("uptime_kuma_groups", [group, {**group, "categoryName": "b"}])
        self.passes("uptime_kuma_groups", "")
        self.refuses(
            "uptime_kuma_groups",
            [group, group],
            [{**group, "slug": "a b"}],
            [{**group, "categoryName": "n" * 51}],
            [{**group, "categoryName": str(n)} for n in range(21)],
        )


class WritingTests(SynchronousTestCase):
    def test_one_row(self) -> None:
        """An ordinary write stores its own row."""
        self.assertEqual(NONE.write("RetryTimes", 2), {"RetryTimes": "2"})

    def test_retired(self) -> None:
        """A retired key is accepted and stores nothing."""
        self.assertEqual(NONE.write("theme.frontend", "classic"), {})

    def test_mirrors(self) -> None:
        """Both names of the group ratios are stored."""
        rows = {"GroupRatio": "{}", "group_ratio_setting.group_ratio": "{}"}
        self.assertEqual(NONE.write("GroupRatio", "{}"), rows)
        self.assertEqual(NONE.write("group_ratio_setting.group_ratio", "{}"), rows)

    def test_legacy_display_switch(self) -> None:
        """The old switch also sets the display type."""
        key = "general_setting.quota_display_type"
        self.assertEqual(NONE.write("DisplayInCurrencyEnabled", False)[key], "TOKENS")
        self.assertEqual(NONE.write("DisplayInCurrencyEnabled", True)[key], "USD")

    def test_batch_is_judged_as_a_whole(self) -> None:
        """A switch may be saved together with what it needs."""
        rows, refused = NONE.write_all(
            {
                "GitHubOAuthEnabled": True,
                "GitHubClientId": "id",
                "theme.frontend": "x",
                "SystemName": None,
            }
        )
        self.assertEqual(refused, {})
        self.assertEqual(
            rows,
            {"GitHubOAuthEnabled": "true", "GitHubClientId": "id", "SystemName": None},
        )

    def test_batch_names_each_refusal(self) -> None:
        """Each key of a batch that fails is reported, also a need that goes away."""
        ready = Options.from_rows({"GitHubClientId": "id"})
        rows, refused = ready.write_all(
            {"GitHubOAuthEnabled": True, "GitHubClientId": None, "RetryTimes": "x"}
        )
        self.assertEqual(set(refused), {"GitHubOAuthEnabled", "RetryTimes"})
        self.assertNotIn("RetryTimes", rows)


class TableTests(SynchronousTestCase):
    def test_kinds_of_defaults(self) -> None:
        """Reading a default gives the type that its kind promises."""
        types: dict[Kind, type] = {
            Kind.FLAG: bool,
            Kind.WHOLE: int,
            Kind.NUMBER: Decimal,
            Kind.LINES: tuple,
        }
        for key, option in OPTIONS.items():
            self.assertIsInstance(NONE.value(key), types.get(option.kind, object), key)

    def test_needs_exist(self) -> None:
        """Every key that another needs is itself in the table."""
        for option in OPTIONS.values():
            self.assertTrue(not option.needs or option.needs in OPTIONS, option.key)

    def test_shape_messages_name_the_place(self) -> None:
        """A structure that does not fit says where."""
        shape = kinds.list_of(kinds.map_of(kinds.number))
        with self.assertRaisesRegex(ValueError, r"^item 2: m: must be a number$"):
            shape([{}, {"m": "1"}])
