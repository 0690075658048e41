"""What the app's principal may do: on topics, in its group, and with its transactional ids."""

from __future__ import annotations

from collections.abc import Iterator

from streamserve.kafka.inspection import Rights, TopicFacts, TransactionTrial
from streamserve.ops.doctor.finding import Finding, fault, fine, unknown
from streamserve.ops.doctor.needs import TopicNeed
from streamserve.ops.doctor.topics import DENIED

__all__ = ["group_rights", "topic_rights", "transactional_rights"]


def topic_rights(need: TopicNeed, facts: TopicFacts) -> Iterator[Finding]:
    """Say which operations on a topic are not allowed."""
    where = f"topic {need.name}"
    wanted = sorted(operation.capitalize() for operation in need.operations)
    if facts.rights.refusal in DENIED:
        yield fault("topic-rights", where, "may not be looked at", f"grant {' and '.join(wanted)} on it")
    elif facts.rights.operations is not None:
        lacking = sorted(operation.capitalize() for operation in need.operations - facts.rights.operations)
        if lacking:
            yield fault("topic-rights", where, f"the app lacks {' and '.join(lacking)}", _grant(lacking, where))


def group_rights(name: str, rights: Rights) -> Iterator[Finding]:
    """Say whether the app may join its consumer group and commit offsets there."""
    where = f"group {name}"
    if rights.refusal == "GROUP_AUTHORIZATION_FAILED" or (
        rights.operations is not None and "READ" not in rights.operations
    ):
        yield fault("group-rights", where, "the app lacks Read", _grant(["Read"], where))
    elif rights.operations is None:
        what = f"could not be looked at: {rights.refusal or 'the broker does not say'}"
        yield unknown("group-rights", where, what, "grant Describe on it, or look at the broker's log")
    else:
        yield fine("group-rights", where, "Read is allowed")


def transactional_rights(prefix: str, trial: TransactionTrial) -> Iterator[Finding]:
    """Say whether a transactional id of the app's can be used."""
    where = f"transactional ids {prefix}*"
    if trial.refusal is None:
        yield fine("transactions", where, "can be used")
    elif trial.refusal == "TRANSACTIONAL_ID_AUTHORIZATION_FAILED":
        remedy = f"grant Write and Describe on transactional ids with prefix {prefix}"
        yield fault("transactional-rights", where, "may not be used", remedy)
    else:
        what = f"no transaction can be begun: {trial.refusal}"
        remedy = "look at the brokers' log, and whether __transaction_state has its replicas and leaders"
        yield fault("transactions", where, what, remedy)


def _grant(operations: list[str], where: str) -> str:
    return f"grant {' and '.join(operations)} on {where} to the principal of these credentials"
