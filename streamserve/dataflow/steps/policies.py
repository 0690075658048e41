"""What becomes of records at fault: one dead letter in the same transaction, a count, or the end of the worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn

from streamserve.dataflow.batch import Failure, Lost, LostResult, RecordBatch, StepOutput, coordinates_of
from streamserve.dataflow.planning.nodes import OnError
from streamserve.errors import ConfigurationError, RecordError, TransactionAborted
from streamserve.kafka.dead_letters import dead_letter, failed_timer, lost_result
from streamserve.kafka.quarantine import Quarantine
from streamserve.observer import Observer
from streamserve.records import Coordinates, Emission, Origin


class FailurePolicy:
    """Applies each step's ``on_error`` and dead-letters what the broker refused before.

    ``policies`` maps steps to their policy; a step that is not in it dead-letters.
    """

    def __init__(self, topic: str, policies: Mapping[str, OnError], quarantine: Quarantine, observer: Observer) -> None:
        self._topic = topic
        self._policies = policies
        self._quarantine = quarantine
        self._observer = observer

    @property
    def quarantine(self) -> Quarantine:
        """Return what is known of records that failed in earlier incarnations."""
        return self._quarantine

    def settle(self, output: StepOutput, batch: RecordBatch | None = None) -> StepOutput:
        """Turn the failures of ``output``, which ``batch`` came to, into messages."""
        if self._quarantine.refused and batch is not None:
            self._withhold(output, batch)
        if output.failures:
            self._apply(output)
        if output.lost:
            self._bury(output)
        return output

    def _withhold(self, output: StepOutput, batch: RecordBatch) -> None:
        """Take back everything that refused inputs came to here; each comes to one failure instead."""
        refused = self.refused(output.step, batch)
        if not refused:
            return
        failed = {coordinates_of(failure.record) for failure in output.failures}
        output.columns = [columns.without(refused.keys()) for columns in output.columns]
        output.messages = [(emission, origin) for emission, origin in output.messages if origin not in refused]
        output.failures += [failure for origin, failure in refused.items() if origin not in failed]

    def refused(self, step: str, batch: RecordBatch) -> dict[Coordinates, Failure]:
        """Return the records of ``batch`` that ``step`` is known to fail on."""
        known = {origin.at: error for origin, error in self._quarantine.refused.items() if origin.step == step}
        places = [(coordinates_of(record), record) for record in batch.records] if known else []
        return {place: Failure(record, known[place]) for place, record in places if place in known}

    def sifted(self, step: str, batch: RecordBatch) -> RecordBatch:
        """Return ``batch`` without the records that ``step`` is known to fail on; ``settle`` makes failures of them."""
        refused = self.refused(step, batch) if self._quarantine.refused else {}
        if not refused:
            return batch
        return batch.take([row for row, it in enumerate(batch.records) if coordinates_of(it) not in refused])

    def note_lists(self, step: str, batch: RecordBatch, lists: Mapping[int, Sequence[int]]) -> None:
        """While a refused message is looked for, remember the rows that ``step`` took together, by the one for all."""
        if not self._quarantine.careful:
            return
        origins = [Origin(step, coordinates_of(record)) for record in batch.records]
        self._quarantine.together.update(
            {origin: [origins[each] for each in lists.get(row, (row,))] for row, origin in enumerate(origins)}
        )

    def leave_out(self, step: str, failures: Sequence[Failure]) -> NoReturn:
        """Restart the engine, to process everything again but the inputs that ``step`` failed on, which it then skips.

        Raises:
            TransactionAborted: always. The inputs become failures of their own when they come again.
        """
        for failure in failures:
            self._quarantine.refused[Origin(step, coordinates_of(failure.record))] = failure.error
        raise TransactionAborted(f"step {step!r} failed on {len(failures)} event(s) after they had changed tables")

    def _apply(self, output: StepOutput) -> None:
        policy = self._policies.get(output.step, "dead-letter")
        if policy == "stop":
            first = output.failures[0]
            raise ConfigurationError(
                f"step {output.step!r} stops at {coordinates_of(first.record)}: {first.error}"
                ' (on_error="stop"; "dead-letter" would set the record aside and go on)'
            )
        self._tell(output.step, policy, [failure.error for failure in output.failures])
        if policy == "dead-letter":
            output.messages += [
                (self._letter(output.step, failure), coordinates_of(failure.record)) for failure in output.failures
            ]
        output.failures = []

    def _bury(self, output: StepOutput) -> None:
        """Turn results of windows that are lost, and keys for which a timer failed, into dead letters."""
        policy = self._policies.get(output.step, "dead-letter")
        if policy == "stop":
            raise ConfigurationError(
                f"step {output.step!r} stops at {output.lost[0].place}: {output.lost[0].error}"
                ' (on_error="stop"; "dead-letter" would set the key aside and go on)'
            )
        self._tell(output.step, policy, [lost.error for lost in output.lost])
        if policy == "dead-letter":
            output.messages += [(self._letter_without_record(output.step, lost), None) for lost in output.lost]
        output.lost = []

    def _tell(self, step: str, policy: OnError, errors: Sequence[RecordError]) -> None:
        last = {error.reason: error for error in errors}
        for reason, count in Counter(error.reason for error in errors).items():
            tell = self._observer.dead_lettered if policy == "dead-letter" else self._observer.skipped
            tell(step, reason, count, str(last[reason]))

    def _letter_without_record(self, step: str, lost: Lost) -> Emission:
        if isinstance(lost, LostResult):
            return lost_result(self._topic, lost.window, lost.key, lost.start_ms, lost.end_ms, lost.error)
        return failed_timer(self._topic, step, lost.table, lost.partition, lost.key, lost.clock, lost.at_ms, lost.error)

    def _letter(self, step: str, failure: Failure) -> Emission:
        return dead_letter(self._topic, step, failure.record, failure.error)
