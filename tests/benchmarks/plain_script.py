"""The bare script that added latency is measured against: one durable insert, then the same SDK calls.

No signature check, no history, no read-back, no second attempt. Run as its own process with its configuration
as JSON on standard input; prints its port and runs until standard input ends.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import parse_qs

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import plain_sdk


def writers(config: dict[str, Any]) -> dict[str, Callable[[str], object]]:
    """System -> what writes one number's opt-out there."""
    systems, keys = config["systems"], config["keys"]
    hub = plain_sdk.hubspot(systems["hubspot"]["base_url"], config["secrets"]["hubspot"])
    contacts = hub.crm.contacts.batch_api
    org = plain_sdk.salesforce(
        systems["salesforce"]["base_url"], systems["salesforce"], config["secrets"]["salesforce"]
    )
    dialer, login = systems["vicidial"], config["secrets"]["vicidial"]
    client = httpx.Client(trust_env=False)

    def to_hubspot(number: str) -> object:
        one = {"id": keys["hubspot"][number], "properties": {"do_not_call": "true"}}
        return contacts.update({"inputs": [one]})

    def to_salesforce(number: str) -> object:
        sobject, _, record_id = keys["salesforce"][number].partition("/")
        record = {"attributes": {"type": sobject}, "id": record_id, "DoNotCall": True}
        body = {"allOrNone": False, "records": [record]}
        return org.restful("composite/sobjects", method="PATCH", json=body)

    def to_vicidial(number: str) -> object:
        form = {"source": "script", "user": dialer["user"], "pass": login["password"]}
        form |= {"function": "add_dnc_phone", "phone_number": number[2:], "campaign_id": "SYSTEM_INTERNAL"}
        return client.post(f"{dialer['base_url']}/vicidial/non_agent_api.php", data=form)

    return {"hubspot": to_hubspot, "salesforce": to_salesforce, "vicidial": to_vicidial}


def main() -> None:
    """Serves until standard input ends."""
    config = json.loads(sys.stdin.readline())
    database = sqlite3.connect(config["database"], isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE opt_outs (sid TEXT PRIMARY KEY, number TEXT, body TEXT)")
    lock = threading.Lock()
    queues: dict[str, SimpleQueue[str]] = {}
    for name, write in writers(config).items():
        queue = queues[name] = SimpleQueue()
        threading.Thread(target=_work, args=(queue, write), daemon=True).start()

    class Hook(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            row = (form["MessageSid"][0], form["From"][0], form["Body"][0])
            with lock:
                database.execute("INSERT INTO opt_outs VALUES (?, ?, ?)", row)
            for queue in queues.values():
                queue.put(row[1])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


def _work(queue: SimpleQueue[str], write: Callable[[str], object]) -> None:
    while True:
        write(queue.get())


if __name__ == "__main__":
    main()
