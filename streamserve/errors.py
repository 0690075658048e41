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
    │   ├── CrashError              the process dies whenever this record is in work
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
        │   └── ProducerFenced      somebody else took the worker's transactional id
        ├── MemberFenced            the group knows a newer member of this worker's name
        └── OutcomeUnknown          a commit whose end we did not see; settled on restart

Messages give the place (step, topic, partition, offset), what was received and what to do next. They never hold
payload bytes or secrets. Each class says what it means and, after ``Remedy:``, what to do: ``ops/error_page.py`` makes
the table of ``schemas/errors.md`` of that.
"""

from __future__ import annotations


class StreamserveError(Exception):
    """Base of all errors raised on purpose by streamserve.

    Remedy: catch this to catch all of them.
    """


class ConfigurationError(StreamserveError):
    """The app, a setting or a file is wrong; starting again without a change fails again.

    Remedy: do what the message says, then start again; it names the setting, file or declaration.
    """


class PlanError(ConfigurationError):
    """The topology cannot work as declared; ``streamserve check`` finds it without a broker.

    Remedy: change the declaration that the message names; ``streamserve check MODULE:APP`` lists all of them at once.
    """


class PackageError(ConfigurationError):
    """A model package is incomplete, altered, or does not load.

    Remedy: publish the version again with ``write_package``, or set the alias to a version that is whole.
    """


class TopicError(ConfigurationError):
    """A topic is missing on the broker or has the wrong number of partitions.

    Remedy: ``streamserve topics create MODULE:APP`` creates what is missing; a topic with the wrong number of
    partitions is read regrouped (``source.group_by``) or made anew.
    """


class LocalBrokerError(ConfigurationError):
    """The local Kafka cannot be fetched, started or stopped; the text says what to change on this machine.

    Remedy: do what the message says: another ``--port`` or ``--data-dir``, ``JAVA_HOME``, or ``pip install
    streamserve[demo]`` for a Java.
    """


class RecordError(StreamserveError):
    """The fault of one record. ``reason`` is a short fixed word used as a metric label.

    The text becomes the dead letter's ``message`` header: it names fields and rules, never values.

    Remedy: read the dead letter's headers ``step``, ``reason``, ``error`` and ``message``; its key and bytes are
    untouched, so that it can be sent again once the cause is mended.
    """

    reason: str = "record"


class DecodeError(RecordError):
    """The record's bytes are not what the topic's value type says.

    Remedy: mend the producer, or the topic's type where it is too strict; ``streamserve send`` shows what a type
    takes.
    """

    reason = "decode"


class EncodeError(RecordError):
    """A result does not fit the output topic's value type.

    Remedy: let the agent yield what the output topic's type takes; the message names field and rule.
    """

    reason = "encode"


class AgentError(RecordError):
    """User code raised on this event; the cause is chained.

    Remedy: mend the agent where the message says that it raised, or let it ``raise Reject(...)`` for events that it
    cannot take.
    """

    reason = "agent"


class ModelRowError(RecordError):
    """The model refuses this row: a missing or non-finite input, a wrong type, or a non-finite output.

    Remedy: send the missing input, or let the manifest fill it (``missing="nan"`` or ``"default"``).
    """

    reason = "model"


class FeatureRowError(RecordError):
    """The features of this event cannot be asked for, for example because a join key has the wrong type.

    Remedy: let the event have the join keys, in the types of the feature view; ``entity_row=`` renames them.
    """

    reason = "features"


class OversizeError(RecordError):
    """The broker refuses a message that this record produced, because it is too large.

    Remedy: raise ``max.message.bytes`` of the topic that the message names, or make the value smaller.
    """

    reason = "oversize"


class LateRecord(RecordError):
    """The record's event time is further behind the newest than its topic allows, and the topic takes no late ones.

    Remedy: raise ``max_out_of_orderness`` of the topic, or let it take late records (``late="process"`` or a side
    topic).
    """

    reason = "late"

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"topic {topic!r}: the record's event time is further behind the newest than max_out_of_orderness allows"
        )


class FutureRecord(RecordError):
    """The record's event time is further ahead of its Kafka timestamp than its topic allows.

    Remedy: set the producer's clock right, or raise ``max_future`` of the topic.
    """

    reason = "future"

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"topic {topic!r}: the record's event time is further ahead of its Kafka timestamp than max_future allows"
        )


class WindowError(RecordError):
    """A window cannot count the event, or its result does not become a value of its topic.

    Remedy: let the aggregate's field be what the aggregate takes, and the output's type have a place for its result.
    """

    reason = "window"


class CrashError(RecordError):
    """The process died natively, by a segmentation fault or an abort, each time this record was alone in a step.

    Remedy: mend the native code (a model, an extension) that the worker's log names, ``crashed before``, with the
    Python stack; then replay the record.
    """

    reason = "crashed"


class MissingKey(RecordError, KeyError):
    """A table without a default has no value for the key that was asked for.

    Remedy: ask ``if key in table``, use ``table.get(key)``, or give the table a ``default=``.
    """

    reason = "missing-key"

    __str__ = Exception.__str__  # KeyError shows its text as a quoted literal


class WrongPartition(RecordError):
    """A table holds the keys of its own partition, and this key belongs to another: regroup the stream first.

    Remedy: read the stream regrouped by that key: ``source.group_by("field")``.
    """

    reason = "wrong-partition"


class Reject(RecordError):
    """Raise in an agent to dead-letter the event and discard what it yielded.

    Remedy: none is needed: the agent's author wanted it so; the reason is the dead letter's ``message``.

    >>> raise Reject("no such origin")
    Traceback (most recent call last):
    ...
    streamserve.errors.Reject: no such origin
    """

    reason = "rejected"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class OutageError(StreamserveError):
    """A service that the worker needs is away. The worker waits and reports unready; records are not at fault.

    Remedy: bring the service back within ``shutdown_timeout``, or the worker stops with exit code 1; nothing is lost.
    """


class BrokerUnavailable(OutageError):
    """No Kafka broker answers at the configured address.

    Remedy: start Kafka (``streamserve broker start`` for a local one), or name it with ``--brokers``; ``streamserve
    doctor`` looks at the way to it.
    """


class EngineRestart(StreamserveError):
    """Ends one incarnation of the engine; the worker drops everything and starts again from what is committed.

    Remedy: none is needed, the worker goes on by itself; where it happens again and again, look at the brokers.
    """


class TransactionAborted(EngineRestart):
    """The transaction did not commit: nothing of it is visible, its input is read again.

    Remedy: none is needed once; again and again: look at the brokers' log, or lower ``max_poll_records`` where batches
    outlast ``transaction_timeout``.
    """


class ProducerFenced(TransactionAborted):
    """Somebody took this worker's transactional id: a second worker of its name, ``transactions abort``, or a time-out.

    Remedy: none is needed once; again and again: give each worker an ``instance`` name of its own, or lower
    ``max_poll_records`` where batches outlast ``transaction_timeout``.
    """


class MemberFenced(EngineRestart):
    """The group knows a newer member under this worker's name: a second worker, or this one's own lost request.

    Remedy: give each worker an ``instance`` name of its own; once, after a pause or a broker's restart, none is
    needed.
    """


class OutcomeUnknown(EngineRestart):
    """A commit timed out, was slow or met a broken connection: the restart settles it and learns which way.

    Remedy: none is needed once; again and again: the network or the brokers are too slow for the commit.
    """
