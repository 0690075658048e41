"""The HTTP endpoints of a worker: ``/metrics``, ``/healthz``, ``/readyz`` and, where they are shown, ``/tables``."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import NamedTuple, Self, TypeAlias

from streamserve.dataflow.owning.held import HeldTables
from streamserve.errors import ConfigurationError
from streamserve.ops.health import Health
from streamserve.ops.metrics import CONTENT_TYPE, PrometheusObserver
from streamserve.ops.tables import ROOT, page

_CLIENT_TIMEOUT_S = 10.0


class _Answer(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


_Routes: TypeAlias = Mapping[str, Callable[[], _Answer]]


class OpsServer:
    """Serves metrics and health from a daemon thread, on loopback unless told otherwise.

    Plain HTTP without authentication: give it another ``host`` only behind one that guards it. ``port`` 0 takes a
    free one. With ``tables`` it also shows what they hold. Raises ``ConfigurationError`` if the address cannot be
    bound.

    >>> with OpsServer(PrometheusObserver("flights"), Health()) as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        metrics: PrometheusObserver,
        health: Health,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tables: HeldTables | None = None,
    ) -> None:
        routes: _Routes = {
            "/metrics": lambda: _Answer(HTTPStatus.OK, CONTENT_TYPE, metrics.render()),
            "/healthz": lambda: _live(health),
            "/readyz": lambda: _ready(health),
        }
        try:
            self._server = _Server(host, port, _handler(routes, tables))
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"cannot serve metrics and health on {host}:{port} ({error}); choose another port, or 0 for a free one"
            ) from error
        self._host = host
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="streamserve-ops", daemon=True
        )

    @property
    def port(self) -> int:
        """Return the port that is bound."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Return the address without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Server(ThreadingMixIn, TCPServer):
    """``http.server.ThreadingHTTPServer`` would look up the host's full name in DNS first."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: a client that hangs up is no event of ours."""


def _handler(routes: _Routes, tables: HeldTables | None) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers one connection from ``routes`` and ``tables``."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT_S
        server_version = "streamserve"
        sys_version = ""

        def do_GET(self) -> None:
            answer = _answer(routes, tables, self.path.partition("?")[0])
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_HEAD = do_GET  # noqa: N815 - http.server asks for the name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it
            """Write no access log."""

    return Handler


def _answer(routes: _Routes, tables: HeldTables | None, path: str) -> _Answer:
    route = routes.get(path)
    if tables is not None and (path == ROOT or path.startswith(f"{ROOT}/")):
        route = partial(_table_page, tables, path)
    if route is None:
        there_are = ", ".join([*routes, *([ROOT] if tables is not None else [])])
        return _json(HTTPStatus.NOT_FOUND, {"error": f"no such page; there are {there_are}"})
    try:
        return route()
    except Exception as error:
        return _json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": type(error).__name__})


def _table_page(tables: HeldTables, path: str) -> _Answer:
    return _json(*page(tables, path))


def _live(health: Health) -> _Answer:
    liveness = health.liveness()
    return _json(HTTPStatus.OK if liveness.healthy else HTTPStatus.SERVICE_UNAVAILABLE, liveness.as_dict())


def _ready(health: Health) -> _Answer:
    readiness = health.readiness()
    return _json(HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE, readiness.as_dict())


def _json(status: HTTPStatus, data: Mapping[str, object]) -> _Answer:
    return _Answer(status, "application/json", json.dumps(data).encode() + b"\n")
