"""One of each event that the engine tells."""

from __future__ import annotations

from streamserve.observer import Observers


def tell_everything(observer: Observers) -> None:
    """Tell an observer an event of each kind, so that all metrics have values."""
    observer.polled("flights", 500)
    observer.processed("predict", 500, 0.002)
    observer.emitted("delays", 499)
    observer.dead_lettered("predict", "agent", 1)
    observer.skipped("decode", "decode", 2)
    observer.late("origin_delay", 3)
    observer.committed(500, 0.003)
    observer.latencies([0.004, 0.006, 12.0])
    observer.aborted("TransactionAborted", "why")
    observer.assigned({"flights": [0, 1]})
    observer.restoring(3, 10)
    observer.restored("flights/0", 0.2)
    observer.global_table("rates", 5, 1)
    observer.state_discarded("monitor of delay", 0, ["statistics: columns changed"])
    observer.lag("flights", 0, 17)
    observer.features_read("delay_v1", 500, 480, 0.001, [3.0, 4000.0])
    observer.features_pushed("weather", 3, 1)
    observer.features_unlogged("delay_v1", 2)
    observer.model_loaded("delay", "1", "ab12", 256)
    observer.model_run("delay", 256, 1, 0.0004)
    observer.drift_window("delay", "gust", "origin=JFK", 0, {"count": 10, "mean": 1.5, "median": None})
    observer.drift_alarm("delay", "gust", "ADWIN", 0, 1_000)
    observer.labelled("delays-labels", "matched", 40)
    observer.performance("delays-labels", "delay", "3", "", "last", 1, {"ROCAUC": 0.75})
    observer.ready(True, "")
    observer.paused(False, "")
    observer.progress()
