"""``python -m local.soak --minutes 3``; ends with 0 when everything is exact and nothing is left over."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from etl_runner.gcp import clients
from etl_runner.gcp.deployment import Deployment
from etl_runner.history.streams import STREAMS
from local.soak.chaos import Chaos, until
from local.soak.sources import IDS, World
from local.soak.writers import Writers, in_destination, in_source
from local.stack import Stack


def main(arguments: Sequence[str]) -> int:
    """Run the soak and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    minutes = parser.parse_args(arguments).minutes
    with tempfile.TemporaryDirectory(prefix="etl-runner-soak-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        stack = Stack.start(path / "stack", environ=environ, sleep_factor=0.2)
        os.environ["PUBSUB_EMULATOR_HOST"] = stack.environ["PUBSUB_EMULATOR_HOST"]
        try:
            return soak(World.start(stack, path), minutes)
        finally:
            stack.stop()


def soak(world: World, minutes: float) -> int:
    """Everything at once for so many minutes, then quiet, then the account."""
    stack = world.stack
    writers, chaos = Writers(world), Chaos(stack)
    writers.start()
    chaos.start()
    began = time.monotonic()
    while (passed := time.monotonic() - began) < minutes * 60:
        time.sleep(min(15.0, minutes * 60 - passed) + 0.01)
        seconds, faults = time.monotonic() - began, sum(chaos.struck.values())
        say(f"{seconds:5.0f} s  runs {told(chaos.ended)}; faults {faults}")
    writers.end()
    chaos.end()
    # Events that are on their way still are lost: the last runs find the files without them.
    world.s3_events.stop()
    say("writers and faults have ended; the last runs")
    deployment = Deployment(stack.settings)
    settle(stack, deployment)
    problems = [*exactness(world, writers), *leftovers(deployment)]
    say(f"runs: {told(chaos.ended)}; sweeps: {chaos.sweeps}")
    say(f"faults: {told(chaos.struck)}")
    task, function = chaos.peak_task >> 20, chaos.peak_function >> 20
    say(f"memory: a task at most {task} MB, a function at most {function} MB")
    for problem in problems:
        say(f"WRONG: {problem}")
    well = "every table equals its source, nothing is left over"
    say(f"{len(problems)} problems" if problems else well)
    return 1 if problems else 0


def settle(stack: Stack, deployment: Deployment) -> None:
    """Let each source run once more and end well, the arrivals be taken up, the history be drained."""
    stack.sweep()
    for source_id in IDS:
        until(
            lambda name=source_id: (stack.run(name, 170).result or {}).get("outcome") == "ok",  # type: ignore[misc]
            f"the last run of {source_id}",
            300,
        )
    until(lambda: _arrivals(deployment) == 0 or stack.sweep() is None, "the arrivals to be taken up", 120)
    deployment.history.drain(now=True, sleep=time.sleep)


def exactness(world: World, writers: Writers) -> list[str]:
    """How tables differ from their sources, and the history from the receipts."""
    stack = world.stack
    client = clients.bigquery_client(stack.settings)
    dataset = f"{stack.settings.project}.{stack.settings.dataset}".replace(".", "`.`")
    wanted, found = in_source(world, writers), in_destination(client, dataset)
    problems = []
    for source_id in IDS:
        missing, extra = wanted[source_id] - found[source_id], found[source_id] - wanted[source_id]
        ours, theirs = wanted[source_id].total(), found[source_id].total()
        say(f"{source_id}: {ours:,} rows at the source, {theirs:,} loaded")
        if missing or extra:
            some = f"missing {missing.most_common(3)}, too many {extra.most_common(3)}"
            problems.append(f"{source_id}: {missing.total()} missing, {extra.total()} too many: {some}")
    deployment = Deployment(stack.settings)
    receipts = Counter(
        (source_id, receipt["run_id"], receipt["outcome"])
        for source_id in IDS
        for receipt in deployment.receipts(source_id).all()
    )
    rows = client.query_and_wait(f"SELECT source_id, run_id, outcome FROM `{dataset}`.etl_runs")
    told_runs = Counter(tuple(row.values()) for row in rows)
    say(f"history: {told_runs.total()} runs, receipts: {receipts.total()}")
    if told_runs != receipts:
        problems.append("history and receipts differ")
    return problems


def leftovers(deployment: Deployment) -> list[str]:
    """Held slots, pauses, arrivals, notes, and staging objects of runs that ended well."""
    problems = []
    ended_well = set()
    for source_id in IDS:
        state = deployment.store(source_id).read()
        if state.slot is not None:
            problems.append(f"{source_id}: run {state.slot.run_id} holds the slot still")
        if state.paused:
            problems.append(f"{source_id} is paused: {state.paused}")
        ended_well |= {
            receipt["run_id"]
            for receipt in deployment.receipts(source_id).all()
            if receipt["outcome"] == "ok"
        }
    if count := _arrivals(deployment):
        problems.append(f"{count} arrivals are left")
    if waiting := deployment.history.standing().waiting:
        problems.append(f"{waiting} runs are not in the history")
    if any(deployment.store(stream.source_id).read().slot for stream in STREAMS):
        problems.append("a drain holds its slot still")
    owners = Counter(info.name.split("/")[1] for info in deployment.staging.list("runs/"))
    left = {run: count for run, count in owners.items() if run in ended_well}
    others = sum(owners.values()) - sum(left.values())
    say(f"staging: {sum(left.values())} objects of committed runs, {others} of runs that were not")
    if left:
        problems.append(f"{sum(left.values())} staging objects of {len(left)} committed runs")
    return problems


def _arrivals(deployment: Deployment) -> int:
    return sum(1 for source_id in IDS for _ in deployment.state.list(f"arrivals/{source_id}/"))


def told(counted: Counter[str]) -> str:
    """``ok 12, skipped 3``."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counted.items())) or "none"


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
