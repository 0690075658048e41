"""What becomes of a dead letter that is to be replayed: its record once more, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.runtime import codec_of
from streamserve.errors import DecodeError, EncodeError
from streamserve.kafka.replays import Marks, Replay, ReplayMark
from streamserve.ops.dead_letters.edits import Edit
from streamserve.ops.dead_letters.letters import REPLAYED_FROM, REPLAYS, DeadLetter
from streamserve.ops.times import iso
from streamserve.records import Emission

__all__ = ["Judge", "LeftOut"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A dead letter that is not replayed, and why; ``was_replayed`` where that is because it was."""

    letter: DeadLetter
    why: str
    was_replayed: bool = False


@dataclass(frozen=True, slots=True)
class Judge:
    """Makes replays of dead letters.

    ``marks`` has those that were replayed before, which are refused unless ``again``. A payload, changed by ``edit``
    or not, must be what its topic's type takes: it would be a dead letter once more.
    """

    plan: Plan
    book: Marks
    marks: Mapping[str, ReplayMark]
    now_ms: int
    edit: Edit | None = None
    again: bool = False
    _codecs: dict[str, Any] = field(default_factory=dict[str, Any])

    def judge(self, letter: DeadLetter) -> Replay | LeftOut:
        """Return the record to write for ``letter``, or why there is none."""
        mark = self.marks.get(self.book.key_of(letter.at))
        if mark is not None and not self.again:
            return LeftOut(letter, f"was replayed already, to {mark.to!r} at {iso(mark.at_ms)}", was_replayed=True)
        if letter.source is None:
            return LeftOut(letter, f"comes from {letter.came_from}: no record stands behind it to be read again")
        try:
            record = self._record(letter, letter.source.topic, letter.source.partition, mark)
        except (DecodeError, EncodeError) as error:
            return LeftOut(letter, str(error))
        times = 1 if mark is None else mark.times + 1
        told = ReplayMark(str(letter.at), record.topic, self.now_ms, times, self.edit is not None)
        return Replay(letter.at, record, told)

    def _record(self, letter: DeadLetter, topic: str, partition: int, mark: ReplayMark | None) -> Emission:
        """Return the original record: key, headers, time and partition, unless an edit makes it another key's.

        Raises:
            DecodeError: the payload is not what the topic's type takes.
            EncodeError: no key can be taken from what was edited.
        """
        value = letter.value if self.edit is None else self.edit(letter.value)
        event = self._decoded(topic, value)
        key, home = letter.key, partition
        node = self.plan.topics.get(topic)
        if self.edit is not None and event is not None and node is not None and node.key is not None:
            keys: KeyCodec[Any] = KeyCodec(node.key)
            key = keys.encode_key(event)
        replays = letter.replays + (0 if mark is None else mark.times) + 1
        own = [(name, text) for name, text in letter.headers if name not in {REPLAYED_FROM, REPLAYS}]
        headers = (*own, (REPLAYED_FROM, str(letter.at).encode()), (REPLAYS, b"%d" % replays))
        return Emission(topic, value, key, headers, home if key == letter.key else None, max(0, letter.source_ms))

    def _decoded(self, topic: str, value: bytes | None) -> Any:
        """Return the event; ``None`` where the app declares no such topic any more, or without a type."""
        node = self.plan.topics.get(topic)
        if node is None or node.value_type is None:
            return None
        if topic not in self._codecs:
            self._codecs[topic] = codec_of(node)
        [event] = self._codecs[topic].decode_many([value])
        if isinstance(event, DecodeError):
            raise DecodeError(f"would be refused again: {event}")
        return event
