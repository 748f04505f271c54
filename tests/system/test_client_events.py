"""Streams event by event, as the typed clients hand them over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.system.clients import chat, claude, responses
from tests.system.matrix import Case
from tests.system.scenarios import SCENARIOS, Scenario
from tests.system.stage import KINDS, model_of
from tests.system.test_clients import CHAT, CLAUDE, RESPONSES

STREAMED = ("plain", "parallel-tools", "arguments", "thinking", "empty", "length")


class Streams(Case):
    """A stream of each of the telling scenarios from each kind of channel."""

    def streams(self, **options: Any) -> Iterator[tuple[Scenario, list[Any]]]:
        """The scenario and the events of its first answer."""
        for name in STREAMED:
            for kind in KINDS:
                asked = self.asked(SCENARIOS[name]) | options
                events = list(self.create(model=model_of(kind), stream=True, **asked))
                yield SCENARIOS[name], events

    def asked(self, scenario: Scenario) -> dict[str, Any]:
        """The client's arguments for a scenario."""
        raise NotImplementedError

    def create(self, **arguments: Any) -> Any:
        """The client's streaming method."""
        raise NotImplementedError


class ResponsesEvents(Streams):
    """`openai`, Responses."""

    traits = RESPONSES

    def asked(self, scenario: Scenario) -> dict[str, Any]:
        """See `Streams`."""
        return {"input": self.client.begin(scenario), **responses.asked_for(scenario)}

    def create(self, **arguments: Any) -> Any:
        """See `Streams`."""
        return self.client.sdk.responses.create(**arguments)

    def test_frame(self) -> None:
        """Numbers rise from 0 by 1; the first and the last events are the ones due."""
        for scenario, events in self.streams():
            numbers = [event.sequence_number for event in events]
            self.assertEqual(numbers, list(range(len(events))))
            types = [event.type for event in events]
            self.assertEqual(types[:2], ["response.created", "response.in_progress"])
            cut = scenario is SCENARIOS["length"]
            last = "response.incomplete" if cut else "response.completed"
            self.assertEqual(types[-1], last)

    def test_items(self) -> None:
        """Items open and close one after another, keep their ids, and are all in the
        final response as they were closed."""
        for _, events in self.streams():
            added = [e for e in events if e.type == "response.output_item.added"]
            done = [e for e in events if e.type == "response.output_item.done"]
            order = [e.output_index for e in added]
            self.assertEqual(order, list(range(len(added))))
            self.assertEqual([e.item.id for e in added], [e.item.id for e in done])
            for event in events:
                if hasattr(event, "item_id"):
                    owner = added[event.output_index].item.id
                    self.assertEqual(event.item_id, owner)
            self.assertEqual(events[-1].response.output, [e.item for e in done])

    def test_parts(self) -> None:
        """Every text and every argument has its parts, its deltas and a whole end."""
        for scenario, events in self.streams():
            turn = scenario.turns[0]
            types = [event.type for event in events]
            messages = types.count("response.content_part.added")
            self.assertEqual(messages, types.count("response.output_text.done"))
            self.assertEqual(messages, types.count("response.content_part.done"))
            if turn.pieces:
                self.assertEqual(messages, 1)
            texts = [e.text for e in events if e.type == "response.output_text.done"]
            self.assertEqual("".join(texts), turn.text)
            kind = "response.function_call_arguments"
            ends = [e.arguments for e in events if e.type == f"{kind}.done"]
            deltas = [e.delta for e in events if e.type == f"{kind}.delta"]
            self.assertEqual(len(ends), len(turn.calls))
            self.assertEqual("".join(ends), "".join(deltas))


class ClaudeEvents(Streams):
    """`anthropic`."""

    traits = CLAUDE

    def asked(self, scenario: Scenario) -> dict[str, Any]:
        """See `Streams`."""
        return {"messages": self.client.begin(scenario), **claude.asked_for(scenario)}

    def create(self, **arguments: Any) -> Any:
        """See `Streams`."""
        return self.client.sdk.messages.create(**arguments)

    def test_frame(self) -> None:
        """One start without content, one end with reason and usage, then the stop."""
        for _, events in self.streams():
            types = [event.type for event in events]
            self.assertEqual(types[0], "message_start")
            self.assertEqual(events[0].message.content, [])
            self.assertEqual(types[-2:], ["message_delta", "message_stop"])
            self.assertEqual(types.count("message_delta"), 1)
            self.assertIsNotNone(events[-2].delta.stop_reason)

    def test_blocks(self) -> None:
        """One block is open at a time; their numbers rise by one; arguments come in
        deltas alone."""
        for _, events in self.streams():
            opened, closed = -1, -1
            for event in events[1:-2]:
                if event.type == "content_block_start":
                    self.assertEqual((event.index, closed), (opened + 1, opened))
                    opened = event.index
                    if event.content_block.type == "tool_use":
                        self.assertEqual(event.content_block.input, {})
                else:
                    self.assertEqual((event.index, closed), (opened, opened - 1))
                    if event.type == "content_block_stop":
                        closed = event.index
            self.assertEqual(closed, opened)


class ChatEvents(Streams):
    """`openai`, chat completions."""

    traits = CHAT

    def asked(self, scenario: Scenario) -> dict[str, Any]:
        """See `Streams`."""
        return {"messages": self.client.begin(scenario), **chat.asked_for(scenario)}

    def create(self, **arguments: Any) -> Any:
        """See `Streams`."""
        return self.client.sdk.chat.completions.create(**arguments)

    def test_frame(self) -> None:
        """One id; the role first; one reason, at the end; usage when asked for."""
        for wanted in (False, True):
            options = {"stream_options": {"include_usage": wanted}}
            for _, events in self.streams(**options):
                self.assertEqual(len({event.id for event in events}), 1)
                self.assertEqual(events[0].choices[0].delta.role, "assistant")
                choices = [event.choices[0] for event in events if event.choices]
                reasons = [c.finish_reason for c in choices if c.finish_reason]
                self.assertEqual(reasons, [choices[-1].finish_reason])
                usages = [event for event in events if event.usage]
                self.assertEqual(usages, events[-1:] if wanted else [])

    def test_calls(self) -> None:
        """A call's id and name come once, with its first delta; calls rise from 0."""
        for scenario, events in self.streams():
            deltas = [
                call
                for event in events
                for choice in event.choices
                for call in choice.delta.tool_calls or ()
            ]
            named = [call for call in deltas if call.function.name]
            self.assertEqual(
                [(call.index, call.function.name) for call in named],
                [(n, call.name) for n, call in enumerate(scenario.turns[0].calls)],
            )
            self.assertEqual([c for c in deltas if c.id], named)
