"""Global tables: every worker holds the whole topic before its first event, and follows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from streamserve import App, Batch, Stream, Topic
from streamserve.errors import ConfigurationError, PlanError
from streamserve.observer import Observer
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

START = datetime(2024, 1, 1, tzinfo=UTC)


class Sale(msgspec.Struct, frozen=True):
    shop: str
    currency: str
    amount: float


class Rate(msgspec.Struct, frozen=True):
    currency: str
    euros: float


class Seen(Observer):
    """Notes what is told of global tables, and readiness."""

    def __init__(self) -> None:
        self.tables: list[tuple[str, int, int]] = []
        self.is_ready = False

    def global_table(self, topic: str, keys: int, refused: int) -> None:
        self.tables.append((topic, keys, refused))

    def ready(self, ready: bool, why: str) -> None:
        del why
        self.is_ready = ready


def exchange() -> tuple[App, Topic[Sale, str], Topic[Rate, str], Topic[Sale, str]]:
    app = App("exchange")
    sales = app.topic("sales", Sale, key="shop")
    rates = app.topic("rates", Rate, key="currency")
    out = app.topic("out", Sale, key="shop")
    table: Mapping[str, Rate] = app.global_table(rates)

    @app.agent(sales, to=out)
    async def convert(stream: Stream[Sale]) -> AsyncIterator[Sale]:  # pyright: ignore[reportUnusedFunction]
        async for sale in stream:
            yield Sale(sale.shop, "EUR", sale.amount * table[sale.currency].euros)

    return app, sales, rates, out


def amounts(harness: Harness, out: Topic[Sale, str]) -> list[float]:
    return [record.value.amount for record in harness.read(out)]


def test_the_last_value_of_each_key_is_there_whatever_partition_the_event_is_in() -> None:
    app, sales, rates, out = exchange()
    with Harness(app, partitions=3) as harness:
        harness.send(rates, Rate("USD", 0.5), Rate("GBP", 2))
        for shop in "abcdef":
            harness.send(sales, Sale(shop, "USD", 2))
        harness.send(rates, Rate("USD", 0.25))
        harness.send(sales, Sale("a", "USD", 2), Sale("a", "GBP", 2))
        assert amounts(harness, out).count(1.0) == 6
        assert sorted(amounts(harness, out)) == [0.5, *[1.0] * 6, 4.0]


def test_the_table_is_read_to_its_end_before_the_first_event() -> None:
    app, sales, rates, out = exchange()
    seen = Seen()
    with Harness(app) as first:
        first.send(rates, *[Rate(f"C{number}", number) for number in range(500)])
    with Harness(app, after=first, observer=seen) as harness:
        assert seen.is_ready
        assert seen.tables[-1] == ("rates", 500, 0)
        harness.send(sales, Sale("a", "C400", 1))
        assert amounts(harness, out) == [400]


@pytest.mark.parametrize("fault", ["crash", "abort", "fence", "rebalance"])
def test_events_and_changes_survive_faults(fault: Fault) -> None:
    app, sales, rates, out = exchange()
    with Harness(app) as harness:
        harness.send(rates, Rate("USD", 1))
        harness.fault(fault)
        harness.send(sales, Sale("a", "USD", 1))
        harness.send(rates, Rate("USD", 2))
        harness.send(sales, Sale("a", "USD", 1))
        assert amounts(harness, out) == [1, 2]


def test_a_tombstone_deletes_and_what_cannot_be_read_is_left_out_and_told() -> None:
    app, sales, rates, out = exchange()
    seen = Seen()
    with Harness(app, observer=seen) as harness:
        harness.send(rates, Rate("USD", 1), Rate("GBP", 2))
        harness.send_bytes(rates, None, key=b"GBP")
        harness.send_bytes(rates, b"not a rate", key=b"USD")
        harness.send_bytes(rates, b'{"currency": "XXX", "euros": 1}', key=None)
        harness.send(sales, Sale("a", "USD", 3), Sale("a", "GBP", 3))
        assert amounts(harness, out) == [3]
        [letter] = harness.dead_letters()
    assert letter.reason == "missing-key"
    assert sum(refused for _, _, refused in seen.tables) == 2
    assert seen.tables[-1][1] == 1


def test_a_table_reads_as_a_mapping_in_batch_agents_too() -> None:
    app = App("exchange")
    sales = app.topic("sales", Sale, key="shop")
    by_number = app.topic("names", str, key=len)
    names = app.global_table(by_number)
    found: list[object] = []

    @app.batch_agent(sales, to=app.topic("out", Sale, key="shop"))
    def look(batch: Batch[Sale]) -> Sequence[None]:  # pyright: ignore[reportUnusedFunction]
        found.append((dict(names), len(names), 3 in names, names.get(9), list(names)))
        return [None] * len(batch)

    with Harness(app) as harness:
        harness.send(by_number, "one", "three", "two")
        harness.send(sales, Sale("a", "", 1))
    assert found == [({3: "two", 5: "three"}, 2, True, None, [3, 5])]


def test_outside_an_app_that_runs_there_is_no_answer() -> None:
    app, _, rates, _ = exchange()
    with pytest.raises(ConfigurationError, match="running app"):
        len(app.global_table(rates))
    with Harness(app):
        assert not len(app.global_table(rates))
    with pytest.raises(ConfigurationError, match="running app"):
        len(app.global_table(rates))


def test_a_topic_of_another_app_is_refused() -> None:
    app, _, _, _ = exchange()
    app.global_table(App("other").topic("elsewhere", Rate, key="currency"))
    with pytest.raises(PlanError, match="another app"):
        app.plan()
