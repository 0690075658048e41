"""For whoever is woken: is it up, does it keep up, what fails, what changed."""

from __future__ import annotations

from compose.dashboards.board import Board, Mark, Panel, Query, Row
from compose.dashboards.promql import ever, or_zero, quantile, rate, select

__all__ = ["BOARD", "RELEASED", "STARTED"]

STARTED = Mark("worker starts", f"{select('process_start_time_seconds')} * 1000", "{{instance}} started", "blue")
RELEASED = Mark(
    "model deploys",
    f"{select('streamserve_model_loaded_timestamp_seconds')} * 1000"
    f" * on (job, instance, model) group_left (version) {select('streamserve_model_info')}",
    "{{model}} {{version}} on {{instance}}",
    "purple",
)

_NOW = Row(
    "Now",
    [
        Panel(
            title="Workers that answer",
            unit="none",
            kind="number",
            width=4,
            queries=[Query(f"sum ({select('up')})")],
            help_="Scrapes that succeed. Fewer than you run: runbook, WorkerDown.",
            warn_at=1,
            low_is_bad=True,
        ),
        Panel(
            title="Workers ready",
            unit="none",
            kind="number",
            width=4,
            queries=[Query(f"sum ({select('streamserve_ready')})")],
            help_="Assigned, restored, models answered. /readyz of the others says what they wait for.",
            warn_at=1,
            low_is_bad=True,
        ),
        Panel(
            title="Records waiting",
            unit="short",
            kind="number",
            width=4,
            queries=[Query(f"sum ({select('streamserve_lag_records')})")],
            help_="Lag of all topics and partitions. Growing: runbook, LagGrows.",
            warn_at=10_000,
        ),
        Panel(
            title="Latency, p99",
            unit="s",
            kind="number",
            width=4,
            queries=[Query(quantile(0.99, "streamserve_event_to_commit_seconds"))],
            help_="From a record's timestamp to the commit that shows its prediction; 10 s stands for all beyond.",
            warn_at=1,
        ),
        Panel(
            title="Dead letters in an hour",
            unit="short",
            kind="number",
            width=4,
            queries=[Query(or_zero(ever("streamserve_dead_letters_total", "1h")))],
            help_="Records set aside, of committed transactions. Runbook: DeadLetters.",
            warn_at=1,
        ),
        Panel(
            title="Alerts firing",
            unit="none",
            kind="number",
            width=4,
            queries=[Query('count (ALERTS{alertstate="firing"}) or vector(0)')],
            help_="Each has an entry in the runbook.",
            warn_at=1,
        ),
    ],
)

_THROUGHPUT = Row(
    "Throughput and lag",
    [
        Panel(
            title="Records read",
            unit="recps",
            queries=[Query(rate("streamserve_records_polled_total", by="topic"), "{{topic}}")],
            help_="Taken from the broker, those of aborted transactions included.",
        ),
        Panel(
            title="Records written",
            unit="recps",
            queries=[Query(rate("streamserve_records_emitted_total", by="topic"), "{{topic}}")],
            help_="Committed, so visible to a read_committed reader.",
        ),
        Panel(
            title="Lag",
            unit="short",
            queries=[Query(f"sum by (topic) ({select('streamserve_lag_records')})", "{{topic}}")],
            help_="Records behind the position. Workers end at the partitions: more of them do not help beyond.",
        ),
    ],
)

_LATENCY = Row(
    "Latency",
    [
        Panel(
            title="Event to commit",
            unit="s",
            queries=[
                Query(quantile(q, "streamserve_event_to_commit_seconds"), f"p{round(q * 100)}")
                for q in (0.5, 0.95, 0.99)
            ],
            help_="By the records' own timestamps: of replayed ones the replay's age.",
        ),
        Panel(
            title="Closing a transaction",
            unit="s",
            queries=[Query(quantile(q, "streamserve_commit_seconds"), f"p{round(q * 100)}") for q in (0.5, 0.99)],
            help_="Flush, offsets, commit. High with low throughput: look at the brokers.",
        ),
        Panel(
            title="Slowest part, p99 of a batch",
            unit="s",
            queries=[
                Query(quantile(0.99, "streamserve_step_seconds", by="step"), "step {{step}}"),
                Query(quantile(0.99, "streamserve_feature_read_seconds", by="service"), "features {{service}}"),
                Query(quantile(0.99, "streamserve_model_run_seconds", by="model"), "model {{model}}"),
            ],
            help_="Where a batch spends its time: the store of features, the model, or the app's own code.",
        ),
    ],
)

_ERRORS = Row(
    "Errors",
    [
        Panel(
            title="Dead letters",
            unit="recps",
            queries=[Query(or_zero(rate("streamserve_dead_letters_total", by="step, reason")), "{{step}} {{reason}}")],
            help_="By the step that failed and the kind of failure; the headers of each dead letter say more.",
        ),
        Panel(
            title="Skipped, late and refused",
            unit="recps",
            queries=[
                Query(or_zero(rate("streamserve_records_skipped_total", by="step")), "skipped at {{step}}"),
                Query(or_zero(rate("streamserve_records_late_total", by="window")), "late for {{window}}"),
                Query(or_zero(rate("streamserve_model_rows_rejected_total", by="model")), "refused by {{model}}"),
            ],
            help_="on_error='skip', windows that had closed, and rows that a model refuses.",
        ),
        Panel(
            title="Standing still",
            unit="s",
            queries=[
                Query(
                    # the seconds are there during a stall only; the flag beside them is 0 as long as all goes well
                    f"max by (instance, call, topic, partition) ({select('streamserve_stalled_seconds')})"
                    f" or max by (instance) ({select('streamserve_stalled')})",
                    "{{instance}} {{call}} {{topic}} {{partition}}",
                )
            ],
            help_="What an engine does that gives no sign of life, and for how long. Runbook: WorkerStalled.",
        ),
        Panel(
            title="Engine restarts in an hour",
            unit="none",
            queries=[Query(or_zero(ever("streamserve_restarts_total", "1h", by="reason")), "{{reason}}")],
            help_="Recoveries inside a worker, by the error that ended the incarnation. Runbook: EngineRestarts.",
        ),
    ],
)

_COMMITS = Row(
    "Commits and workers",
    [
        Panel(
            title="Commits",
            unit="cps",
            queries=[Query(rate("streamserve_commit_seconds_count", by="instance"), "{{instance}}")],
            help_="Transactions a second: at most ten under load with the default interval.",
        ),
        Panel(
            title="Records in a commit",
            unit="short",
            queries=[
                Query(f"{rate('streamserve_commit_records_sum')} / {rate('streamserve_commit_records_count')}", "mean")
            ],
            help_="Large and growing while lag grows: the workers are at their limit.",
        ),
        Panel(
            title="Partitions",
            unit="none",
            queries=[Query(f"sum by (instance) ({select('streamserve_assigned_partitions')})", "{{instance}}")],
            help_="Who reads how many. A line at zero is a spare.",
        ),
        Panel(
            title="Starts and rebalances in an hour",
            unit="none",
            width=6,
            queries=[
                Query(f"sum (changes({select('process_start_time_seconds')}[1h]))", "worker restarts"),
                Query(ever("streamserve_rebalances_total", "1h"), "assignments"),
            ],
            help_="Restarts of the process, and assignments by the consumer group.",
        ),
        Panel(
            title="CPU",
            unit="percentunit",
            width=6,
            queries=[Query(rate("process_cpu_seconds_total", by="instance"), "{{instance}}")],
            help_="Cores in use. A worker has one core's worth of work: near 1 it is at its limit.",
        ),
        Panel(
            title="Memory",
            unit="bytes",
            width=6,
            queries=[Query(f"sum by (instance) ({select('process_resident_memory_bytes')})", "{{instance}}")],
            help_="Resident. Tables in memory grow with their keys; all else stays flat.",
        ),
        Panel(
            title="Restore: records left",
            unit="short",
            width=6,
            queries=[
                Query(
                    f"sum by (instance) ({select('streamserve_restore_expected_records')}"
                    f" - {select('streamserve_restore_read_records')})",
                    "{{instance}}",
                )
            ],
            help_="What a worker still has to read of its changelogs before it goes on.",
        ),
    ],
)

_VERSIONS = Row(
    "Versions",
    [
        Panel(
            title="Releases",
            unit="none",
            kind="table",
            width=12,
            queries=[
                Query(f"count by (job, version) ({select('streamserve_build_info')})", "{{job}} {{version}}"),
            ],
            help_="Workers by release of streamserve.",
        ),
        Panel(
            title="Models",
            unit="none",
            kind="table",
            width=12,
            queries=[
                Query(f"count by (job, model, version) ({select('streamserve_model_info')})", "{{model}} {{version}}"),
            ],
            help_="Workers by the version that answers. Two for long: runbook, ModelVersionsDiffer.",
        ),
    ],
)

BOARD = Board(
    uid="on-call",
    title="streamserve: on call",
    description="Is it up, does it keep up, what fails, what changed. Alerts and what to do: compose/runbook.md.",
    span="now-1h",
    rows=[_NOW, _THROUGHPUT, _LATENCY, _ERRORS, _COMMITS, _VERSIONS],
    marks=[RELEASED, STARTED],
)
