"""The control plane of a deployment, put together from its settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from etl_runner.commit.close import RunEvents
from etl_runner.controlplane.client import ControlPlane, IdToken
from etl_runner.controlplane.reports import ControlPlaneReports
from etl_runner.settings import Settings
from etl_runner.state.ledger import Ledger
from etl_runner.state.objects import ObjectStore
from etl_runner.state.receipts import Receipts


def control_plane(settings: Settings) -> ControlPlane | None:
    """The client, None for a deployment without a control plane.

    A URL that begins with ``http://`` gets no token: it would travel in the open.
    """
    url = settings.control_plane_url
    if url is None:
        return None
    token = None if url.startswith("http://") else IdToken(settings.control_plane_audience or url)
    return ControlPlane(url, token)


def reports(plane: ControlPlane, state: ObjectStore) -> ControlPlaneReports:
    """Reports from the receipts and ledgers of the state bucket."""

    def files_of(receipt: dict[str, Any]) -> Iterator[dict[str, Any]]:
        name = receipt.get("ledger_segment")
        if not name:
            return
        for entry in Ledger(state, receipt["source_id"]).segment(name):
            yield {"name": entry.name, **asdict(entry)}

    def receipt_of(source_id: str, run_id: str) -> dict[str, Any] | None:
        return Receipts(state, source_id).read(run_id)

    return ControlPlaneReports(plane, state, files_of, receipt_of)


class BothEvents:
    """Tells the end of a run to two listeners. The first never raises."""

    def __init__(self, reports: ControlPlaneReports, events: RunEvents) -> None:
        self._reports = reports
        self._events = events

    def publish(self, receipt: dict[str, Any]) -> None:
        """See :class:`etl_runner.commit.close.RunEvents`."""
        self._reports.publish(receipt)
        self._reports.repeat()
        self._events.publish(receipt)
