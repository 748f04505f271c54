"""What a channel of one-api becomes."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.providers import identity
from knight_tw.storage.one_api.channel_types import RULES, Move, moved

ADC = '{"type": "service_account"}'


def row(kind: int, **columns: Any) -> dict[str, Any]:
    """A channel of one-api; `config` is encoded."""
    config = columns.pop("config", None)
    return {
        "id": 7,
        "type": kind,
        "key": "k",
        "status": 1,
        "name": "c",
        "base_url": "",
        "other": None,
        "models": "m",
        "config": "" if config is None else json.dumps(config),
        "system_prompt": None,
        **columns,
    }


def move(kind: int, **columns: Any) -> Move:
    """What becomes of such a channel."""
    return moved(row(kind, **columns), kind)


class MoveTests(SynchronousTestCase):
    """`moved`, beyond what the originals' own databases show."""

    def test_every_type(self) -> None:
        """Each type of one-api becomes one that has a name here."""
        self.assertEqual(set(RULES), set(range(52)))
        for kind, rule in RULES.items():
            self.assertIsNotNone(identity.identify(rule.type), kind)

    def test_unknown_type(self) -> None:
        """A number of some fork is kept, and switched off: it is somebody else here."""
        made = move(52)
        self.assertEqual((made.new_type, made.columns["status"]), (52, 2))
        self.assertIn("52", made.disabled)
        self.assertEqual(made.columns["remark"], made.disabled)

    def test_nothing_to_change(self) -> None:
        """A plain channel stays as it is."""
        self.assertEqual((move(1).new_type, move(1).columns), (1, {}))

    def test_own_address(self) -> None:
        """A default is written only where there is no address."""
        default = move(29).columns["base_url"]
        self.assertEqual(default, "https://api.groq.com/openai")
        self.assertEqual(move(29, base_url=None).columns["base_url"], default)
        self.assertEqual(move(29, base_url="https://groq.test").columns, {})

    def test_older_column(self) -> None:
        """`config` wins over `other`, which stays without it."""
        both = move(3, other="2023", config={"api_version": "2024"})
        self.assertEqual(both.columns, {"other": "2024"})
        self.assertEqual(move(3, other="2023").columns, {})
        self.assertEqual(move(3, other="2023", config={"api_version": ""}).columns, {})

    def test_config_of_another_kind(self) -> None:
        """A `config` that is no object, or holds no texts, is as none."""
        self.assertEqual(moved({**row(18), "config": "[1]"}, 18).columns, {})
        self.assertEqual(move(18, config={"api_version": 3}).columns, {})

    def test_zhipu(self) -> None:
        """The version is that of its models."""
        self.assertEqual(move(16, models="chatglm_pro").new_type, 16)
        self.assertEqual(move(16, models="chatglm_pro, glm-4").new_type, 26)

    def test_aws(self) -> None:
        """The key is put together, when all parts are there."""
        config = {"ak": "A", "sk": "S", "region": "us-east-1"}
        self.assertEqual(move(33, config=config).columns, {"key": "A|S|us-east-1"})
        self.assertEqual(move(33, config={"ak": "A", "sk": "S"}).columns, {})

    def test_coze(self) -> None:
        """One bot goes to `other`; none, or several, cannot work."""
        one = move(34, models="bot-1,coze")
        self.assertEqual(one.columns["other"], "1")
        self.assertEqual(one.columns["base_url"], "https://api.coze.com")
        two = move(34, models="bot-1,bot-2")
        self.assertIn("1, 2", two.columns["remark"])
        self.assertNotIn("other", two.columns)
        self.assertEqual(move(34).columns["status"], 2)

    def test_vertex(self) -> None:
        """The service account is the key; without one there is a warning."""
        config = {"region": "us", "vertex_ai_adc": ADC}
        made = move(42, config=config)
        self.assertEqual(made.columns, {"key": ADC, "other": "us"})
        self.assertEqual(made.warnings, ())
        self.assertEqual(move(42, key=ADC).warnings, ())
        self.assertEqual(len(move(42).warnings), 1)

    def test_addresses_cut(self) -> None:
        """Replicate's path and the slash of Gemini's door go."""
        replicate = move(46, base_url="https://api.replicate.com/v1/models/")
        self.assertEqual(replicate.columns, {"base_url": "https://api.replicate.com"})
        self.assertEqual(move(46, base_url="https://other.test/").columns, {})
        door = move(51, base_url="https://g.test/openai/")
        self.assertEqual(door.columns, {"base_url": "https://g.test/openai"})

    def test_joined_without_v1(self) -> None:
        """An OpenAI-compatible channel keeps how its paths are joined."""
        settings = json.loads(move(50).columns["settings"])
        self.assertEqual(settings, {"join_without_v1": True})

    def test_system_prompt(self) -> None:
        """The prompt of any type goes into `setting`."""
        made = move(36, system_prompt="Кратко")
        self.assertEqual(made.columns, {"setting": '{"system_prompt":"Кратко"}'})

    def test_null_key(self) -> None:
        """new-api's key is never null."""
        self.assertEqual(move(1, key=None).columns, {"key": ""})

    def test_off_already(self) -> None:
        """A channel that was off is not among those that the upgrade switches off."""
        for status in (2, 3):
            made = move(11, status=status)
            self.assertEqual(made.disabled, "")
        self.assertEqual(move(11, status=3).columns["status"], 2)

    def test_repeated(self) -> None:
        """On a row that was changed already the same comes out."""
        config = {"region": "r", "vertex_ai_adc": ADC, "ak": "a", "sk": "s"}
        for kind in RULES:
            before = row(kind, config=config, models="bot-1,glm-4")
            first = moved(before, kind)
            after = {**before, **first.columns, "type": first.new_type}
            again = moved(after, kind)
            self.assertEqual(again.new_type, first.new_type, kind)
            changed = {**after, **again.columns}
            self.assertEqual(changed, after, kind)
