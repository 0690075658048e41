"""A TCP proxy between clients and Kafka that holds back, delays, drops or cuts off chosen requests or their answers.

Clients must stay behind it, though every broker tells them its own address. The proxy rewrites these addresses where
answers name them (Metadata, FindCoordinator, DescribeCluster) and listens for every broker that it reads of: it needs
nothing of the brokers' configuration, and works with clusters of any size. What it cannot read is never spoken: in the
answers to ApiVersions it takes away the versions that it does not know (``proxy_wire.NEWEST``).

A request that is held or delayed is overtaken by those behind it on its connection, and so is an answer: as if others
went to other brokers. librdkafka takes answers in any order; Java's clients break the connection. Brokers refuse what
overtakes another Produce request for its partition: hold all that follow as well. What a client has sent arrives even
if the client is dead by then.

Not for TLS, and not for SASL outside of Kafka's own frames (before Kafka 1.0).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from streamserve.errors import ConfigurationError
from streamserve.testing.proxy_rules import Action, Exchange, Rule, Side
from streamserve.testing.proxy_wire import Address, Api, Request, clamped, dissected, joined

__all__ = ["Action", "Api", "Exchange", "KafkaProxy", "Request", "Rule", "Side"]

T = TypeVar("T")

_HOST = "127.0.0.1"
_BUFFER = 1 << 20
_LAST_ANSWER_SECONDS = 5.0


class KafkaProxy:
    """Stands between clients and ``brokers`` (``host:port``, several separated by commas) inside its ``with`` block.

    It listens on loopback, on free ports; clients are given its ``address`` as their bootstrap servers::

        with KafkaProxy("127.0.0.1:9092") as proxy:
            answers = proxy.on(Api.END_TXN, "drop", side="answer", first=3, count=1)
            run_worker(bootstrap_servers=proxy.address)
            answers.wait()                                   # now the third outcome is unknown to the worker

    Leaving the block breaks all connections, and raises what went wrong inside the proxy itself.

    Raises:
        ConfigurationError: ``brokers`` is no list of addresses.
    """

    def __init__(self, brokers: str) -> None:
        try:
            self._brokers = [Address.parse(text) for text in brokers.split(",")]
        except ValueError as error:
            raise ConfigurationError(f"the proxy's brokers: {error}") from error
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kafka-proxy", daemon=True)
        self._gateways: dict[Address, _Gateway] = {}
        self._opening = asyncio.Lock()
        self._connections: set[_Connection] = set()
        self._rules: tuple[Rule, ...] = ()
        self._is_cut = False
        self._failures: list[BaseException] = []
        self.latency_s = 0.0
        """How long every request, and every answer, is on its way besides; it may be changed at any time."""

    # --- what tests use -------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Return where it listens for ``brokers``."""
        return ",".join(str(self._gateways[broker].address) for broker in self._brokers)

    def on(
        self,
        api: Api | int | None,
        action: Action = "pass",
        *,
        side: Side = "request",
        first: int = 1,
        count: int | None = None,
        seconds: float = 0.0,
        where: Callable[[Request], bool] | None = None,
    ) -> Rule:
        """Have ``action`` done to requests of ``api`` (``None``: of any), or to their answers, from now on.

        Among those that ``where`` chooses, the first is number ``first`` and there are ``count`` of them (default: all
        that come). ``seconds`` are for ``delay``. Rules that watch (``pass``) all see a request; of the others the one
        made first strikes.

        Raises:
            ConfigurationError: an ordinal is below 1, or a delay negative.
        """
        rule = Rule(api, action, side=side, first=first, count=count, seconds=seconds, where=where, loop=self._loop)
        self._rules = (*self._rules, rule)
        return rule

    @contextmanager
    def cut(self) -> Generator[None]:
        """Break all connections, and accept none inside the block; what was held is lost."""
        self._await(self._set_cut(is_cut=True))
        try:
            yield
        finally:
            self._await(self._set_cut(is_cut=False))

    def __enter__(self) -> Self:
        self._thread.start()
        for broker in self._brokers:
            self._await(self.gateway(broker))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._await(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._failures and error is None:
            raise self._failures[0]

    # --- on the proxy's thread ------------------------------------------------------------------------------------

    def _await(self, task: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result()

    async def gateway(self, broker: Address) -> Address:
        """Return where the proxy listens for a broker, from now on at the latest."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(broker, _Side(reader, writer))

        async with self._opening:
            if broker not in self._gateways:
                server = await asyncio.start_server(accept, _HOST, 0, limit=_BUFFER)
                self._gateways[broker] = _Gateway(server, Address(*server.sockets[0].getsockname()[:2]))
        return self._gateways[broker].address

    async def _serve(self, broker: Address, client: _Side) -> None:
        if self._is_cut:
            client.abort()
            return
        try:
            reader, writer = await asyncio.open_connection(broker.host, broker.port, limit=_BUFFER)
        except OSError:
            client.abort()
            return
        connection = _Connection(self, client, _Side(reader, writer))
        if self._is_cut:  # meanwhile
            connection.abort()
            return
        self._connections.add(connection)
        try:
            await connection.run()
        except Exception as failure:
            self._failures.append(failure)
        finally:
            self._connections.discard(connection)
            connection.abort()

    async def _set_cut(self, *, is_cut: bool) -> None:
        self._is_cut = is_cut
        for connection in self._connections if is_cut else ():
            connection.abort()

    async def _shut(self) -> None:
        self._close_gateways()
        await self._set_cut(is_cut=True)
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)  # without their connections they end
        self._close_gateways()  # of brokers that the last answers named

    def _close_gateways(self) -> None:
        for gateway in self._gateways.values():
            gateway.server.close()

    def striking(self, side: Side, exchange: Exchange) -> Rule | None:
        """Return the rule for a request, or an answer; those that watch see it besides."""
        struck: Rule | None = None
        for rule in self._rules:
            watches = rule.action == "pass"
            if (watches or struck is None) and rule.strikes(side, exchange) and not watches:
                struck = rule
        return struck

    async def behind(self, request: Request, answer: bytes) -> bytes:
        """Return an answer that keeps the client behind the proxy."""
        if request.api == Api.API_VERSIONS:
            return clamped(request.version, answer)
        pieces = dissected(request, answer)
        return joined(request, [await self.gateway(it) if isinstance(it, Address) else it for it in pieces])


@dataclass(frozen=True, slots=True)
class _Gateway:
    """What listens in the place of a broker, and where; a server that is closed does not know any more."""

    server: asyncio.Server
    address: Address


@dataclass(frozen=True, slots=True)
class _Side:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def frames(self) -> AsyncGenerator[bytes]:
        """Yield each frame that comes in, until the connection ends."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await self.reader.readexactly(4))
                yield await self.reader.readexactly(size)

    def send(self, frame: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(len(frame).to_bytes(4) + frame)

    async def drain(self) -> None:
        with suppress(ConnectionError):
            await self.writer.drain()

    def end(self) -> None:
        with suppress(OSError):  # it has ended already
            self.writer.write_eof()

    def abort(self) -> None:
        self.writer.transport.abort()


class _Lane:
    """Sends frames on in their order, each after the time that it takes."""

    def __init__(self, end: _Side) -> None:
        self._end = end
        self._free_at = 0.0

    def send(self, frame: bytes, latency_s: float, then: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        due = max(loop.time() + latency_s, self._free_at)
        if due <= loop.time():
            self._arrive(frame, then)
            return
        self._free_at = due + 1e-6  # so that no two are due at once: the loop keeps no order among those
        loop.call_at(due, self._arrive, frame, then)

    def _arrive(self, frame: bytes, then: Callable[[], None]) -> None:
        then()
        self._end.send(frame)


class _Connection:
    """A client's connection, and the one to the broker that belongs to it."""

    def __init__(self, proxy: KafkaProxy, client: _Side, broker: _Side) -> None:
        self._proxy = proxy
        self._client, self._broker = client, broker
        self._to_client, self._to_broker = _Lane(client), _Lane(broker)
        self._waiting: dict[int, Exchange] = {}
        self._late: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Pass frames on until one end is gone."""
        requests, answers = asyncio.ensure_future(self._requests()), asyncio.ensure_future(self._answers())
        await asyncio.wait({requests, answers}, return_when=asyncio.FIRST_COMPLETED)
        if requests.done() and not answers.done():
            await self._outlive(answers)
        for task in (requests, answers):
            if task.done():
                task.result()
            task.cancel()

    async def _outlive(self, answers: asyncio.Task[None]) -> None:
        """Let what a client has sent arrive, though it is gone, and the broker end the connection after that."""
        await asyncio.sleep(self._proxy.latency_s)
        while self._late and not answers.done():
            await asyncio.wait({answers, *self._late}, return_when=asyncio.FIRST_COMPLETED)
        self._broker.end()
        await asyncio.wait({answers}, timeout=_LAST_ANSWER_SECONDS)

    def abort(self) -> None:
        """Break it off at both ends."""
        for task in self._late:
            task.cancel()
        self._client.abort()
        self._broker.abort()

    async def _requests(self) -> None:
        async for frame in self._client.frames():
            exchange = Exchange(Request.parse(frame))
            if not self._passed("request", exchange, partial(self._ask, exchange)):
                return
            await self._broker.drain()

    async def _answers(self) -> None:
        async for frame in self._broker.frames():
            exchange = self._waiting.pop(int.from_bytes(frame[:4]), None)
            if exchange is None:
                continue
            exchange.answer, exchange.answered_at = frame, time.monotonic()
            changed = await self._proxy.behind(exchange.request, frame)
            if not self._passed("answer", exchange, partial(self._answer, exchange, changed)):
                return
            await self._client.drain()

    def _passed(self, side: Side, exchange: Exchange, go_on: Callable[[], None]) -> bool:
        """Do what the rules say; return whether the connection is still one."""
        rule = self._proxy.striking(side, exchange)
        if rule is None:
            go_on()
        elif rule.action == "cut":
            return False
        elif rule.action != "drop":
            task = asyncio.ensure_future(_later(rule.linger(), go_on))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        return True

    def _ask(self, exchange: Exchange) -> None:
        def sent() -> None:
            exchange.sent_at = time.monotonic()
            self._waiting[exchange.request.correlation] = exchange

        self._to_broker.send(exchange.request.frame, self._proxy.latency_s, sent)

    def _answer(self, exchange: Exchange, frame: bytes) -> None:
        def delivered() -> None:
            exchange.delivered_at = time.monotonic()

        self._to_client.send(frame, self._proxy.latency_s, delivered)


async def _later(lingering: Awaitable[None], go_on: Callable[[], None]) -> None:
    await lingering
    go_on()
