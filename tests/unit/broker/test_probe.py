"""A broker is known by its answer, and nothing else is taken for one."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.broker.probe import cluster_id, free_port, is_free, parse_answer

HOST = "127.0.0.1"


def string(text: str | None) -> bytes:
    if text is None:
        return struct.pack(">h", -1)
    return struct.pack(">h", len(text.encode())) + text.encode()


def metadata(brokers: list[tuple[str, str | None]], cluster: str | None, *, correlation: int = 1) -> bytes:
    """Write a Metadata response, version 2, as a broker does."""
    listed = b"".join(
        struct.pack(">i", 1) + string(host) + struct.pack(">i", 9092) + string(rack) for host, rack in brokers
    )
    return struct.pack(">ii", correlation, len(brokers)) + listed + string(cluster) + struct.pack(">ii", 1, 0)


@contextmanager
def server(answer: bytes | None) -> Generator[int]:
    """Listen; answer the first bytes of each connection, or stay silent."""
    held: list[socket.socket] = []

    def serve() -> None:
        connection, _ = listener.accept()
        held.append(connection)
        connection.recv(1024)
        if answer is not None:
            connection.sendall(answer)
            connection.close()

    with socket.create_server((HOST, 0)) as listener:
        thread = Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()
    for connection in held:
        connection.close()


texts = st.text(max_size=40)


@given(st.lists(st.tuples(texts, st.none() | texts), min_size=1, max_size=5), st.none() | texts)
def test_cluster_is_read_from_any_answer(brokers: list[tuple[str, str | None]], cluster: str | None) -> None:
    assert parse_answer(metadata(brokers, cluster)) == cluster


def test_answer_without_brokers_is_a_broker_that_does_not_serve_yet() -> None:
    assert parse_answer(metadata([], "cluster")) is None


def test_answer_to_another_question_is_none() -> None:
    assert parse_answer(metadata([(HOST, None)], "cluster", correlation=7)) is None


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_read_but_never_worse(answer: bytes) -> None:
    with suppress(struct.error, UnicodeDecodeError):
        parse_answer(answer)


def test_serving_broker_is_found_over_the_network() -> None:
    answer = metadata([(HOST, None)], "the-cluster")
    with server(struct.pack(">i", len(answer)) + answer) as port:
        assert cluster_id(HOST, port) == "the-cluster"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00\x00\x10short", bytes(8)])
def test_other_servers_are_no_brokers(answer: bytes) -> None:
    with server(answer) as port:
        assert cluster_id(HOST, port) is None


def test_silent_server_costs_no_more_than_the_timeout() -> None:
    with server(None) as port:
        began = time.monotonic()
        assert cluster_id(HOST, port, timeout_s=0.1) is None
        assert time.monotonic() - began < 2


def test_port_is_free_until_someone_listens() -> None:
    port = free_port(HOST)
    assert is_free(HOST, port)
    with socket.create_server((HOST, port)):
        assert not is_free(HOST, port)
        assert cluster_id(HOST, port, timeout_s=0.1) is None
