"""Ending an open transaction by its id, as a new owner of the id does."""

from __future__ import annotations

from streamserve.kafka.clients import KAFKA_CLIENTS, Clients, producer_config
from streamserve.kafka.errors import translated
from streamserve.settings import Settings

__all__ = ["end_transaction"]

_SECONDS = 30.0


def end_transaction(transactional_id: str, settings: Settings, clients: Clients = KAFKA_CLIENTS) -> None:
    """Take ``transactional_id``: its coordinator aborts what is open, in every partition, and fences whoever has it.

    A worker of ours that is fenced begins anew by itself, from what is committed. A transaction whose commit has been
    decided is not aborted: it is waited for until it is complete.

    Raises:
        BrokerUnavailable: its coordinator did not settle it within 30 s.
        ConfigurationError: the broker refuses the id.
    """
    with translated(f"end the transaction of {transactional_id!r}", settings.bootstrap_servers):
        clients.producer(producer_config(settings, transactional_id)).init_transactions(_SECONDS)
