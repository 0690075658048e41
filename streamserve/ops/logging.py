"""Structured logs: JSON lines for machines, colours for a terminal, and an observer that tells what changed.

Times are UTC, in ISO 8601. Values under names that speak of secrets are masked and bytes are replaced by their
length, whoever logs them; tracebacks come without local variables.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from streamserve.clock import Clock, SystemClock
from streamserve.observer import Observer
from streamserve.ops.health import Liveness

MASK: Final = "**********"

SECRET_NAMES: Final = ("password", "passwd", "secret", "token", "credential", "private_key", "api_key", "authorization")
"""Parts of names whose values are masked; librdkafka's ``.pem`` and ``sasl.username`` settings come on top."""

_TALKATIVE: Final = ("feast",)
"""Libraries that tell at info what they do every time: their warnings are told."""

_SHOWN_HASH: Final = 12
_OTHERS: Final = frozenset({"exc_info", "_record"})


def configure_logging(*, level: str = "info", stream: TextIO | None = None, json: bool | None = None) -> None:
    """Send this process's logs, those of the standard ``logging`` module included, to ``stream`` (standard error).

    Process-wide: for the command line, not for libraries. ``json`` is by default whether ``stream`` is no terminal.
    """
    target = stream or sys.stderr
    lines = not target.isatty() if json is None else json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(lines)],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.getLogger().level, logging.WARNING))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _renderers(lines: bool) -> list[Processor]:
    if lines:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(sort_keys=False, default=str)]
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]


def hide_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Mask secrets and replace bytes by their length, also in mappings and lists (a structlog processor).

    >>> hide_secrets(None, "info", {"event": "start", "sasl.password": "hunter2", "key": b"abc"})
    {'event': 'start', 'sasl.password': '**********', 'key': '<3 bytes>'}
    """
    del logger, method
    return _hidden_mapping(event)


def _hidden_mapping(values: Mapping[Any, Any]) -> MutableMapping[Any, Any]:
    return {
        name: value if name in _OTHERS else MASK if _is_secret(str(name)) else _hidden(value)
        for name, value in values.items()
    }


def _hidden(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return _hidden_mapping(cast("Mapping[Any, Any]", value))
    if isinstance(value, list | tuple):
        return [_hidden(item) for item in cast("Sequence[Any]", value)]
    return value


def _is_secret(name: str) -> bool:
    folded = name.lower().replace(".", "_").replace("-", "_")
    return folded.endswith(("_pem", "sasl_username", "ssl_key")) or any(part in folded for part in SECRET_NAMES)


class Log(Protocol):
    """What the observer needs of a logger; any of structlog's over the standard library has it."""

    def log(self, level: int, event: str, /, **fields: object) -> object:
        """Log ``event`` with ``fields``."""


def log_of(**fields: object) -> Log:
    """Return this process's logger; ``fields`` go with every line that this thread logs from now on."""
    structlog.contextvars.bind_contextvars(**fields)
    return structlog.get_logger("streamserve")


@dataclass(slots=True)
class _Repeated:
    """One kind of message: its latest fields, and how much has come since it was told."""

    level: int
    message: str
    unit: str
    fields: dict[str, object]
    amount: int = 0
    told_at: float = float("-inf")


class LoggingObserver(Observer):
    """Logs what changes: assignments, restores, recoveries, models, readiness, alarms, and dead letters in sums.

    The first of a kind is logged at once; what repeats within ``interval_s`` is summed into one line, with the latest
    fields, told by a later ``progress`` or ``close``. So the rate is bounded by the number of steps, reasons, models
    and detectors, whatever the rate of records.
    """

    def __init__(self, log: Log | None = None, *, interval_s: float = 1.0, clock: Clock | None = None) -> None:
        self._log: Log = structlog.get_logger("streamserve") if log is None else log
        self._interval_s = interval_s
        self._clock: Clock = clock or SystemClock()
        self._kinds: dict[tuple[object, ...], _Repeated] = {}
        self._untold = False
        self._recovering_from: str | None = None
        self._paused = False

    def dead_lettered(self, step: str, reason: str, records: int, message: str = "") -> None:
        """Sum the dead letters of one step and reason; the message is the last's, which names no values."""
        labels, latest = {"step": step, "reason": reason}, {"message": message}
        self._add(logging.WARNING, "dead letters", labels, latest=latest, amount=records, unit="records")

    def skipped(self, step: str, reason: str, records: int, message: str = "") -> None:
        """Sum the dropped records of one step and reason; the message is the last's."""
        labels, latest = {"step": step, "reason": reason}, {"message": message}
        self._add(logging.WARNING, "records skipped", labels, latest=latest, amount=records, unit="records")

    def late(self, step: str, records: int) -> None:
        """Sum the records that came too late for one window."""
        self._add(logging.WARNING, "records late", {"window": step}, amount=records, unit="records")

    def restoring(self, read: int, total: int) -> None:
        """Tell how far the restore of tables and windows is."""
        self._add(logging.INFO, "restoring state", latest={"read": read, "total": total}, unit="steps")

    def global_table(self, topic: str, keys: int, refused: int) -> None:
        """Sum what is left out of a global table."""
        if refused:
            latest = {"keys": keys}
            self._add(
                logging.WARNING,
                "records left out of a global table",
                {"topic": topic},
                latest=latest,
                amount=refused,
                unit="records",
            )

    def features_unlogged(self, service: str, rows: int) -> None:
        """Sum the feature rows of one service that have no form in the log topic."""
        self._add(logging.WARNING, "feature rows not logged", {"service": service}, amount=rows, unit="rows")

    def opening_features(self, service: str) -> None:
        """Tell of what takes seconds when Feast is loaded first."""
        self._add(logging.INFO, "opening features", {"service": service})

    def joining(self, group: str) -> None:
        """Tell of what may take seconds: in a new group the broker waits for other members."""
        self._add(logging.INFO, "joining group", {"group": group})

    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        """Tell the latest assignment."""
        numbers = {topic: sorted(of_topic) for topic, of_topic in partitions.items()}
        self._add(logging.INFO, "partitions assigned", latest={"partitions": numbers})

    def restored(self, group: str, seconds: float) -> None:
        """Sum restores; ``group`` and ``seconds`` are those of the last."""
        self._add(logging.INFO, "state restored", latest={"group": group, "seconds": round(seconds, 3)}, unit="groups")

    def state_discarded(self, state: str, partition: int, reasons: Sequence[str]) -> None:
        """Tell what starts afresh; partition and reasons are those of the last."""
        latest = {"partition": partition, "reasons": list(reasons)}
        self._add(logging.WARNING, "state discarded", {"state": state}, latest=latest, unit="groups")

    def aborted(self, reason: str, message: str) -> None:
        """Tell of a recovery."""
        self._recovering_from = message
        self._add(logging.WARNING, "recovering", {"reason": reason}, latest={"message": message})

    def model_loaded(self, model: str, version: str, sha256: str, batch_size: int) -> None:
        """Tell which version answers."""
        latest = {"version": version, "sha256": sha256[:_SHOWN_HASH], "batch_size": batch_size}
        self._add(logging.INFO, "model loaded", {"model": model}, latest=latest)

    def drift_alarm(self, model: str, column: str, detector: str, partition: int, event_time_ms: int) -> None:
        """Tell of a change; partition and event time are those of the last."""
        at = datetime.fromtimestamp(event_time_ms / 1000, UTC).isoformat()
        labels = {"model": model, "column": column, "detector": detector}
        self._add(logging.WARNING, "drift alarm", labels, latest={"partition": partition, "event_time": at})

    def ready(self, ready: bool, why: str) -> None:
        """Tell of readiness, and what is waited for; trouble is told of by its recovery, and not again."""
        if ready:
            self._tell_now("state restored")  # which led to it, so it is told before
            self._add(logging.INFO, "ready")
        elif why != self._recovering_from:
            self._add(logging.INFO, "not ready", latest={"why": why})

    def paused(self, paused: bool, why: str) -> None:
        """Tell that the app goes on; readiness tells that it is paused."""
        del why
        if self._paused and not paused:
            self._add(logging.INFO, "resumed")
        self._paused = paused

    def stalled(self, liveness: Liveness) -> None:
        """Tell of a stall with its cause (a ``StallListener``, in the watchdog's thread)."""
        self._log.log(logging.ERROR, "stalled", **liveness.as_dict())

    def standing(self, liveness: Liveness) -> None:
        """Say nothing again."""

    def moving(self, seconds: float) -> None:
        """Tell that it is over."""
        self._log.log(logging.WARNING, "goes on", stood_seconds=round(seconds, 1))

    def gave_up(self, liveness: Liveness) -> None:
        """Tell that the process ends because of a stall."""
        self._log.log(logging.CRITICAL, "stalled for too long: the process ends", **liveness.as_dict())

    def progress(self) -> None:
        """Tell the sums whose interval has passed."""
        if self._untold:
            self._tell_older_than(self._interval_s)

    def close(self) -> None:
        """Tell what is left."""
        self._tell_older_than(0)

    def _add(
        self,
        level: int,
        message: str,
        labels: Mapping[str, object] | None = None,
        *,
        latest: Mapping[str, object] | None = None,
        amount: int = 1,
        unit: str = "times",
    ) -> None:
        labels = labels or {}
        key = (message, *labels.values())
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Repeated(level, message, unit, {})
        kind.fields = {**labels, **(latest or {})}
        kind.amount += amount
        now = self._clock.monotonic()
        if now - kind.told_at >= self._interval_s:
            self._tell(kind, now)
        else:
            self._untold = True

    def _tell_older_than(self, seconds: float) -> None:
        now = self._clock.monotonic()
        self._untold = False
        for kind in self._kinds.values():
            if kind.amount and now - kind.told_at >= seconds:
                self._tell(kind, now)
            self._untold = self._untold or kind.amount > 0

    def _tell_now(self, message: str) -> None:
        """Tell the sum of a message without labels, if there is one."""
        kind = self._kinds.get((message,))
        if kind is not None and kind.amount:
            self._tell(kind, self._clock.monotonic())

    def _tell(self, kind: _Repeated, now: float) -> None:
        counted = {kind.unit: kind.amount} if kind.unit != "times" or kind.amount > 1 else {}
        self._log.log(kind.level, kind.message, **kind.fields, **counted)
        kind.amount = 0
        kind.told_at = now
