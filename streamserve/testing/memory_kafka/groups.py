"""A consumer group as its coordinator holds it: generation, member, committed offsets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from confluent_kafka import KafkaError

from streamserve.testing.memory_kafka.errors import must_abort, not_stable
from streamserve.testing.memory_kafka.log import StoredOffset

_PREFIX = b"CGMDv2:"


@dataclass(eq=False, slots=True)
class Member:
    """One member's stay in the group, under its instance name."""

    instance: str


class Group:
    """Offsets, and who may commit them: the member of the newest generation.

    >>> group = Group("app")
    >>> member = Member("w0")
    >>> group.join(member)
    >>> metadata = group.metadata(member)
    >>> group.check(metadata)
    >>> group.rebalance()
    >>> group.check(metadata)
    Traceback (most recent call last):
    ...
    cimpl.KafkaException: KafkaError{code=ILLEGAL_GENERATION,val=22,str="app: generation 1 is over: it is 2"}
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.member: Member | None = None
        self._generation = 0
        self._offsets: dict[tuple[str, int], StoredOffset] = {}
        self._pending: Counter[tuple[str, int]] = Counter()

    def join(self, member: Member) -> None:
        """Let ``member`` in; who was there before is out."""
        self.member = member
        self.rebalance()

    def rebalance(self) -> None:
        """Begin a new generation."""
        self._generation += 1

    def metadata(self, member: Member) -> bytes:
        """Return the group metadata as of now, in librdkafka's form; generation -1 for who is no member."""
        generation = self._generation if self.member is member else -1
        return b"%b%b%b\0%b" % (
            _PREFIX,
            generation.to_bytes(4, "little", signed=True),
            self.name.encode(),
            member.instance.encode(),
        )

    def check(self, metadata: bytes) -> None:
        """Raise unless ``metadata`` is of the newest generation.

        Raises:
            KafkaException: it is older.
        """
        start = len(_PREFIX)
        generation = int.from_bytes(metadata[start : start + 4], "little", signed=True)
        if generation != self._generation:
            reason = f"{self.name}: generation {generation} is over: it is {self._generation}"
            raise must_abort(KafkaError.ILLEGAL_GENERATION, reason)

    def await_commit(self, topic: str, partition: int) -> None:
        """Note that a transaction will commit an offset here: until it ends there is no stable one."""
        self._pending[topic, partition] += 1

    def settle(self, topic: str, partition: int, stored: StoredOffset | None) -> None:
        """End what ``await_commit`` began: with ``stored``, or without a trace."""
        self._pending[topic, partition] -= 1
        if stored is not None:
            self._offsets[topic, partition] = stored

    def committed(self, topic: str, partition: int, *, stable: bool) -> StoredOffset | None:
        """Return the committed offset.

        Raises:
            KafkaException: it must be stable, and is not.
        """
        if stable and self._pending[topic, partition]:
            raise not_stable()
        return self._offsets.get((topic, partition))
