"""Every error that streamserve raises, in one tree.

    StreamserveError
    ├── ConfigurationError          the app, a setting or a file is wrong: mend it and start again
    │   ├── PlanError               found by ``streamserve check`` without a broker
    │   ├── PackageError            a model package is incomplete, altered or does not load
    │   ├── TopicError              a topic is missing or has the wrong shape
    │   └── LocalBrokerError        the local Kafka cannot be fetched, started or stopped
    ├── RecordError                 the fault of one record: it becomes one dead letter
    │   ├── DecodeError             bytes that are not what the topic's type says
    │   ├── EncodeError             a result that the output's type refuses
    │   ├── AgentError              user code raised on this event
    │   ├── ModelRowError           the model refuses this row
    │   ├── FeatureRowError         the features of this event cannot be asked for
    │   ├── OversizeError           the broker refuses what this record produced: too large
    │   ├── MissingKey              a table has no value for the key, and no default (also a ``KeyError``)
    │   ├── WrongPartition          a table was asked for a key that lives in another partition
    │   ├── LateRecord              its event time is further behind than its topic allows
    │   ├── FutureRecord            its event time is further ahead of its Kafka timestamp than its topic allows
    │   ├── WindowError             a window cannot count the event, or write what came of one of its windows
    │   └── Reject                  user code refused the event on purpose
    ├── OutageError                 Kafka, Feast or the registry is away: wait, never dead-letter
    │   └── BrokerUnavailable
    └── EngineRestart               crash-only recovery: not an end, the worker starts again
        ├── TransactionAborted      nothing of the transaction is visible
        ├── MemberFenced            the group knows a newer member of this worker's name
        └── OutcomeUnknown          a commit whose end we did not see; settled on restart

Messages give the place (step, topic, partition, offset), what was received and what to do next. They never hold
payload bytes or secrets.
"""

from __future__ import annotations


class StreamserveError(Exception):
    """Base of all errors raised on purpose by streamserve."""


class ConfigurationError(StreamserveError):
    """The app, a setting or a file is wrong; starting again without a change fails again."""


class PlanError(ConfigurationError):
    """The topology cannot work as declared; ``streamserve check`` finds it without a broker."""


class PackageError(ConfigurationError):
    """A model package is incomplete, altered, or does not load."""


class TopicError(ConfigurationError):
    """A topic is missing on the broker or has the wrong number of partitions."""


class LocalBrokerError(ConfigurationError):
    """The local Kafka cannot be fetched, started or stopped; the text says what to change on this machine."""


class RecordError(StreamserveError):
    """The fault of one record. ``reason`` is a short fixed word used as a metric label.

    The text becomes the dead letter's ``message`` header: it names fields and rules, never values.
    """

    reason: str = "record"


class DecodeError(RecordError):
    """The record's bytes are not what the topic's value type says."""

    reason = "decode"


class EncodeError(RecordError):
    """A result does not fit the output topic's value type."""

    reason = "encode"


class AgentError(RecordError):
    """User code raised on this event; the cause is chained."""

    reason = "agent"


class ModelRowError(RecordError):
    """The model refuses this row: a missing or non-finite input, a wrong type, or a non-finite output."""

    reason = "model"


class FeatureRowError(RecordError):
    """The features of this event cannot be asked for, for example because a join key has the wrong type."""

    reason = "features"


class OversizeError(RecordError):
    """The broker refuses a message that this record produced, because it is too large."""

    reason = "oversize"


class LateRecord(RecordError):
    """The record's event time is further behind the newest than its topic allows, and the topic takes no late ones."""

    reason = "late"

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"topic {topic!r}: the record's event time is further behind the newest than max_out_of_orderness allows"
        )


class FutureRecord(RecordError):
    """The record's event time is further ahead of its Kafka timestamp than its topic allows."""

    reason = "future"

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"topic {topic!r}: the record's event time is further ahead of its Kafka timestamp than max_future allows"
        )


class WindowError(RecordError):
    """A window cannot count the event, or its result does not become a value of its topic."""

    reason = "window"


class MissingKey(RecordError, KeyError):
    """A table without a default has no value for the key that was asked for."""

    reason = "missing-key"

    __str__ = Exception.__str__  # KeyError shows its text as a quoted literal


class WrongPartition(RecordError):
    """A table holds the keys of its own partition, and this key belongs to another: regroup the stream first."""

    reason = "wrong-partition"


class Reject(RecordError):
    """Raise in an agent to dead-letter the event and discard what it yielded.

    >>> raise Reject("no such origin")
    Traceback (most recent call last):
    ...
    streamserve.errors.Reject: no such origin
    """

    reason = "rejected"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class OutageError(StreamserveError):
    """A service that the worker needs is away. The worker waits and reports unready; records are not at fault."""


class BrokerUnavailable(OutageError):
    """No Kafka broker answers at the configured address."""


class EngineRestart(StreamserveError):
    """Ends one incarnation of the engine; the worker drops everything and starts again from what is committed."""


class TransactionAborted(EngineRestart):
    """The transaction did not commit: nothing of it is visible, its input is read again."""


class MemberFenced(EngineRestart):
    """The group knows a newer member under this worker's name: a second worker, or this one's own lost request."""


class OutcomeUnknown(EngineRestart):
    """A commit timed out, was slow or met a broken connection: the restart settles it and learns which way."""
