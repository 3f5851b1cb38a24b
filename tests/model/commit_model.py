"""The commit protocol, step by step, with the names that the code's steps bear.

Every method named after a step yields what that step can do to the world. Each successor's label begins
with the step that was taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.model.commit_world import (
    Faults,
    Job,
    Last,
    Process,
    Rule,
    Run,
    Scenario,
    Slot,
    Window,
    World,
    initial,
)
from tests.model.explorer import Broken, drop, get, put

RECOVERY_RUN = 99
"""The run id of the clean run that ends every history."""

Steps = Iterator[tuple[str, World]]


class CommitModel:
    """One scenario under all rules except the ``without`` ones."""

    def __init__(self, scenario: Scenario, without: frozenset[Rule] = frozenset()) -> None:
        self.scenario = scenario
        self.without = without
        self.healthy = scenario.faults == Faults()
        self._recovered: set[World] = set()
        self._handlers: dict[str, Callable[[World, Process], Steps]] = {
            "look_for_receipt": self.look_for_receipt,
            "open_run": self.open_run,
            "extract": self.extract,
            "collect_manifests": self.collect_manifests,
            "write_record": self.write_record,
            "claim_commit": self.claim_commit,
            "roll_forward": self.roll_forward,
            "submit_job": self.submit_job,
            "burn_job_id": self.burn_job_id,
            "await_job": self.await_job,
            "next_attempt": self.next_attempt,
            "next_step": self.next_step,
            "load_rejects": self.load_rejects,
            "submit_rejects": self.submit_rejects,
            "burn_rejects_id": self.burn_rejects_id,
            "advance": self.advance,
            "close_failed": self.close_failed,
            "except_branch": self.except_branch,
            "write_receipt": self.write_receipt,
            "clean_up": self.clean_up,
        }

    def has(self, rule: Rule) -> bool:
        """Whether the protocol still has ``rule``."""
        return rule not in self.without

    # what can happen

    def initial(self) -> World:
        """See :func:`commit_world.initial`."""
        world = initial(self.scenario)
        if self.has(Rule.RECEIPT_AFTER_STATE):
            return world
        return world._replace(processes=tuple(p._replace(at="look_for_receipt") for p in world.processes))

    def steps(self, world: World) -> Steps:
        """BigQuery's and the processes' steps first: a recovery takes the first step of each state."""
        yield from self._bigquery(world)
        for index, process in enumerate(world.processes):
            if index and world.processes[index - 1] == process:
                continue  # identical processes have identical futures
            who = f"[run {process.run} e{process.epoch}" + (
                f" by {process.opener}]" if process.opener else "]"
            )
            for label, following in self._handlers[process.at](world, process):
                yield f"{label} {who}", following
        yield from self._environment(world)

    def _environment(self, world: World) -> Steps:
        faults = world.faults
        if faults.lifecycle:
            for run in sorted(world.shards):
                left = self._without_staging(world, run)
                if not self.has(Rule.KEEP_RECORD):
                    left = left._replace(records=drop(left.records, run))
                yield (
                    f"lifecycle: deletes the staging of {run}",
                    left._replace(faults=faults._replace(lifecycle=faults.lifecycle - 1)),
                )
        if faults.except_branch and world.slot:
            one = Process("except_branch", world.slot.run, world.slot.epoch)
            fewer = faults._replace(except_branch=faults.except_branch - 1)
            yield "workflow: takes its failure branch", self._spawn(world._replace(faults=fewer), one)
        if faults.lost_receipt:
            fewer = faults._replace(lost_receipt=faults.lost_receipt - 1)
            for of, _ in world.receipts:
                forgotten = world._replace(receipts=drop(world.receipts, of), faults=fewer)
                yield f"operator: deletes receipt of run {of}", forgotten

    def _bigquery(self, world: World) -> Steps:
        faults = world.faults
        for name, job in world.jobs:
            if job.state == "done" and job.kind == "load" and not self._is_last(job.step) and faults.replaced:
                # Whoever looks from now on sees another file than the planned one; others have looked before.
                fewer = faults._replace(replaced=faults.replaced - 1)
                other = put(world.jobs, name, job._replace(state="mismatch"))
                yield (
                    f"source: replaces a file that job n={name[1]} has loaded",
                    world._replace(jobs=other, faults=fewer),
                )
            if job.state != "running":
                continue
            run, n = name
            what = f"bigquery: {job.kind} job n={n} of {run}"
            if job.kind == "rejects":
                yield from self._rejects_job(world, name, job, what)
                continue
            source = self._input(world, run, job)
            if source is not None:
                done = self._effect(world, run, job, source)
                yield f"{what} done", done._replace(jobs=put(done.jobs, name, job._replace(state="done")))
                if faults.mismatch and (self._is_last(job.step) or self.scenario.load_mismatch_closes):
                    fewer = faults._replace(mismatch=faults.mismatch - 1)
                    other = put(done.jobs, name, job._replace(state="mismatch"))
                    yield f"{what} done, other rows than expected", done._replace(jobs=other, faults=fewer)
            else:
                gone = put(world.jobs, name, job._replace(state="permanent"))
                yield f"{what} fails: its input is gone", world._replace(jobs=gone)
            for state in ("retryable", "permanent"):
                left = getattr(faults, state)
                if left:
                    failed = put(world.jobs, name, job._replace(state=state))
                    fewer = faults._replace(**{state: left - 1})
                    yield f"{what} fails ({state})", world._replace(jobs=failed, faults=fewer)

    def _rejects_job(self, world: World, name: tuple[Run, int], job: Job, what: str) -> Steps:
        run, faults = name[0], world.faults
        if run in world.shards:
            loaded = put(world.rejected, run, (get(world.rejected, run) or 0) + 1)
            done = put(world.jobs, name, job._replace(state="done"))
            yield f"{what} done", world._replace(jobs=done, rejected=loaded)
        else:
            gone = put(world.jobs, name, job._replace(state="permanent"))
            yield f"{what} fails: its input is gone", world._replace(jobs=gone)
        for state in ("retryable", "permanent"):
            left = getattr(faults, f"rejects_{state}")
            if left:
                failed = put(world.jobs, name, job._replace(state=state))
                fewer = faults._replace(**{f"rejects_{state}": left - 1})
                yield f"{what} fails ({state})", world._replace(jobs=failed, faults=fewer)

    def _input(self, world: World, run: Run, job: Job) -> Window | None:
        if job.step == 0:
            return job.rows if run in world.shards else None
        return get(world.staging, self._staging_table(run))

    def _effect(self, world: World, run: Run, job: Job, rows: Window) -> World:
        """A job's effect is atomic and comes with its state ``done``."""
        if not self._is_last(job.step):
            return world._replace(staging=put(world.staging, self._staging_table(run), rows))
        if rows.high < world.version:
            raise Broken(f"an older replace ({rows.high}) went over a newer one ({world.version})")
        counts = tuple(count + (rows.low <= index < rows.high) for index, count in enumerate(world.rows))
        epoch = run[1] or world.epoch
        return world._replace(rows=counts, version=rows.high, published=world.published | {(run[0], epoch)})

    # open

    def look_for_receipt(self, world: World, me: Process) -> Steps:
        """Only without RECEIPT_AFTER_STATE: the look comes before the state is read."""
        if get(world.receipts, me.run):
            yield "join_run: its receipt exists", self._become(world, me, None)
        else:
            yield "join_run: no receipt", self._become(world, me, me._replace(at="open_run"))

    def open_run(self, world: World, me: Process) -> Steps:
        """write_missing_receipt, join_run, take_slot, abandon_run, roll_forward, or skipped."""
        slot, last = world.slot, world.last
        if self.has(Rule.WRITE_MISSING_RECEIPT) and last and not get(world.receipts, last.run):
            written = world._replace(receipts=put(world.receipts, last.run, last))
            yield f"write_missing_receipt: {last.outcome}", written
            return
        if self.has(Rule.JOIN_RUN):
            if slot and slot.run == me.run:
                if slot.phase == "extracting":
                    joined = me._replace(at="extract", epoch=slot.epoch)
                    yield "join_run: it holds the slot", self._become(world, me, joined)
                else:
                    yield "join_run: it is committing", self._become(world, me, None)
                return
            looks = self.has(Rule.RECEIPT_AFTER_STATE)
            if (last and last.run == me.run) or (looks and get(world.receipts, me.run)):
                yield "join_run: returns its receipt", self._become(world, me, None)
                return
        if world.paused and self.has(Rule.PAUSE_ON_MISMATCH):
            yield "open_run: the source is paused", self._become(world, me, None)
            return
        if slot is None:
            yield from self._cas(world, me, "take_slot", *self._taken(world, me))
            return
        if slot.phase == "extracting" or not self.has(Rule.ROLL_FORWARD):
            given_up = world._replace(slot=None, last=Last(slot.run, slot.epoch, "abandoned"))
            if self.has(Rule.ABANDON_BY_OWN_CAS):
                yield from self._cas(world, me, f"abandon_run: run {slot.run}", given_up, me)
            else:
                what = f"take_slot: abandons run {slot.run} in the same swap"
                yield from self._cas(world, me, what, *self._taken(given_up, me))
        else:
            yield (
                f"roll_forward: run {slot.run} is committing and late",
                self._become(world, me, Process("roll_forward", slot.run, slot.epoch, opener=me.run)),
            )
        yield "open_run: skipped", self._become(world, me, None)

    def _taken(self, world: World, me: Process) -> tuple[World, Process]:
        if world.paused:
            raise Broken("a run opens although nobody resolved the row mismatch")
        epoch = world.epoch + 1
        after = world._replace(
            epoch=epoch, slot=Slot(me.run, epoch, "extracting", 1, 0), opened=(*world.opened, me.run)
        )
        return after, me._replace(at="extract", epoch=epoch)

    # extract

    def extract(self, world: World, me: Process) -> Steps:
        """write_plan (create-only) and the extraction, then the finalize copies."""
        run = self._run(me)
        if get(world.plans, run) is None:
            plan = Window(world.watermark, min(len(world.opened), self.scenario.rows))
            world = world._replace(plans=put(world.plans, run, plan), shards=world.shards | {run})
        copies = self.scenario.copies if me.run == self.scenario.runs[0] else 1
        finalizers = [me._replace(at="collect_manifests")] * copies
        yield f"extract: {get(world.plans, run)}", self._become(world, me, *finalizers)

    def collect_manifests(self, world: World, me: Process) -> Steps:
        """All manifests, or the run fails."""
        run = self._run(me)
        plan = get(world.plans, run)
        if run not in world.shards or plan is None:
            yield "collect_manifests: they are gone", self._become(world, me, me._replace(at="except_branch"))
            return
        at = "write_record"
        if not self.has(Rule.RECORD_FIRST):
            at = "claim_commit"
        yield "collect_manifests: all there", self._become(world, me, me._replace(at=at, rows=plan))

    def write_record(self, world: World, me: Process) -> Steps:
        """Create-only; who finds it there uses it."""
        run = self._run(me)
        rows = get(world.records, run) or me.rows
        at = (
            "claim_commit"
            if self.has(Rule.RECORD_FIRST) and self.has(Rule.CLAIM_BEFORE_SUBMIT)
            else "submit_job"
        )
        after = world._replace(records=put(world.records, run, rows))
        yield f"write_record: {rows}", self._become(after, me, me._replace(at=at, rows=rows))

    # commit

    def claim_commit(self, world: World, me: Process) -> Steps:
        """Extracting to committing."""
        slot = self._mine(world, me)
        following = "submit_job" if self.has(Rule.RECORD_FIRST) else "write_record"
        if self.scenario.rejects and not self.has(Rule.REJECTS_AFTER_COMMIT):
            following = "load_rejects"
        if not self.has(Rule.CLAIM_BEFORE_SUBMIT):
            following = "await_job"
        if slot and slot.phase == "extracting":
            after = world._replace(slot=slot._replace(phase="committing"))
            yield from self._cas(world, me, "claim_commit", after, me._replace(at=following))
        elif slot and self.has(Rule.CONFLICT_IS_NO_VERDICT):
            goes_on = me._replace(at=following, n=slot.n, step=slot.step)
            yield "claim_commit: is committing already", self._become(world, me, goes_on)
        else:
            yield "claim_commit: lost the slot", self._report(world, me)

    def roll_forward(self, world: World, me: Process) -> Steps:
        """Go on from the commit record, for whoever died."""
        slot, rows = self._mine(world, me), get(world.records, self._run(me))
        if slot is None:
            yield "roll_forward: the slot moved on", self._become(world, me, None)
        elif rows is None:
            raise Broken("stuck: committing, and no commit record to go on from")
        else:
            goes_on = me._replace(at="submit_job", rows=rows, n=slot.n, step=slot.step)
            yield "roll_forward: has the record", self._become(world, me, goes_on)

    def submit_job(self, world: World, me: Process) -> Steps:
        """Create the job numbered slot.n, or adopt it."""
        name = (self._run(me), me.n)
        what = f"submit_job: n={me.n} step={me.step}"
        if get(world.jobs, name):
            at = "await_job" if self.has(Rule.ADOPT_EXISTING) else "close_failed"
            yield f"{what} exists already", self._become(world, me, me._replace(at=at))
            return
        kind = "load" if me.step == 0 else "publish"
        created = world._replace(jobs=put(world.jobs, name, Job(kind, "running", me.step, me.rows)))
        at = "await_job" if self.has(Rule.CLAIM_BEFORE_SUBMIT) else "claim_commit"
        yield from self._cas(world, me, what, created, me._replace(at=at))
        if world.faults.refused:
            fewer = world.faults._replace(refused=world.faults.refused - 1)
            at = "burn_job_id" if self.has(Rule.BURN_JOB_ID) else "close_failed"
            yield f"{what} refused", self._become(world._replace(faults=fewer), me, me._replace(at=at))

    def burn_job_id(self, world: World, me: Process) -> Steps:
        """Make sure that nobody can submit this number any more."""
        name = (self._run(me), me.n)
        if get(world.jobs, name):
            after, what = world, "burn_job_id: a job of that id exists, adopts it"
        else:
            tombstone = Job("tombstone", "done", me.step, Window(0, 0))
            after, what = world._replace(jobs=put(world.jobs, name, tombstone)), "burn_job_id: tombstone"
        yield what, self._become(after, me, me._replace(at="await_job"))

    def await_job(self, world: World, me: Process) -> Steps:
        """Decide by how the job ended."""
        job = get(world.jobs, (self._run(me), me.n))
        if job is None:
            raise Broken(f"waits for job n={me.n}, which does not exist")
        what = f"await_job: n={me.n} is {job.state}"
        if job.state == "running":
            if not self.has(Rule.CONFIRMED_FAILURE):
                yield f"{what}, taken for failed", self._become(world, me, me._replace(at="close_failed"))
            return
        if job.kind == "tombstone" and self.has(Rule.ADOPT_CHECKS_JOB):
            choices = ["close_failed"]
            what = f"await_job: n={me.n} is a tombstone"
        elif job.state == "mismatch" and not (self.has(Rule.DONE_ADVANCES) and self._is_last(me.step)):
            choices = ["close_failed"]
        elif job.state in ("done", "mismatch"):
            if job.step != me.step:
                raise Broken(f"stuck: job n={me.n} is of step {job.step}, not {me.step}")
            last = self._is_last(me.step) or not self.has(Rule.LAST_STEP_COMMITS)
            choices = [self._after_commit(me) if last else "next_step"]
        elif job.state == "retryable" and me.n < self.scenario.attempts + me.step:
            choices = ["next_attempt", "close_failed"]
        else:
            choices = ["close_failed"]
        for choice in choices:
            yield f"{what}, so {choice}", self._become(world, me, me._replace(at=choice))

    def next_attempt(self, world: World, me: Process) -> Steps:
        """n to n + 1, the step stays."""
        yield from self._renumber(world, me, "next_attempt", me.step, me.n + 1, Rule.NEXT_ATTEMPT_BY_CAS)

    def next_step(self, world: World, me: Process) -> Steps:
        """(step, n) to (step + 1, n + 1)."""
        n = me.n + 1 if self.has(Rule.NEXT_STEP_TAKES_NEW_N) else me.n
        yield from self._renumber(world, me, "next_step", me.step + 1, n, Rule.NEXT_STEP_BY_CAS)

    def _renumber(self, world: World, me: Process, what: str, step: int, n: int, rule: Rule) -> Steps:
        slot, moved = self._mine(world, me), me._replace(at="submit_job", step=step, n=n)
        if not self.has(rule):
            yield f"{what}: n={n} step={step} without a swap", self._become(world, me, moved)
        elif slot is None:
            yield f"{what}: the slot moved on", self._report(world, me)
        elif slot.n == me.n and slot.step == me.step:
            after = world._replace(slot=slot._replace(step=step, n=n))
            yield from self._cas(world, me, f"{what}: n={n} step={step}", after, moved)
        else:
            yield f"{what}: slot is elsewhere, follows", self._become(world, me, self._follow(me, slot))

    # rejects

    def _after_commit(self, me: Process) -> str:
        waits = self.scenario.rejects and self.has(Rule.REJECTS_BEFORE_ADVANCE) and not me.rejects
        return "load_rejects" if waits else "advance"

    def load_rejects(self, world: World, me: Process) -> Steps:
        """Look at job k for the rejects; the first number is 1."""
        job = get(world.jobs, (self._run(me), -me.k))
        what = f"load_rejects: k={me.k} is {job.state if job else 'not there'}"
        if job is None:
            yield what, self._become(world, me, me._replace(at="submit_rejects"))
        elif job.state == "running":
            if not self.has(Rule.REJECTS_CONFIRMED_FAILURE) and me.k < self.scenario.attempts:
                yield f"{what}, taken for failed", self._become(world, me, me._replace(k=me.k + 1))
        elif job.kind == "rejects" and job.state == "done":
            yield what, self._become(world, me, self._rejects_ended(me, "loaded"))
        elif job.state == "retryable" and me.k < self.scenario.attempts:
            yield what, self._become(world, me, me._replace(k=me.k + 1))
        else:
            yield f"{what}, gives up", self._become(world, me, self._rejects_given_up(me))

    def submit_rejects(self, world: World, me: Process) -> Steps:
        """Create job k for the rejects, or adopt it."""
        name = (self._run(me), -me.k)
        what, looks = f"submit_rejects: k={me.k}", me._replace(at="load_rejects")
        if get(world.jobs, name):
            yield f"{what} exists already", self._become(world, me, looks)
            return
        created = world._replace(jobs=put(world.jobs, name, Job("rejects", "running", -1, me.rows)))
        yield from self._cas(world, me, what, created, looks)
        if world.faults.rejects_refused:
            fewer = world.faults._replace(rejects_refused=world.faults.rejects_refused - 1)
            burns = self.has(Rule.REJECTS_BURN_ID)
            then = me._replace(at="burn_rejects_id") if burns else self._rejects_given_up(me)
            yield f"{what} refused", self._become(world._replace(faults=fewer), me, then)

    def burn_rejects_id(self, world: World, me: Process) -> Steps:
        """Make sure that nobody can submit this number any more."""
        name, looks = (self._run(me), -me.k), me._replace(at="load_rejects")
        if get(world.jobs, name):
            yield "burn_rejects_id: a job of that id exists", self._become(world, me, looks)
            return
        tombstone = Job("tombstone", "done", -1, Window(0, 0))
        after = world._replace(jobs=put(world.jobs, name, tombstone))
        yield "burn_rejects_id: tombstone", self._become(after, me, looks)

    def _rejects_given_up(self, me: Process) -> Process:
        if not self.has(Rule.REJECTS_FAIL_NO_RUN):
            return me._replace(at="close_failed")
        return self._rejects_ended(me, "kept")

    def _rejects_ended(self, me: Process, how: str) -> Process:
        if not self.has(Rule.REJECTS_AFTER_COMMIT):
            return me._replace(at="submit_job", rejects=how)
        at = "advance" if self.has(Rule.REJECTS_BEFORE_ADVANCE) else "clean_up"
        return me._replace(at=at, rejects=how)

    # the end of a run

    def advance(self, world: World, me: Process) -> Steps:
        """Watermark, last and empty slot in one swap."""
        slot = self._mine(world, me)
        if slot is None:
            yield "advance: the slot moved on", self._report(world, me)
            return
        job = get(world.jobs, (self._run(me), me.n))
        after = world._replace(
            watermark=me.rows.high,
            slot=None,
            last=Last(me.run, slot.epoch, "ok", me.rejects),
            paused=world.paused or (job is not None and job.state == "mismatch"),
        )
        done = me._replace(at="write_receipt", outcome="ok")
        yield from self._cas(world, me, f"advance: watermark {me.rows.high}", after, done)

    def close_failed(self, world: World, me: Process) -> Steps:
        """Failed and empty slot in one swap, if n is still the failed job's."""
        slot = self._mine(world, me)
        if slot is None:
            yield "close_failed: the slot moved on", self._report(world, me)
        elif slot.n != me.n and self.has(Rule.CLOSE_BY_CAS_ON_N):
            yield "close_failed: slot is elsewhere, follows", self._become(world, me, self._follow(me, slot))
        else:
            yield from self._close(world, me, slot, "close_failed")

    def except_branch(self, world: World, me: Process) -> Steps:
        """finalize with a failure: closes what extracts, rolls forward what commits."""
        slot = self._mine(world, me)
        if slot is None:
            yield "close_failed: the slot moved on", self._report(world, me)
        elif slot.phase == "committing" and self.has(Rule.EXCEPT_ROLLS_FORWARD):
            goes_on = me._replace(at="roll_forward")
            yield "roll_forward: failure branch finds it committing", self._become(world, me, goes_on)
        else:
            yield from self._close(world, me, slot, f"close_failed: failure branch, {slot.phase}")

    def _close(self, world: World, me: Process, slot: Slot, what: str) -> Steps:
        if self.healthy:
            raise Broken("a run fails although nothing went wrong")
        after = world._replace(slot=None, last=Last(me.run, slot.epoch, "failed"))
        yield from self._cas(world, me, what, after, me._replace(at="write_receipt", outcome="failed"))

    def write_receipt(self, world: World, me: Process) -> Steps:
        """Create-only, named by the run id alone."""
        receipt = get(world.receipts, me.run) or Last(me.run, me.epoch, me.outcome, me.rejects)
        after = world._replace(receipts=put(world.receipts, me.run, receipt))
        late = self.scenario.rejects and not self.has(Rule.REJECTS_BEFORE_ADVANCE) and me.outcome == "ok"
        at = "load_rejects" if late else "clean_up"
        yield f"write_receipt: {receipt.outcome}", self._become(after, me, me._replace(at=at))

    def clean_up(self, world: World, me: Process) -> Steps:
        """This run's staging objects and staging table."""
        yield "clean_up", self._become(self._without_staging(world, self._run(me)), me, None)

    def _report(self, world: World, me: Process) -> World:
        """Answer with what is recorded; never record anything oneself."""
        if self._mine(world, me):
            raise Broken("finalize answers that its run is over while the run holds the slot")
        if not self.has(Rule.SUPERSEDED_IS_NO_OUTCOME):
            receipt = get(world.receipts, me.run) or Last(me.run, me.epoch, "superseded")
            world = world._replace(receipts=put(world.receipts, me.run, receipt))
        return self._become(world, me, None)

    # properties

    def check(self, world: World) -> None:
        """Judge the state as it is, and as it would be recovered if everything died in it."""
        self._judge(world)
        dead = world._replace(processes=(Process("open_run", RECOVERY_RUN),), faults=Faults(), paused=False)
        path: set[World] = set()
        while dead not in self._recovered:
            if dead in path:
                raise Broken("stuck: a clean run goes round in circles")
            path.add(dead)
            following = next(self.steps(dead), None)
            if following is None:
                self._judge_end(dead)
                break
            dead = following[1]._replace(paused=False)  # somebody runs `etl-runner resolve`
            self._judge(dead)
        self._recovered.update(path)

    def _judge(self, world: World) -> None:
        for row, count in enumerate(world.rows, 1):
            if count > 1:
                raise Broken(f"row {row} is in the table {count} times")
            if row <= world.watermark and not count:
                raise Broken(f"row {row} is lost: the watermark is past it")
        for rejecting, count in world.rejected:
            if count > 1:
                raise Broken(f"the rejects of {rejecting} are in their table {count} times")
            if (rejecting[0], rejecting[1] or world.epoch) not in world.published:
                raise Broken(f"the rejects of {rejecting} are in their table, its rows are not in theirs")
        if world.version < world.watermark:
            raise Broken("the replaced table is older than the watermark says")
        if self.scenario.faults.lost_receipt:
            return  # a run id may then open again; its receipts are not judged, its rows are
        for run, receipt in world.receipts:
            visible = (run, receipt.epoch) in world.published
            if visible != (receipt.outcome == "ok"):
                raise Broken(
                    f"receipt of run {run} says {receipt.outcome}, its rows are {'in' if visible else 'out'}"
                )

    def _judge_end(self, world: World) -> None:
        if world.slot is not None:
            raise Broken("a clean run leaves the slot held")
        if any(count != 1 for count in world.rows[: len(world.opened)]):
            raise Broken(f"rows after a clean run: {world.rows}")
        if self.scenario.faults.lost_receipt:
            return
        for epoch, run in enumerate(world.opened, 1):
            receipt = get(world.receipts, run)
            if receipt is None or receipt.epoch != epoch:
                raise Broken(f"epoch {epoch} (run {run}) has no receipt")
            loaded = get(world.rejected, (run, epoch)) or 0
            if self.scenario.rejects and receipt.outcome == "ok" and loaded != (receipt.rejects == "loaded"):
                raise Broken(
                    f"run {run} says {receipt.rejects!r} of its rejects, which are loaded {loaded} times"
                )

    # helpers

    def _run(self, me: Process) -> Run:
        return me.run, me.epoch if self.has(Rule.EPOCH_IN_NAMES) else 0

    def _staging_table(self, run: Run) -> Run:
        return run if self.has(Rule.STAGING_NAMED_BY_RUN) else (0, 0)

    def _is_last(self, step: int) -> bool:
        return step + 1 == self.scenario.steps

    def _mine(self, world: World, me: Process) -> Slot | None:
        slot = world.slot
        return slot if slot and slot.run == me.run and slot.epoch == me.epoch else None

    def _follow(self, me: Process, slot: Slot) -> Process:
        return me._replace(at="submit_job", n=slot.n, step=slot.step)

    def _cas(self, world: World, me: Process, what: str, after: World, then: Process) -> Steps:
        """The write succeeds; or it succeeds, its reply is lost and the process decides again."""
        yield what, self._become(after, me, then)
        if world.faults.lost_reply:
            fewer = world.faults._replace(lost_reply=world.faults.lost_reply - 1)
            yield f"{what} (reply lost)", after._replace(faults=fewer)

    def _without_staging(self, world: World, run: Run) -> World:
        return world._replace(
            shards=world.shards - {run}, staging=drop(world.staging, self._staging_table(run))
        )

    def _spawn(self, world: World, *processes: Process) -> World:
        return world._replace(processes=tuple(sorted((*world.processes, *processes))))

    def _become(self, world: World, me: Process, *others: Process | None) -> World:
        """``me`` ends and ``others`` go on in its place; who rolled another run forward opens afterwards."""
        rest = list(world.processes)
        rest.remove(me)
        left = [other for other in others if other is not None]
        if not left and me.opener:
            left.append(Process("open_run", me.opener))
        return world._replace(processes=tuple(sorted([*rest, *left])))
