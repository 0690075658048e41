"""The proxy in front of a server that answers every Kafka frame with its own bytes."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Generator
from typing import Self

import pytest
from typing_extensions import override

from streamserve.errors import ConfigurationError
from streamserve.testing.proxy import Api, KafkaProxy


class _Echo(socketserver.StreamRequestHandler):
    """Answers with the correlation id and the whole request; keeps what arrived."""

    @override
    def handle(self) -> None:
        assert isinstance(self.server, Broker)
        while size := self.rfile.read(4):
            frame = self.rfile.read(int.from_bytes(size))
            self.server.received.append(frame)
            answer = frame[4:8] + frame
            self.wfile.write(len(answer).to_bytes(4) + answer)


class Broker(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Echo)
        self.received: list[bytes] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Client:
    """Sends requests of no more than a header, and reads which were answered."""

    def __init__(self, proxy: KafkaProxy) -> None:
        host, _, port = proxy.address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), 5)
        self._socket.settimeout(5)
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def ask(self, api: int, correlation: int, text: str = "") -> None:
        frame = struct.pack(">hhih2s", api, 0, correlation, 2, b"me") + text.encode()
        self._socket.sendall(len(frame).to_bytes(4) + frame)

    def answered(self) -> int | None:
        """Return the correlation id of the next answer; ``None`` when the connection has ended."""
        try:
            size = self._stream.read(4)
            return int.from_bytes(self._stream.read(int.from_bytes(size))[:4]) if size else None
        except ConnectionError:
            return None

    def is_silent(self, seconds: float = 0.1) -> bool:
        """Return whether no answer comes for so long."""
        self._socket.settimeout(seconds)
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(5)


@pytest.fixture
def broker() -> Generator[Broker]:
    with Broker() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(broker: Broker) -> Generator[KafkaProxy]:
    with KafkaProxy(broker.address) as running:
        yield running


def until_received(broker: Broker, count: int) -> None:
    give_up = time.monotonic() + 5
    while len(broker.received) < count:
        assert time.monotonic() < give_up, f"{len(broker.received)} of {count} requests arrived"
        time.sleep(0.005)


def test_without_rules_everything_passes_in_order(proxy: KafkaProxy) -> None:
    with Client(proxy) as client:
        for number in range(100):
            client.ask(Api.PRODUCE, number, "x" * 10_000)
        assert [client.answered() for _ in range(100)] == list(range(100))


def test_a_held_request_waits_for_its_release_while_others_overtake_it(broker: Broker, proxy: KafkaProxy) -> None:
    held = proxy.on(Api.PRODUCE, "hold", first=2, count=1)
    with Client(proxy) as client:
        for number, api in enumerate((Api.PRODUCE, Api.PRODUCE, Api.END_TXN, Api.PRODUCE)):
            client.ask(api, number)
        assert [client.answered() for _ in range(3)] == [0, 2, 3]
        (exchange,) = held.wait()
        assert (held.held, exchange.sent_at, exchange.request.correlation) == (1, None, 1)
        assert len(broker.received) == 3
        held.release()
        assert client.answered() == 1
    assert held.held == 0
    assert exchange.sent_at is not None
    assert exchange.answer == b"\0\0\0\1" + exchange.request.frame


def test_what_is_held_keeps_its_order(proxy: KafkaProxy) -> None:
    held = proxy.on(Api.PRODUCE, "hold")
    with Client(proxy) as client:
        for number in range(20):
            client.ask(Api.PRODUCE, number)
        held.wait(20)
        held.release()
        assert [client.answered() for _ in range(20)] == list(range(20))
        client.ask(Api.PRODUCE, 20)
        assert client.answered() == 20


def test_a_held_answer_is_of_a_request_that_has_arrived(broker: Broker, proxy: KafkaProxy) -> None:
    held = proxy.on(Api.END_TXN, "hold", side="answer")
    with Client(proxy) as client:
        client.ask(Api.END_TXN, 7)
        (exchange,) = held.wait()
        assert client.is_silent()
        assert exchange.delivered_at is None
        assert len(broker.received) == 1
        held.release()
        assert client.answered() == 7


def test_a_dropped_request_does_not_arrive_and_a_dropped_answer_does_not_come_back(
    broker: Broker, proxy: KafkaProxy
) -> None:
    proxy.on(Api.TXN_OFFSET_COMMIT, "drop", count=1)
    proxy.on(Api.ADD_OFFSETS_TO_TXN, "drop", side="answer", count=1)
    with Client(proxy) as client:
        client.ask(Api.TXN_OFFSET_COMMIT, 1)
        client.ask(Api.ADD_OFFSETS_TO_TXN, 2)
        client.ask(Api.HEARTBEAT, 3)
        assert client.answered() == 3
    assert [frame[4:8] for frame in broker.received] == [b"\0\0\0\2", b"\0\0\0\3"]


@pytest.mark.parametrize(("side", "arrives"), [("request", 0), ("answer", 1)])
def test_a_cut_breaks_the_connection_before_or_after_the_request_arrives(
    broker: Broker, proxy: KafkaProxy, side: str, arrives: int
) -> None:
    proxy.on(Api.END_TXN, "cut", side="answer" if side == "answer" else "request")
    with Client(proxy) as client:
        client.ask(Api.END_TXN, 1)
        assert client.answered() is None
    assert len(broker.received) == arrives


def test_a_delay_is_as_long_as_it_says(proxy: KafkaProxy) -> None:
    proxy.on(Api.FETCH, "delay", seconds=0.2)
    with Client(proxy) as client:
        began = time.monotonic()
        client.ask(Api.FETCH, 1)
        client.ask(Api.HEARTBEAT, 2)
        assert [client.answered(), client.answered()] == [2, 1]
        assert 0.2 <= time.monotonic() - began < 2


def test_latency_delays_each_way_and_keeps_the_order(proxy: KafkaProxy) -> None:
    proxy.latency_s = 0.1
    with Client(proxy) as client:
        began = time.monotonic()
        for number in range(50):
            client.ask(Api.FETCH, number)
        assert [client.answered() for _ in range(50)] == list(range(50))
        assert 0.2 <= time.monotonic() - began < 2


def test_rules_choose_by_what_a_request_says(proxy: KafkaProxy) -> None:
    proxy.on(Api.PRODUCE, "drop", where=lambda request: request.mentions("changelog"))
    with Client(proxy) as client:
        client.ask(Api.PRODUCE, 1, "app-changelog")
        client.ask(Api.PRODUCE, 2, "out")
        assert client.answered() == 2


def test_all_watchers_see_a_request_and_the_first_of_the_others_strikes(proxy: KafkaProxy) -> None:
    watchers = [proxy.on(Api.PRODUCE), proxy.on(None, side="answer"), proxy.on(None)]
    first, second = (proxy.on(Api.PRODUCE, "delay", count=1) for _ in range(2))
    with Client(proxy) as client:
        client.ask(Api.PRODUCE, 1)
        assert client.answered() == 1
    assert [len(rule.exchanges) for rule in (*watchers, first, second)] == [1, 1, 1, 1, 0]


def test_what_a_dead_client_has_sent_still_arrives(broker: Broker, proxy: KafkaProxy) -> None:
    held = proxy.on(Api.PRODUCE, "hold")
    with Client(proxy) as client:
        client.ask(Api.PRODUCE, 1)
        client.ask(Api.PRODUCE, 2)
        held.wait(2)
    time.sleep(0.05)
    held.release()
    until_received(broker, 2)


def test_a_cut_network_breaks_all_connections_and_accepts_none_until_it_is_mended(
    broker: Broker, proxy: KafkaProxy
) -> None:
    proxy.on(Api.PRODUCE, "hold")
    with Client(proxy) as client:
        client.ask(Api.PRODUCE, 1)
        with proxy.cut():
            assert client.answered() is None
            with Client(proxy) as other:
                assert other.answered() is None
    with Client(proxy) as client:
        client.ask(Api.FETCH, 2)
        assert client.answered() == 2
    assert len(broker.received) == 1


def test_a_broker_that_is_away_refuses_its_clients(broker: Broker) -> None:
    address = broker.address
    broker.server_close()
    with KafkaProxy(address) as proxy, Client(proxy) as client:
        assert client.answered() is None


def test_what_goes_wrong_in_the_proxy_is_raised_at_its_end(broker: Broker) -> None:
    def ask() -> None:
        with KafkaProxy(broker.address) as proxy:
            proxy.on(Api.PRODUCE, where=lambda _: 1 // 0 == 0)
            with Client(proxy) as client:
                client.ask(Api.PRODUCE, 1)
                assert client.answered() is None

    with pytest.raises(ZeroDivisionError):
        ask()


def test_waiting_for_what_does_not_come_has_an_end(proxy: KafkaProxy) -> None:
    with pytest.raises(TimeoutError, match="0 of 1 came within"):
        proxy.on(Api.END_TXN).wait(seconds=0.01)


def test_every_broker_has_a_listener_of_its_own(broker: Broker) -> None:
    with KafkaProxy(f"{broker.address},127.0.0.1:1") as proxy:
        first, second = proxy.address.split(",")
        assert len({first, second, broker.address}) == 3


def test_where_it_listened_is_known_beyond_its_end(broker: Broker) -> None:
    """The last answers may still be on their way then, and name brokers."""
    with KafkaProxy(broker.address) as proxy:
        address = proxy.address
    assert proxy.address == address


@pytest.mark.parametrize("brokers", ["", "localhost", "localhost:", "localhost:x"])
def test_addresses_need_a_host_and_a_port(brokers: str) -> None:
    with pytest.raises(ConfigurationError, match="the proxy's brokers"):
        KafkaProxy(brokers)


@pytest.mark.parametrize(("first", "count", "seconds"), [(0, 1, 0.0), (1, 0, 0.0), (1, 1, -1.0)])
def test_rules_refuse_numbers_that_make_no_sense(proxy: KafkaProxy, first: int, count: int, seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="ordinals count from 1"):
        proxy.on(Api.PRODUCE, first=first, count=count, seconds=seconds)
