"""``python -m benchmarks.engines [--rows N ...]``: the Cloud Run Job's tasks against the Beam pipeline.

The same table of a PostgreSQL server, the same two readers, the real entry points as processes over a Cloud
Storage server on this machine. Start-up of the processes is in the figures. Peak memory is that of the
largest process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.server import server, table_of
from benchmarks.task import PASSWORD, make_plan, resolve
from etl_runner.execution.collect import collect_verified
from etl_runner.gcp.deployment import Deployment
from etl_runner.planning.plan import Plan
from etl_runner.planning.write_plan import plan_name
from etl_runner.settings import Settings
from etl_runner.state.document import Slot, State
from local.cloud_storage import CloudStorageServer

ROOT = Path(__file__).resolve().parent.parent
READERS = 2
SIZES = (100_000, 1_000_000, 5_000_000, 10_000_000)


def tasks(settings: Settings, uri: str, environ: dict[str, str]) -> list[list[str]]:
    """The job's entry point, one task for each reader."""
    del settings, uri, environ
    return [[sys.executable, str(ROOT / "runner_image" / "job.py")]] * READERS


def pipeline(settings: Settings, uri: str, environ: dict[str, str]) -> list[list[str]]:
    """The pipeline's entry point, one worker process for each reader."""
    del environ
    return [
        [
            sys.executable,
            str(ROOT / "runner_image" / "pipeline.py"),
            "--runner=FnApiRunner",
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={READERS}",
            f"--plan_uri={uri}",
            f"--settings={json.dumps(settings.to_env())}",
        ]
    ]


Engine = Callable[[Settings, str, dict[str, str]], list[list[str]]]


def extract(engine: Engine, plan: Plan, storage: CloudStorageServer, bucket: str) -> float:
    """Seconds from the start of the first process to the end of the last; the rows are verified.

    Raises:
        SystemExit: a process failed.
    """
    storage.create_buckets([bucket])
    names = ("PROJECT", "LOCATION", "DATASET", "CONFIG_BUCKET", "STATE_BUCKET", "STAGING_BUCKET")
    env = {**{f"ETL_{name}": bucket for name in names}, "STORAGE_EMULATOR_HOST": storage.endpoint}
    settings = Settings.from_env(env)
    deployment = Deployment(settings)
    header = plan.header
    name = plan_name(header.run_id, header.epoch)
    deployment.staging.create(name, plan.to_jsonl())
    slot = Slot(header.run_id, header.epoch, "2999-01-01T00:00:00+00:00")
    deployment.store(header.source_id).change(lambda _: State(epoch=header.epoch, slot=slot))
    uri = deployment.staging.uri(name)
    base = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "MALLOC_ARENA_MAX": "2",
        PASSWORD: os.environ[PASSWORD],
        **env,
        "ETL_PLAN_URI": uri,
    }
    commands = engine(settings, uri, base)
    began = time.monotonic()
    running = [
        subprocess.Popen(
            command,
            env={**base, "CLOUD_RUN_TASK_INDEX": str(index), "CLOUD_RUN_TASK_COUNT": str(len(commands))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for index, command in enumerate(commands)
    ]
    codes = [process.wait() for process in running]
    seconds = time.monotonic() - began
    if any(codes):
        raise SystemExit(f"{engine.__name__}: exit codes {codes}")
    collect_verified(deployment.staging, plan)
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line a size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES))
    sizes = sorted(parser.parse_args(argv).rows)
    folder = Path(tempfile.mkdtemp(prefix="bench-engines-"))
    folder.chmod(0o755)
    print("| rows | units | Cloud Run Job tasks, s | rows/s | Beam, s | rows/s | peak MB of a process |")
    print("|---|---|---|---|---|---|---|", flush=True)
    try:
        with server(folder, sizes) as postgres:
            storage = CloudStorageServer.start(folder / "gcs", project="bench")
            try:
                for rows in sizes:
                    plan = make_plan(resolve(postgres.url, table_of(rows)), 1)
                    one = extract(tasks, plan, storage, f"tasks-{rows}")
                    other = extract(pipeline, plan, storage, f"beam-{rows}")
                    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
                    print(
                        f"| {rows:,} | {len(plan.units)} | {one:.1f} | {rows / one:,.0f} | {other:.1f} "
                        f"| {rows / other:,.0f} | {peak:.0f} |",
                        flush=True,
                    )
                    shutil.rmtree(folder / "gcs" / f"tasks-{rows}", ignore_errors=True)
                    shutil.rmtree(folder / "gcs" / f"beam-{rows}", ignore_errors=True)
            finally:
                storage.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
