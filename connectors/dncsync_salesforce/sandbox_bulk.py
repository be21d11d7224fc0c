"""The sandbox's Bulk API 2.0 query jobs (sheet 8.3). Ingest is not served: nothing of ours uses it."""

from __future__ import annotations

import base64
import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from dncsync.testing.faults import FaultKind
from dncsync_salesforce.sandbox_answers import answer, error
from dncsync_salesforce.sandbox_query import Listing
from dncsync_salesforce.sandbox_soql import SoqlError

if TYPE_CHECKING:
    from dncsync_salesforce.sandbox import SalesforceSandbox

LIFE = 7 * 86_400.0


@dataclass(slots=True)
class Job:
    """One query job."""

    id: str
    soql: str
    operation: str
    object: str
    created: float
    state: str = "UploadComplete"
    message: str = ""
    listing: Listing | None = None


class BulkQueries:
    """Jobs that need some time, and results by locator."""

    def __init__(self, sandbox: SalesforceSandbox) -> None:
        self._sandbox = sandbox
        self.jobs: dict[str, Job] = {}
        data = "/services/data/v<version>/jobs/query"
        sandbox.route(data, self.create, methods=("POST",))
        sandbox.route(f"{data}/<job_id>", self.look, methods=("GET",))
        sandbox.route(f"{data}/<job_id>", self.abort, methods=("PATCH",))
        sandbox.route(f"{data}/<job_id>", self.delete, methods=("DELETE",))
        sandbox.route(f"{data}/<job_id>/results", self.results)

    def create(self, request: Request, version: str) -> Response:
        """`POST jobs/query`."""
        if not self._sandbox.options.get("bulk", True):
            return error(403, "FEATURENOTENABLED", "Bulk API is not enabled for this user")
        asked = json.loads(request.get_data())
        try:  # a wrong query is refused at once
            listing = self._sandbox.reading.listing(
                asked["query"] + " LIMIT 0", deleted=asked["operation"] == "queryAll"
            )
        except SoqlError as refusal:
            return error(400, refusal.code, refusal.message)
        number = len(self.jobs) + 1
        job = Job(
            f"7505g{number:010d}AAA",
            asked["query"],
            asked["operation"],
            listing.query.source,
            self._sandbox.clock.monotonic(),
        )
        self.jobs[job.id] = job
        return answer(self._info(job, version))

    def look(self, request: Request, version: str, job_id: str) -> Response:
        """`GET jobs/query/{id}`."""
        job = self._job(job_id)
        if job is None:
            return error(404, "NOT_FOUND", "The requested resource does not exist")
        self._work(job)
        return answer(self._info(job, version))

    def abort(self, request: Request, version: str, job_id: str) -> Response:
        """`PATCH jobs/query/{id}` with `{"state": "Aborted"}`."""
        job = self._job(job_id)
        if job is None:
            return error(404, "NOT_FOUND", "The requested resource does not exist")
        job.state = "Aborted"
        return answer(self._info(job, version))

    def delete(self, request: Request, version: str, job_id: str) -> Response:
        """`DELETE jobs/query/{id}`."""
        return Response("", 204) if self.jobs.pop(job_id, None) else error(404, "NOT_FOUND", "no such job")

    def results(self, request: Request, version: str, job_id: str) -> Response:
        """`GET jobs/query/{id}/results?maxRecords=&locator=`."""
        job = self._job(job_id)
        if job is None:
            return error(404, "NOT_FOUND", "The requested resource does not exist")
        if job.state != "JobComplete" or job.listing is None:
            return error(400, "INVALIDJOBSTATE", "results are there once the job is complete")
        most = int(self._sandbox.options.get("bulk_page_size", 1_000_000))
        size = min(most, int(request.args.get("maxRecords", 100_000)))
        try:
            start = int(base64.b64decode(request.args.get("locator", "MA==")))
        except ValueError:
            return error(400, "INVALIDLOCATOR", "invalid locator")
        shown = start
        if start and self._sandbox.faults.take(FaultKind.REPEATED_PAGE, request.method, request.path):
            shown = max(0, start - size)
        text = io.StringIO()
        lines = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
        lines.writerow([column.name for column in job.listing.query.columns])
        rows = self._sandbox.reading.values(job.listing, shown, size)
        lines.writerows(
            [("true" if v else "false") if isinstance(v, bool) else v for v in row] for row in rows
        )
        end = start + size
        more = end < len(job.listing.rowids)
        headers = {
            "Sforce-NumberOfRecords": str(len(rows)),
            "Sforce-Locator": base64.b64encode(str(end).encode()).decode() if more else "null",
        }
        kind = "text/csv; charset=UTF-8" if self._sandbox.options.get("bulk_charset", True) else "text/csv"
        return Response(text.getvalue(), 200, headers=headers, content_type=kind)

    def _job(self, job_id: str) -> Job | None:
        job = self.jobs.get(job_id)
        if job is not None and self._sandbox.clock.monotonic() - job.created > LIFE:
            del self.jobs[job_id]
            return None
        return job

    def _work(self, job: Job) -> None:
        """Half of the time it waits, half of it it runs; then it is done, or fails if it was told to."""
        needed = float(self._sandbox.options.get("bulk_seconds", 1.0))
        passed = self._sandbox.clock.monotonic() - job.created
        if job.state not in ("UploadComplete", "InProgress"):
            return
        if self._sandbox.failing_jobs > 0:
            self._sandbox.failing_jobs -= 1
            job.state, job.message = "Failed", "InvalidBatch : Failed to process query"
        elif passed >= needed:
            job.listing = self._sandbox.reading.listing(job.soql, deleted=job.operation == "queryAll")
            job.state = "JobComplete"
        elif passed >= needed / 2:
            job.state = "InProgress"

    def _info(self, job: Job, version: str) -> dict[str, Any]:
        info: dict[str, Any] = {
            "id": job.id,
            "operation": job.operation,
            "object": job.object,
            "createdById": self._sandbox.our_user,
            "state": job.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": float(version),
            "jobType": "V2Query",
            "lineEnding": "LF",
            "columnDelimiter": "COMMA",
        }
        if job.listing is not None and self._sandbox.options.get("bulk_counts", True):
            info["numberRecordsProcessed"] = job.listing.total
        if job.message:
            info["errorMessage"] = job.message
        return info
