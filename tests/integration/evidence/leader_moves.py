"""Leaders and coordinators move between three brokers under load: nothing is lost or done twice, and nobody helps.

``python -m tests.integration.evidence.leader_moves --tries 20``. In turn the broker dies (SIGKILL) that leads the
input, that coordinates the group, that coordinates a worker's transactions; one stops in good order, which gives its
partitions to the others first; and an election through the admin client moves leaders back. Work has to go on while the
broker is away; it comes back before the next move. The brokers are this command's own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

from streamserve.kafka.clients import transactional_ids
from tests.integration.cluster import OFFSETS, TRANSACTIONS, Cluster
from tests.integration.evidence.outages import WORKERS, Outages, outlived
from tests.integration.evidence.trials import Evidence, options
from tests.integration.state_driving import StateDriver

Role: TypeAlias = Literal["leader", "group coordinator", "transaction coordinator"]
ELECTION = "leaders elected"
DEATHS: tuple[Role, ...] = ("leader", "group coordinator", "transaction coordinator")
STOP = "leader stopped"
MOVES = (*(f"{role} killed" for role in DEATHS), STOP, ELECTION)


def run_moves(cluster: Cluster, driver: StateDriver, evidence: Evidence, tries: int) -> None:
    """Make moves of all kinds in turn, and judge what the app has come to."""
    outages = Outages(driver, evidence, tries)
    for number in range(tries):
        outages.burden()
        before, name = cluster.leaders(), MOVES[number % len(MOVES)]
        ended = _move(cluster, driver, name)
        outages.resume(name)
        if ended is not None:
            cluster.start(ended)
        after = cluster.leaders()
        evidence.did["leaders moved"] += sum(after[place] != leader for place, leader in before.items())
    outages.judge()


def _move(cluster: Cluster, driver: StateDriver, name: str) -> int | None:
    """Make one move; return the broker that is away now."""
    if name == ELECTION:
        cluster.elect()
        return None
    node = _holder(cluster, driver, "leader" if name == STOP else DEATHS[MOVES.index(name)])
    cluster.end(node, at_once=name != STOP)
    return node


def _holder(cluster: Cluster, driver: StateDriver, role: Role) -> int:
    match role:
        case "leader":
            return cluster.leaders()[driver.inputs[0], 0]
        case "group coordinator":
            return cluster.coordinator(driver.app, OFFSETS)
        case "transaction coordinator":
            return cluster.coordinator(transactional_ids(driver.app, WORKERS[0])[0], TRANSACTIONS)


def main() -> int:
    """Make the moves; return the exit code."""
    given = options(__doc__, tries=20).parse_args()
    evidence = Evidence("moves of leaders and coordinators under load", given.seed)
    with TemporaryDirectory() as folder, Cluster(Path(folder)) as cluster:
        outlived(
            cluster.address, Path(folder), evidence, lambda driver: run_moves(cluster, driver, evidence, given.tries)
        )
    return evidence.conclude()


if __name__ == "__main__":
    sys.exit(main())
