"""Answers are written here by hand, as https://kafka.apache.org/protocol lays them out."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.testing.proxy_wire import NEWEST, Address, Api, Request, clamped, dissected, joined

CORRELATION = b"\0\0\0\7"
REST = b"what follows, as it is"


def request(api: int, version: int) -> Request:
    return Request(api, version, 7, "me", b"")


@dataclass
class Layout:
    """Writes an answer in the classic or in the compact form."""

    compact: bool
    written: bytearray = field(default_factory=lambda: bytearray(CORRELATION))

    def __post_init__(self) -> None:
        self.tags()

    def add(self, form: str, *values: int) -> None:
        self.written += struct.pack(f">{form}", *values)

    def length(self, count: int) -> None:
        self.add("B", count + 1) if self.compact else self.add("i", count)

    def string(self, text: str | None) -> None:
        size = -1 if text is None else len(text.encode())
        if not self.compact:
            self.add("h", size)
        elif size + 1 < 128:
            self.add("B", size + 1)
        else:
            self.add("BB", (size + 1) % 128 + 128, (size + 1) // 128)
        self.written += (text or "").encode()

    def address(self, address: Address) -> None:
        self.string(address.host)
        self.add("i", address.port)

    def tags(self) -> None:
        self.written += b"\1\0\3tag" if self.compact else b""


def metadata(version: int, brokers: list[Address]) -> bytes:
    layout = Layout(version >= 9)
    if version >= 3:
        layout.add("i", 0)
    layout.length(len(brokers))
    for node, broker in enumerate(brokers):
        layout.add("i", node)
        layout.address(broker)
        if version >= 1:
            layout.string(None if node else "rack")
        layout.tags()
    return bytes(layout.written) + REST


def coordinators(version: int, brokers: list[Address]) -> bytes:
    layout = Layout(version >= 3)
    if version >= 1:
        layout.add("i", 0)
    if version >= 4:
        layout.length(len(brokers))
        for broker in brokers:
            layout.string("group")
            layout.add("i", 1)
            layout.address(broker)
            layout.add("h", 0)
            layout.string(None)
            layout.tags()
    else:
        layout.add("h", 0)
        if version >= 1:
            layout.string("NONE")
        layout.add("i", 1)
        layout.address(brokers[0])
    return bytes(layout.written) + REST


def cluster(version: int, brokers: list[Address]) -> bytes:
    layout = Layout(compact=True)
    layout.add("ih", 0, 0)
    layout.string(None)
    if version >= 1:
        layout.add("b", 1)
    layout.string("cluster")
    layout.add("i", 1)
    layout.length(len(brokers))
    for node, broker in enumerate(brokers):
        layout.add("i", node)
        layout.address(broker)
        layout.string(None)
        if version >= 2:
            layout.add("b", 0)
        layout.tags()
    return bytes(layout.written) + REST


ANSWERS = {Api.METADATA: metadata, Api.FIND_COORDINATOR: coordinators, Api.DESCRIBE_CLUSTER: cluster}
VERSIONS = [(api, version) for api in ANSWERS for version in range(NEWEST[api] + 1)]
HOSTS = st.text("abc.é-", min_size=1, max_size=150)
BROKERS = st.lists(st.builds(Address, HOSTS, st.integers(1, 65535)), min_size=1, max_size=3)


@pytest.mark.parametrize(("api", "version"), VERSIONS)
@given(brokers=BROKERS)
def test_addresses_are_found_and_replaced_in_every_version(api: Api, version: int, brokers: list[Address]) -> None:
    asked, write = request(api, version), ANSWERS[api]
    pieces = dissected(asked, write(version, brokers))
    found = [piece for piece in pieces if isinstance(piece, Address)]
    assert found == (brokers[:1] if api == Api.FIND_COORDINATOR and version < 4 else brokers)
    assert joined(asked, pieces) == write(version, brokers)
    here = Address("127.0.0.1", 1)
    moved = joined(asked, [here if isinstance(piece, Address) else piece for piece in pieces])
    assert moved == write(version, [here] * len(brokers))


def test_nobodys_address_stays_as_it_is() -> None:
    asked = request(Api.FIND_COORDINATOR, 3)
    answer = coordinators(3, [Address("", -1)])
    assert dissected(asked, answer) == [answer]


def test_other_answers_are_not_looked_into() -> None:
    assert dissected(request(Api.FETCH, 99), b"anything") == [b"anything"]
    assert joined(request(Api.FETCH, 99), [b"anything"]) == b"anything"


def test_a_version_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="version 14 of API 3 is unknown"):
        dissected(request(Api.METADATA, 14), b"anything")


def test_a_request_without_a_name_for_its_api_or_client_is_read() -> None:
    read = Request.parse(struct.pack(">hhih", 999, 2, 7, -1) + b"group-1")
    assert (read.api, read.version, read.client_id, read.mentions("group-1")) == (999, 2, "", True)


SUPPORTED = {Api.PRODUCE: 13, Api.FETCH: 18, Api.METADATA: 13, Api.FIND_COORDINATOR: 6, Api.DESCRIBE_CLUSTER: 1, 999: 9}


def api_versions(version: int, newest: dict[int, int]) -> bytes:
    layout = Layout(compact=False)
    layout.compact = version >= 3
    layout.add("h", 0)
    layout.length(len(newest))
    for api, most in newest.items():
        layout.add("hhh", api, 0, most)
        layout.tags()
    return bytes(layout.written) + REST


@pytest.mark.parametrize("version", [0, 1, 2, 3, 4])
def test_versions_that_are_not_known_are_taken_away(version: int) -> None:
    known = {**SUPPORTED, Api.PRODUCE: 9, Api.FETCH: 15}
    assert clamped(version, api_versions(version, SUPPORTED)) == api_versions(version, known)


def test_the_answer_to_a_version_that_the_broker_does_not_know_is_that_of_version_0() -> None:
    refused = CORRELATION + struct.pack(">hihhh", 35, 1, Api.PRODUCE, 0, 13)
    assert clamped(5, refused) == CORRELATION + struct.pack(">hihhh", 35, 1, Api.PRODUCE, 0, 9)
