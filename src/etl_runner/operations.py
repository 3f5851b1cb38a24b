"""The operations behind the functions: a request's JSON object to an answer's.

``trigger`` and ``plan`` and ``finalize`` are the workflow's steps, in this order. All of them may be
called again at any time with the same request.
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from typing import Any

from etl_runner.commit.close import Failure, Pending, RunKey
from etl_runner.commit.open_run import Finished, Skipped
from etl_runner.errors import ConfigError, Problem
from etl_runner.gcp.deployment import Deployment
from etl_runner.http import number_field, text_field

_SOURCE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def trigger(deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    """Open the run: ``{source_id, run_id, source?}`` to ``{status: opened | skipped | done, ...}``.

    ``source`` is a document for this run alone, of a source that the config bucket does not have. The
    documents are validated first: a wrong one takes no slot.
    """
    source_id = _source_id(body)
    run_id = text_field(body, "run_id")
    given = body.get("source")
    if given is None:
        deployment.load_source(source_id, run_id)
    else:
        deployment.inline.check(source_id, given)
    result = deployment.opener(source_id).open_run(run_id)
    if isinstance(result, Skipped):
        holder = result.holder
        return {
            "status": "skipped",
            "source_id": source_id,
            "holder": {"run_id": holder.run_id, "phase": holder.phase, "until": holder.deadline},
        }
    if isinstance(result, Finished):
        return {"status": "done", "source_id": source_id, "receipt": result.receipt}
    if given is not None:
        # After the slot, so that a skipped run leaves nothing; before the answer, so that plan finds it.
        deployment.inline.keep(source_id, run_id, given)
    if deployment.reports is not None:
        deployment.reports.started(source_id, run_id)
    return {"status": "opened", **asdict(result.key)}


def plan(deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    """Plan the run: ``{source_id, run_id, epoch}`` to ``{engine, plan_uri, units, tasks, ...}``."""
    key = _key(body)
    return asdict(deployment.plan_writer(key.source_id, key.run_id).write_plan(key))


def finalize(deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    """Commit or close the run: ``{source_id, run_id, epoch, failure?}`` to ``{status: done | pending}``."""
    key = _key(body)
    result = deployment.finalizer(key.source_id).finalize(key, _failure(body))
    if isinstance(result, Pending):
        return {"status": "pending", "retry_after_seconds": result.retry_after, "waiting_for": result.what}
    # Whoever empties a slot looks for what arrived meanwhile.
    from etl_runner.events.handle import last_look

    last_look(deployment, key.source_id)
    return {"status": "done", "outcome": result.outcome, "receipt": result.receipt}


def drain_history(deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    """Bring the run history up to date: ``{now?}`` to ``{tables: [{table, runs, rows, pending}]}``.

    Called by the sweep; does nothing within five minutes of the last time, unless ``now`` is true.
    """
    done = deployment.history.drain(now=bool(body.get("now")), sleep=time.sleep)
    return {"tables": [asdict(table) for table in done]}


def _source_id(body: dict[str, Any]) -> str:
    source_id = text_field(body, "source_id", "1 to 128 of [A-Za-z0-9_-]")
    if not _SOURCE_ID.fullmatch(source_id):
        problem = Problem("source_id", "is not a source id", repr(source_id), "1 to 128 of [A-Za-z0-9_-]")
        raise ConfigError("request", (problem,))
    return source_id


def _key(body: dict[str, Any]) -> RunKey:
    return RunKey(_source_id(body), text_field(body, "run_id"), number_field(body, "epoch"))


def _failure(body: dict[str, Any]) -> Failure | None:
    failure = body.get("failure")
    if failure is None:
        return None
    if not isinstance(failure, dict):
        raise ConfigError("request", (Problem("failure", "is not a JSON object"),))
    return Failure(str(failure.get("step") or "unknown step"), str(failure.get("message") or "no message"))
