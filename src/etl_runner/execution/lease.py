"""A worker's hold on its run: renewed while work goes on, and the work ended when it is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable

from etl_runner.commit.close import Clock, utc_now
from etl_runner.errors import PermanentError, RetryableError
from etl_runner.planning.plan import PlanHeader
from etl_runner.planning.write_plan import Heartbeat
from etl_runner.state.store import StateStore

log = logging.getLogger(__name__)


def keep_slot(store: StateStore, header: PlanHeader, clock: Clock = utc_now) -> Callable[[], None]:
    """What a worker calls as often as it likes: the run's deadline is renewed now and then.

    What is returned raises PermanentError once the run is no longer ours.
    """
    beat = Heartbeat(store, header, clock)

    def keep() -> None:
        try:
            held = beat()
        except RetryableError as error:
            # The deadline is far enough away for the next beat to renew it.
            log.warning("the run's deadline was not renewed: %s", error)
            return
        if not held:
            raise PermanentError(
                f"run {header.run_id} no longer holds the slot of source {header.source_id}: it was closed "
                f"or taken over"
            )

    return keep
