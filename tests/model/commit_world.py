"""The world of the commit protocol's model: state object, objects, BigQuery, processes, rules, faults.

What is abstracted, and why that is fair:

* A source's rows are numbered; a window is ``(low, high]``. The source commits one row before each plan
  until there are ``Scenario.rows``, so early runs find something new and late ones may not. How rows get
  into a window and how units are read has models of its own (window_model, extract_model).
* A compare-and-swap loop is one step: it succeeds only when nobody wrote between its read and its write,
  so it behaves as if both happened at once. That a *lost reply* hides one's own success is a step of its
  own: the write is applied and the process decides again.
* Looking for a receipt and the swap that opens are one step as well, although they touch two objects: a
  receipt that is missing after the state was read can appear before the swap only for the run in ``slot``
  or ``last``, which is joined. The other order is not fair, and is the rule ``RECEIPT_AFTER_STATE``.
* A crash needs no step: every state is also judged as if all processes were dead in it (``recover``).
* A deadline is a number that any process may find to be past at any moment, the worst that clocks can do.
  (That a healthy run is left alone is deadline_model's.)
* Append and replace are one: each publishing job does both, to a multiset of rows and to a table version.
* ``report`` (a finalize that lost its slot answers) is part of the step that finds the slot lost: a slot
  that is lost for one run and epoch is lost for ever, so nothing can come between that matters.
* The jobs that load a run's rejects have the numbers -1, -2, ... here. Which number is next follows from
  the jobs themselves, whose ends are final: no swap counts them.
* ``publish_event`` is not here: it may happen any number of times, bears the run's id, and nothing reads it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from tests.model.explorer import Pairs


class Rule(Enum):
    """Each single rule of the protocol. Removing any one of them breaks a property."""

    WRITE_MISSING_RECEIPT = "open_run writes the receipt of `last` first if it is missing"
    JOIN_RUN = "a run id that slot, last or a receipt carries joins or gets its receipt, it never opens again"
    RECEIPT_AFTER_STATE = (
        "the receipt is looked for after the state was read on whose generation the swap acts"
    )
    EPOCH_IN_NAMES = "every job id and object name bears the epoch, which grows with each taking of the slot"
    ABANDON_BY_OWN_CAS = "an expired extracting run is abandoned by one swap and the slot taken by another"
    ROLL_FORWARD = "a committing run is never abandoned, it is rolled forward"
    PAUSE_ON_MISMATCH = "a source whose commit had other rows than expected opens no run until it is resolved"
    RECORD_FIRST = "the commit record is written before the phase becomes committing"
    KEEP_RECORD = "commit records are outside every lifecycle rule"
    CLAIM_BEFORE_SUBMIT = "a job is submitted only once the phase is committing"
    CONFLICT_IS_NO_VERDICT = "after a failed precondition: read again, and go on if it is already as wanted"
    ADOPT_EXISTING = "'already exists' means adopt that job and wait"
    ADOPT_CHECKS_JOB = "a tombstone that is done means failed, not committed"
    BURN_JOB_ID = "a refused submission burns the job id before anything is closed"
    CONFIRMED_FAILURE = "only a job that has ended can count as failed"
    DONE_ADVANCES = "a job done without error always advances, whatever its row count"
    NEXT_ATTEMPT_BY_CAS = "n + 1 is submitted only after a swap of slot.n from n"
    NEXT_STEP_BY_CAS = "the publishing job is submitted only after a swap of (step, n) to (step + 1, n + 1)"
    NEXT_STEP_TAKES_NEW_N = "the next step's job has a number of its own"
    LAST_STEP_COMMITS = "only the last step's job is the commit"
    CLOSE_BY_CAS_ON_N = "a committing run closes as failed only by a swap on its n"
    EXCEPT_ROLLS_FORWARD = "the workflow's failure branch closes only an extracting run"
    SUPERSEDED_IS_NO_OUTCOME = "who lost the slot reports the recorded outcome and records none of his own"
    STAGING_NAMED_BY_RUN = "the staging table's name bears run and epoch"
    REJECTS_AFTER_COMMIT = "rejects are loaded only once the commit's last job is done without error"
    REJECTS_BEFORE_ADVANCE = "the slot is emptied only once the job that loads the rejects has ended"
    REJECTS_CONFIRMED_FAILURE = "job k + 1 for the rejects is submitted only once job k has ended as failed"
    REJECTS_BURN_ID = "a refused job for the rejects has its id burnt before the run goes on without it"
    REJECTS_FAIL_NO_RUN = "rejects that cannot be loaded leave the run committed"


class Slot(NamedTuple):
    """``state.slot`` without its deadline. Step 0 is the load, step 1 (of two) publishes what it staged."""

    run: int
    epoch: int
    phase: str
    n: int
    step: int


class Last(NamedTuple):
    """``state.last``."""

    run: int
    epoch: int
    outcome: str
    rejects: str = ""
    """What it says of the rejects: loaded, kept (in staging), or nothing."""


class Window(NamedTuple):
    """Rows ``low + 1`` to ``high``."""

    low: int
    high: int


class Job(NamedTuple):
    """A BigQuery job. ``state``: running, done, mismatch (done, other rows), retryable, permanent."""

    kind: str
    state: str
    step: int
    rows: Window


class Faults(NamedTuple):
    """How often the world may still go wrong, each in its own way."""

    lost_reply: int = 0
    refused: int = 0
    retryable: int = 0
    permanent: int = 0
    rejects_refused: int = 0
    rejects_retryable: int = 0
    rejects_permanent: int = 0
    mismatch: int = 0
    replaced: int = 0
    lifecycle: int = 0
    except_branch: int = 0
    lost_receipt: int = 0


class Process(NamedTuple):
    """One execution of trigger, finalize or failure branch, and what it keeps in its memory."""

    at: str
    run: int
    epoch: int = 0
    rows: Window = Window(0, 0)
    n: int = 1
    step: int = 0
    outcome: str = ""
    rejects: str = ""
    """How the rejects ended: loaded or kept."""
    k: int = 1
    """The number of the job for the rejects that it looks at."""
    opener: int = 0
    """The run whose trigger rolls this one forward and opens afterwards; 0 for none."""


Run = tuple[int, int]
"""Run id and epoch. The epoch is 0 where the rule EPOCH_IN_NAMES is off."""


class World(NamedTuple):
    """Everything that is stored anywhere, and every living process."""

    # state.json
    watermark: int
    epoch: int
    slot: Slot | None
    last: Last | None
    paused: bool
    # other objects
    opened: tuple[int, ...]
    """Run ids by epoch, for the properties only."""
    plans: Pairs[Run, Window]
    shards: frozenset[Run]
    """Runs whose shards still exist."""
    records: Pairs[Run, Window]
    receipts: Pairs[int, Last]
    # BigQuery
    jobs: Pairs[tuple[Run, int], Job]
    staging: Pairs[Run, Window]
    rows: tuple[int, ...]
    """How often each source row is in the appended table."""
    version: int
    """The ``high`` that the replaced table shows."""
    published: frozenset[tuple[int, int]]
    """Run id and epoch of everything that became visible."""
    rejected: Pairs[Run, int]
    """How often each run's rejects are in their table."""
    # around
    faults: Faults
    processes: tuple[Process, ...]


class Scenario(NamedTuple):
    """Who runs, how many copies of finalize run 1 has, how many rows there are, what may go wrong."""

    name: str
    runs: tuple[int, ...]
    faults: Faults = Faults()
    copies: int = 1
    rows: int = 2
    steps: int = 1
    attempts: int = 2
    """The largest n of one step."""
    load_mismatch_closes: bool = False
    """Other rows than expected in the staging table close the run as failed: nothing is visible yet."""
    rejects: bool = False
    """Every run has rejects."""


def initial(scenario: Scenario) -> World:
    """Nothing loaded, one row at the source, every trigger about to begin."""
    return World(
        watermark=0,
        epoch=0,
        slot=None,
        last=None,
        paused=False,
        opened=(),
        plans=(),
        shards=frozenset(),
        records=(),
        receipts=(),
        jobs=(),
        staging=(),
        rows=(0,) * scenario.rows,
        version=0,
        published=frozenset(),
        rejected=(),
        faults=scenario.faults,
        processes=tuple(sorted(Process("open_run", run) for run in scenario.runs)),
    )
