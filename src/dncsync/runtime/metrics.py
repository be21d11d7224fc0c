"""Figures of the running daemon for Prometheus: calls as they happen, the rest read from the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dncsync.http import WireCall
from dncsync.ledger.sqlite import connect_reader

Usage = Callable[[], Mapping[str, Mapping[str, tuple[int, int]]]]


class WireMetrics:
    """Counts and times every vendor call."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "dncsync_vendor_calls", "Calls to vendors", ("system", "method", "status"), registry=registry
        )
        self._seconds = Histogram(
            "dncsync_vendor_seconds", "Duration of vendor calls", ("system",), registry=registry
        )

    def __call__(self, call: WireCall) -> None:
        status = "none" if call.status is None else str(call.status)
        self._calls.labels(call.system, call.method, status).inc()
        self._seconds.labels(call.system).observe(call.seconds)


class LedgerMetrics(Collector):
    """Read at each scrape from a read-only connection of its own."""

    def __init__(self, ledger: Path, usage: Usage, now: Callable[[], int]) -> None:
        self._ledger = ledger
        self._usage = usage
        self._now = now

    def describe(self) -> Iterator[Metric]:
        """Nothing yet: the ledger is read when asked."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Open and late deliveries, oldest exposure, system state, open findings, budgets in use."""
        open_now = GaugeMetricFamily("dncsync_open_deliveries", "Not yet confirmed", labels=["system"])
        late = GaugeMetricFamily("dncsync_late_deliveries", "Past their goal", labels=["system"])
        oldest = GaugeMetricFamily(
            "dncsync_oldest_exposure_seconds", "Since the oldest open block was known", labels=["system"]
        )
        up = GaugeMetricFamily("dncsync_system_up", "1: it answers", labels=["system"])
        findings = GaugeMetricFamily("dncsync_open_findings", "By severity", labels=["severity"])
        fuses = GaugeMetricFamily(
            "dncsync_fuses_waiting", "Tripped and not decided", labels=["direction", "system"]
        )
        now = self._now()
        conn = connect_reader(self._ledger)
        try:
            for system, count, overdue, known in conn.execute(
                "SELECT system, count(*), sum(deadline < ?), min(known_at) FROM deliveries WHERE open = 1 "
                "GROUP BY system",
                (now,),
            ):
                open_now.add_metric([system], count)
                late.add_metric([system], overdue)
                oldest.add_metric([system], (now - known) / 1e6)
            for system, state in conn.execute("SELECT system, state FROM systems"):
                up.add_metric([system], float(state == "up"))
            for severity, count in conn.execute(
                "SELECT severity, count(*) FROM findings WHERE closed_at IS NULL GROUP BY severity"
            ):
                findings.add_metric([severity], count)
            for direction, system, count in conn.execute(
                "SELECT direction, ifnull(system, ''), count(*) FROM fuses "
                "WHERE state IN ('waiting', 'approved') GROUP BY direction, system"
            ):
                fuses.add_metric([direction, system], count)
        finally:
            conn.close()
        yield from (open_now, late, oldest, up, findings, fuses)
        used = GaugeMetricFamily(
            "dncsync_budget_used_ratio", "Share of the vendor's limit in use", labels=["system", "limit"]
        )
        for system, limits in self._usage().items():
            for name, (calls, allowed) in limits.items():
                used.add_metric([system, name], calls / allowed)
        yield used
