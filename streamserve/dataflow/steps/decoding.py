"""What becomes of records that did not decode, or came too late or from the future: the step before all others."""

from __future__ import annotations

from streamserve.dataflow.batch import RecordBatch, StepOutput, coordinates_of
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.steps.policies import FailurePolicy
from streamserve.errors import FutureRecord, LateRecord
from streamserve.kafka.dead_letters import forwarded

DECODE = "decode"
"""The step that dead-letters what does not decode."""

LATE = "late"
"""The step that sets aside what comes too late for a topic that takes no late records, or from the future."""


class DecodeFailures:
    """Sets aside what reading the records of a batch failed on, by the policy of their topic."""

    def __init__(self, plan: Plan, policy: FailurePolicy) -> None:
        self._plan = plan
        self._policy = policy

    def __call__(self, batch: RecordBatch) -> StepOutput | None:
        """Return the dead letters of ``batch``, and the late records that a side topic takes as they are."""
        if not batch.failures:
            return None
        by_step: dict[str, StepOutput] = {}
        whole = StepOutput(DECODE)
        for failure in batch.failures:
            topic = failure.record.topic() or ""
            is_late = isinstance(failure.error, LateRecord | FutureRecord)
            if is_late and (side := self._plan.side_topic(topic)) is not None:
                whole.messages.append((forwarded(failure.record, side), coordinates_of(failure.record)))
                continue
            step = f"{LATE if is_late else DECODE}:{topic}"
            by_step.setdefault(step, StepOutput(step)).failures.append(failure)
        for output in by_step.values():
            whole.messages.extend(self._policy.settle(output).messages)
        return whole
