"""What is said of agents that raise, or do what they may not: where and which class, never the text of their errors."""

from __future__ import annotations

from types import TracebackType

from streamserve.errors import AgentError, ConfigurationError, RecordError


def never_reads(agent: str) -> ConfigurationError:
    """Return what is raised for an agent that ends without having asked for an event."""
    return ConfigurationError(f"agent {agent!r} ended without reading its stream: write 'async for event in stream:'")


def outside_event(agent: str, raised: BaseException | None = None) -> ConfigurationError:
    """Return what is raised when an agent fails, writes or asks before it has an event that this could belong to."""
    what = f"raised {type(raised).__name__}{_line_of(raised)}" if raised is not None else "writes or asks"
    return ConfigurationError(
        f"agent {agent!r} {what} before it has read an event: do it inside 'async for event in stream:', or once for"
        " the worker in a lifespan"
    )


def agent_error(name: str, raised: BaseException, kind: str = "agent") -> RecordError:
    """Return the failure that an agent's exception makes: its class, never its text, which may hold payload."""
    if isinstance(raised, RecordError):
        return raised
    error = AgentError(f"{kind} {name!r} raised {type(raised).__name__}{_line_of(raised)}")
    error.__cause__ = raised
    return error


def _line_of(raised: BaseException) -> str:
    """Return the file and line at which ``raised`` came up, as far as the traceback tells."""
    trace = _innermost(raised)
    if trace is None:
        return ""
    file = trace.tb_frame.f_code.co_filename.rsplit("/", 1)[-1]
    return f" at {file}:{trace.tb_lineno}"


def _innermost(raised: BaseException) -> TracebackType | None:
    trace = raised.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def needs_event_loop(raised: Exception) -> bool:
    """Return whether ``raised`` is asyncio's complaint that no event loop runs: most of it asks before it awaits."""
    if not isinstance(raised, RuntimeError):
        return False
    trace = _innermost(raised)
    inside = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    return inside.partition(".")[0] == "asyncio" or "event loop" in str(raised)


def foreign_await(agent: str, effect: object) -> ConfigurationError:
    """Return what is raised at an await that only an event loop can answer."""
    return ConfigurationError(
        f"agent {agent!r} awaits {type(effect).__name__}, which needs an event loop: declare it with io=True."
        " Without it an agent may await features, models, streamserve.gather and topic.send."
    )
