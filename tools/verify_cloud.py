"""Prove an installation on the services named: one row of every type, committed exactly once.

    python -m tools.verify_cloud --project my-project --dataset warehouse     the real services
    python -m tools.verify_cloud --local                                      the topology on this machine

A bucket and a table of its own are made and removed again, whatever happens. Between the two a run goes all
the way through the code that is deployed and Google's own clients: documents, slot, plan, shards. Its
committing process is killed the moment that BigQuery has taken the job; the repeat has to adopt that job.
Then the run is repeated, and a further run has to find nothing new.

Needs, on the project: roles/storage.admin, roles/bigquery.jobUser; on the dataset: roles/bigquery.dataEditor.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl_runner.errors import ConfigError
from etl_runner.gcp import clients
from etl_runner.gcp.deployment import Deployment
from etl_runner.settings import Settings

if TYPE_CHECKING:
    from etl_runner.commit.jobs import BigQueryJobs

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "verify"
_TRIES = 200

# Column: BigQuery type, the file's value, and what BigQuery's own text of it has to be.
COLUMNS: dict[str, tuple[str, Any, str]] = {
    "a_string": ("STRING", 'naïve, "quoted"\n漢', 'naïve, "quoted"\n漢'),
    "an_integer": ("INT64", 9223372036854775807, "9223372036854775807"),
    "a_float": ("FLOAT64", 0.1, "0.1"),
    "a_numeric": ("NUMERIC", "12345678901234567890.123456789", "12345678901234567890.123456789"),
    "a_bignumeric": ("BIGNUMERIC", "0.000000000000000001", "0.000000000000000001"),
    "a_bool": ("BOOL", True, "true"),
    "a_date": ("DATE", "1969-12-31", "1969-12-31"),
    "a_time": ("TIME", "23:59:59.999999", "23:59:59.999999"),
    "a_datetime": ("DATETIME", "2024-02-29 12:34:56.789000", "2024-02-29 12:34:56.789000"),
    "a_timestamp": ("TIMESTAMP", "1969-12-31T23:59:59.999999Z", "-1"),
    "a_json": ("JSON", {"a": [1, None, {"b": "c"}]}, '{"a":[1,null,{"b":"c"}]}'),
    "some_bytes": ("BYTES", "na\u00efve\x00", "6e61c3af766500"),
    "a_geography": ("GEOGRAPHY", "POINT(1 2)", "POINT(1 2)"),
    "an_interval": ("INTERVAL", "1-2 3 4:5:6", "1-2 3 4:5:6"),
    "a_range": ("RANGE<DATE>", "[2024-02-29, UNBOUNDED)", "[2024-02-29, UNBOUNDED)"),
    "a_list": ("ARRAY<INT64>", [3, 1, 2], "[3,1,2]"),
    "a_record": (
        "STRUCT<n NUMERIC, parts ARRAY<STRUCT<day DATE, names ARRAY<STRING>>>>",
        {"n": "1.5", "parts": [{"day": "2024-02-29", "names": ["x", "y"]}, {"day": None, "names": []}]},
        '{"n":1.5,"parts":[{"day":"2024-02-29","names":["x","y"]},{"day":null,"names":[]}]}',
    ),
}
NOT_LOCAL = ("INTERVAL", "RANGE")
"""Types that the stand-in cannot make of text (docs/local-stack-bigquery.md): left out there."""
_TEXT_OF = {
    "TIMESTAMP": "CAST(UNIX_MICROS({c}) AS STRING)",
    **dict.fromkeys(("JSON", "ARRAY", "STRUCT"), "TO_JSON_STRING({c})"),
    "BYTES": "TO_HEX({c})",
    "GEOGRAPHY": "ST_ASTEXT({c})",
    "DATETIME": "FORMAT_DATETIME('%Y-%m-%d %H:%M:%E6S', {c})",
}


class VerificationError(Exception):
    """Something is not as it has to be."""


class KilledAfterInsert:
    """BigQuery jobs of a process that dies as soon as the service has taken one."""

    def __init__(self, jobs: BigQueryJobs) -> None:
        self._jobs = jobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)

    def insert(self, job_id: str, location: str, configuration: dict[str, Any]) -> Any:
        """Submit the job, and die."""
        self._jobs.insert(job_id, location, configuration)
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)


class Verification:
    """One verification: its bucket, its table and its run."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        """``settings`` are the deployment's, with its buckets; everything made here bears a token's name."""
        token = secrets.token_hex(4)
        bucket = f"{settings.project[:30]}-etl-verify-{token}"
        self.settings = replace(settings, config_bucket=bucket, state_bucket=bucket, staging_bucket=bucket)
        self.table = f"{settings.project}.{settings.dataset}.etl_verify_{token}"
        self.columns = columns_for(settings)
        self.say = say
        self.run_id = f"verify-{token}"
        self._storage = clients.storage_client(self.settings)
        self._bigquery = clients.bigquery_client(self.settings)

    def run(self) -> None:
        """Everything.

        Raises:
            VerificationError: something is not as it has to be; what was made is removed all the same.
        """
        try:
            self._step("a bucket, a table of every type and a file with one row are made", self._make)
            key = self._step("the run is opened and planned", self._open)
            self._step("its unit is extracted, twice", lambda: self._extract(key))
            self._step("the committing process is killed once BigQuery has its job", lambda: self._kill(key))
            self._step("the repeat adopts that job and advances", lambda: self._finish(key))
            self._step("each value is there once, as it was written", self._compare)
            self._step("the run repeated gives its receipt, a further one finds nothing new", self._again)
        finally:
            self._step("bucket and table are removed", self._remove)

    def _step(self, what: str, do: Callable[[], Any]) -> Any:
        try:
            answer = do()
        except VerificationError:
            self.say(f"FAILED  {what}")
            raise
        self.say(f"ok      {what}")
        return answer

    @property
    def _deployment(self) -> Deployment:
        """A fresh one each time, as each call of a function may have."""
        return Deployment(self.settings)

    def _make(self) -> None:
        bucket = self._storage.create_bucket(
            self.settings.staging_bucket, location=self.settings.bigquery_location
        )
        fields = ", ".join(f"{name} {kind}" for name, (kind, _, _) in self.columns.items())
        self._bigquery.query_and_wait(f"CREATE TABLE `{self.table}` ({fields})")
        row = {name: value for name, (_, value, _) in self.columns.items()}
        bucket.blob("in/row.jsonl").upload_from_string(json.dumps(row) + "\n")
        connection = {"source_type": "gcs", "bucket": bucket.name, "use_runner_account": True}
        document = {
            "source_type": "gcs",
            "connection_params": connection,
            "file_pattern": "in/*.jsonl",
            "file_format": "jsonl",
            "load_type": "transactional",
            "engine": "cloud_run",
            "dest_table_name": self.table.rsplit(".", 1)[-1],
        }
        bucket.blob(f"sources/{SOURCE}.json").upload_from_string(json.dumps(document))

    def _open(self, run_id: str | None = None) -> dict[str, Any]:
        from etl_runner import operations

        opened = operations.trigger(self._deployment, {"source_id": SOURCE, "run_id": run_id or self.run_id})
        if opened["status"] != "opened":
            raise VerificationError(f"the run was not opened: {opened}")
        key = {name: opened[name] for name in ("source_id", "run_id", "epoch")}
        planned = operations.plan(self._deployment, key)
        return {**key, "plan_uri": planned["plan_uri"], "engine": planned["engine"]}

    def _extract(self, key: Mapping[str, Any]) -> None:
        task = {
            "ETL_PLAN_URI": key["plan_uri"],
            "CLOUD_RUN_TASK_INDEX": "0",
            "CLOUD_RUN_TASK_COUNT": "1",
            "CLOUD_RUN_TASK_ATTEMPT": "0",
        }
        for _ in range(2):
            self._process([str(ROOT / "runner_image" / "job.py")], task, expected=0)

    def _kill(self, key: Mapping[str, Any]) -> None:
        self._process(
            ["-m", "tools.verify_cloud", "--die-committing", json.dumps(_named(key))], {}, expected=-9
        )
        if self._deployment.store(SOURCE).read().slot is None:
            raise VerificationError("the run was over before its process was killed")

    def _finish(self, key: Mapping[str, Any]) -> None:
        from etl_runner import operations

        for _ in range(_TRIES):
            answer = operations.finalize(self._deployment, _named(key))
            if answer["status"] == "done":
                break
        receipt = answer.get("receipt", {})
        if answer.get("outcome") != "ok" or receipt.get("rows_loaded") != 1 or receipt.get("row_mismatch"):
            raise VerificationError(f"the run did not end well: {answer}")

    def _compare(self) -> None:
        texts = [
            _TEXT_OF.get(kind.partition("<")[0], "CAST({c} AS STRING)").format(c=name) + f" AS {name}"
            for name, (kind, _, _) in self.columns.items()
        ]
        rows = list(self._bigquery.query_and_wait(f"SELECT {', '.join(texts)} FROM `{self.table}`"))
        if len(rows) != 1:
            raise VerificationError(f"the table has {len(rows)} rows, and has to have 1")
        wrong = []
        for name, (kind, _, expected) in self.columns.items():
            found = rows[0][name]
            if not _same(kind, found, expected):
                wrong.append(f"{name} ({kind}) is {found!r}, and has to be {expected!r}")
        if wrong:
            raise VerificationError("; ".join(wrong))

    def _again(self) -> None:
        from etl_runner import operations

        again = operations.trigger(self._deployment, {"source_id": SOURCE, "run_id": self.run_id})
        if again["status"] != "done":
            raise VerificationError(f"the run was opened again: {again}")
        key = self._open(f"{self.run_id}-next")
        if key["engine"] != "none":
            raise VerificationError(f"a further run found something new: {key}")
        operations.finalize(self._deployment, _named(key))
        self._compare()

    def _remove(self) -> None:
        from google.api_core.exceptions import NotFound

        self._bigquery.delete_table(self.table, not_found_ok=True)
        try:
            bucket = self._storage.get_bucket(self.settings.staging_bucket)
        except NotFound:
            return
        for blob in list(bucket.list_blobs()):
            blob.delete()
        bucket.delete()

    def _process(self, command: Sequence[str], variables: Mapping[str, str], *, expected: int) -> None:
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        environ = {**os.environ, **environment_of(self.settings), **variables, "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode != expected:
            told = (done.stderr or done.stdout).strip()[-2000:]
            raise VerificationError(f"a process ended with {done.returncode} instead of {expected}: {told}")


def columns_for(settings: Settings) -> dict[str, tuple[str, Any, str]]:
    """Every column, but those of types that a stand-in lacks."""
    return {
        name: column
        for name, column in COLUMNS.items()
        if settings.bigquery_endpoint is None or not column[0].startswith(NOT_LOCAL)
    }


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings as variables for a process of its own."""
    return {**settings.to_env(), **({"ETL_EVENTS_TOPIC": ""} if settings.events_topic is None else {})}


def _named(key: Mapping[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in ("source_id", "run_id", "epoch")}


def _same(kind: str, found: str, expected: str) -> bool:
    """Whether BigQuery's text says the expected value."""
    if kind.startswith(("JSON", "ARRAY", "STRUCT")):  # neither order nor spaces say anything
        return bool(json.loads(found) == json.loads(expected))
    if (
        kind.endswith("NUMERIC") and "." in found
    ):  # stand-ins write the zeros that a scale adds, BigQuery does not
        return found.rstrip("0").rstrip(".") == expected
    return found == expected


def die_committing(settings: Settings, key: dict[str, Any]) -> None:
    """The committing process: finalize until BigQuery has the job, then die."""
    from etl_runner import operations

    deployment = Deployment(settings)
    deployment.__dict__["jobs"] = KilledAfterInsert(deployment.jobs)
    for _ in range(_TRIES):
        operations.finalize(deployment, key)


def settings_for(project: str, dataset: str) -> Settings:
    """Of a real project: location and name of the dataset, nothing else is needed."""
    from google.cloud.bigquery import Client

    location = Client(project=project).get_dataset(f"{project}.{dataset}").location
    region = location.lower()
    return Settings(project, region, location, dataset, "made", "by", "itself")


def _local() -> Settings:
    from etl_runner.cli.deployment import read_settings

    return read_settings(None, True)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything holds, 1 when something does not, 2 when the command line is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.verify_cloud", description=__doc__)
    parser.add_argument("--project")
    parser.add_argument("--dataset")
    parser.add_argument("--local", action="store_true", help="what `etl-runner local up` started")
    parser.add_argument("--die-committing", metavar="KEY", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.die_committing:
        die_committing(Settings.from_env(), json.loads(options.die_committing))
        return 0
    if options.local == bool(options.project and options.dataset):
        parser.print_usage(sys.stderr)
        sys.stderr.write("give --project and --dataset, or --local\n")
        return 2
    try:
        settings = _local() if options.local else settings_for(options.project, options.dataset)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return verify(settings)


def verify(settings: Settings) -> int:
    """Run it, and say against what."""
    local = settings.bigquery_endpoint is not None
    against = (
        f"stand-ins on this machine ({settings.bigquery_endpoint}); this proves nothing of the real services"
        if local
        else f"the real services, project {settings.project}, dataset {settings.dataset}"
    )
    sys.stdout.write(f"against {against}\n")

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    try:
        verification = Verification(replace(settings, events_topic=None, wake_topic=None), say)
        left_out = [name for name in COLUMNS if name not in verification.columns]
        for name in left_out:
            say(f"SKIPPED {name} ({COLUMNS[name][0]}): the stand-in cannot make one of text")
        verification.run()
    except VerificationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    rest = f", but {len(left_out)} that it lacks" if left_out else ""
    say(f"verified: one row of every type{rest}, exactly once")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
