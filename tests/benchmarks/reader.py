"""Reads one sandbox in full and says how long it took and how much memory: the engine, or a bare SDK.

Run as its own process with its task as JSON on standard input, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

PROPERTIES = ["phone", "mobilephone", "do_not_call", "hs_merged_object_ids", "lastmodifieddate"]
"""What the connector asks of a contact."""
COLUMNS = "Id, SystemModstamp, Phone, MobilePhone, HomePhone, OtherPhone, AssistantPhone, DoNotCall"
LEAD_COLUMNS = "Id, SystemModstamp, Phone, MobilePhone, DoNotCall"
BULK_ROWS = 20_000


def engine(task: dict[str, Any]) -> Callable[[], int]:
    """The system's loop into a ledger on disk, until it has read everything."""
    from dncsync.clock import SystemClock, to_micros
    from dncsync.connector import plugin
    from dncsync.ledger.sqlite import connect_reader
    from dncsync.ledger.writer import GroupWriter
    from dncsync.policy import Policies
    from dncsync.runtime.systems import connect
    from dncsync.sync.requests import Intake
    from dncsync.sync.topology import Topology
    from dncsync.sync.turn import SystemLoop

    clock = SystemClock()
    settings = plugin(task["vendor"]).settings.model_validate({**task["config"], **task["secrets"]})
    connected = connect("system", settings, clock)
    path = Path(task["ledger"])
    writer = GroupWriter(path, create=True, now=to_micros(clock.now()))
    intake = Intake(Policies(), Topology({"system": connected.facts}))
    loop = SystemLoop(
        connected.facts, connected.connector, writer, intake, clock, lambda: 0.5, lanes=connected.lanes
    )

    def read() -> int:
        loop.start()
        conn = connect_reader(path)
        done = "SELECT snapshot_at FROM systems WHERE system = 'system'"
        while conn.execute(done).fetchone()[0] is None:
            clock.sleep(loop.turn())
        rows: int = conn.execute("SELECT count(*) FROM holdings").fetchone()[0]
        conn.close()
        writer.close()
        connected.close()
        return rows

    return read


def plain_hubspot(task: dict[str, Any]) -> Callable[[], int]:
    """`get_page` to the end."""
    from benchmarks import plain_sdk

    pages = plain_sdk.hubspot(task["url"], task["secrets"]).crm.contacts.basic_api

    def read() -> int:
        rows, after = 0, None
        while True:
            page = pages.get_page(limit=100, after=after, properties=PROPERTIES, archived=False)
            rows += len(page.results)
            if page.paging is None:
                return rows
            after = page.paging.next.after

    return read


def plain_salesforce(task: dict[str, Any]) -> Callable[[], int]:
    """Queries of 2,000 rows a page, or Bulk where the connector would use it."""
    from benchmarks import plain_sdk

    org: Any = plain_sdk.salesforce(task["url"], task["config"], task["secrets"])
    bulk = task["config"].get("bulk_threshold", 50_000)

    def soql(query: str) -> int:
        page = org.query(query)
        rows = len(page["records"])
        if not page["done"] and page["totalSize"] > bulk:
            return in_bulk(query)
        while not page["done"]:
            page = org.query_more(page["nextRecordsUrl"], identifier_is_url=True)
            rows += len(page["records"])
        return rows

    def in_bulk(query: str) -> int:
        jobs = org.bulk2.Contact._client
        job = jobs.create_job("query", query)["id"]
        jobs.wait_for_job(job, True, 0.5)
        rows, locator = 0, ""
        while True:
            results = jobs.get_query_results(job, locator, BULK_ROWS)
            rows += int(results["number_of_records"])
            locator = results["locator"]
            if not locator:
                return rows

    def read() -> int:
        contacts = f"SELECT {COLUMNS} FROM Contact ORDER BY Id"
        leads = f"SELECT {LEAD_COLUMNS} FROM Lead WHERE IsConverted = false OR DoNotCall = true ORDER BY Id"
        return soql(contacts) + soql(leads)

    return read


def main() -> None:
    """Prints `{"rows": , "seconds": , "cpu": , "megabytes": }`."""
    task = json.load(sys.stdin)
    plain = {"hubspot": plain_hubspot, "salesforce": plain_salesforce}[task["vendor"]]
    read = (engine if task["of"] == "ours" else plain)(task)
    started, cpu = time.perf_counter(), time.process_time()
    rows = read()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    # Not ru_maxrss, which a child inherits from whoever forked it.
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    megabytes = int(peak) / 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu": cpu, "megabytes": megabytes}))


if __name__ == "__main__":
    main()
