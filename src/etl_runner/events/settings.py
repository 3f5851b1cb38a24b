"""What the functions that take events are told, read once from the environment.

Names of this deployment are in :mod:`etl_runner.settings`; here is whom events are believed, and how they are
gathered into runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from etl_runner.config.secret_value import SecretValue
from etl_runner.errors import ConfigError, Problem

GOOGLE_KEYS_URL = "https://www.googleapis.com/oauth2/v3/certs"
_MIB = 1 << 20


@dataclass(frozen=True)
class EventSettings:
    """Who may send events, and when and how they are loaded."""

    audiences: tuple[str, ...] = ()
    """Audiences of Google's tokens, which calls of Pub/Sub and Eventarc carry. None: the platform verifies
    them, the function is not public."""
    callers: tuple[str, ...] = ()
    """Service accounts that may call; any of that audience when empty."""
    google_keys_url: str = GOOGLE_KEYS_URL
    sns_topics: tuple[str, ...] = ()
    """ARNs of the SNS topics that may notify."""
    keys: tuple[SecretValue, ...] = ()
    """Shared secrets, of which EventBridge and Event Grid send one; two while one is being replaced."""
    webhook_origins: tuple[str, ...] = ("eventgrid.azure.net",)
    entra_tenant: str | None = None
    entra_audience: str | None = None
    """Instead of a key: Event Grid's tokens of this tenant, for this application."""
    max_age_seconds: int = 90_000
    """Events of S3 and Azure that are older are refused. Event Grid and EventBridge repeat for a day."""
    linger_seconds: float = 2.0
    """How long the holder of a slot waits for more arrivals before it plans, unless a file comes alone."""
    run_seconds: int = 420
    """How long one call loads; event functions live 540 seconds."""
    lease_seconds: int = 600
    """After so much silence a slot that a call took is taken over."""
    batch_files: int = 10_000
    """Files that one run loads, at most."""
    in_place_bytes: int = 64 * _MIB
    in_place_rows: int = 500_000
    """Estimates above go to the workflow, the rest is loaded by the call itself."""
    attempts: int = 3
    """Times that a file may fail before it is set aside."""
    retry_seconds: float = 30.0
    """Pause after the first failure of a file or of a source; doubles each time, up to an hour."""
    table_operations: int = 1_400
    """Operations on one table in 24 hours that events may bring it to. BigQuery allows 1,500
    (https://cloud.google.com/bigquery/quotas#standard_tables)."""

    @property
    def public(self) -> bool:
        """Whether callers outside of Google are expected, so that anybody can reach the function."""
        return bool(self.sns_topics or self.keys or self.entra_tenant)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> EventSettings:
        """Read the variables below; what is absent keeps its default.

        Raises:
            ConfigError: what cannot be read, all of it at once.
        """
        env = os.environ if environ is None else environ
        problems: list[Problem] = []

        def several(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
            return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip()) or default

        def number(name: str, default: int) -> int:
            value = env.get(name) or str(default)
            if not value.isdecimal() or int(value) < 1:
                problems.append(Problem(name, "is not a whole number above zero", value))
                return default
            return int(value)

        def seconds(name: str, default: float) -> float:
            value = env.get(name) or str(default)
            try:
                found = float(value)
            except ValueError:
                found = -1.0
            if not 0 <= found <= 3_600:
                problems.append(Problem(name, "is not a number of seconds from 0 to 3600", value))
                return default
            return found

        settings = cls(
            audiences=several("ETL_EVENT_AUDIENCES"),
            callers=several("ETL_EVENT_CALLERS"),
            google_keys_url=env.get("ETL_GOOGLE_KEYS_URL") or GOOGLE_KEYS_URL,
            sns_topics=several("ETL_SNS_TOPICS"),
            keys=tuple(SecretValue(key) for key in several("ETL_EVENT_KEYS")),
            webhook_origins=several("ETL_WEBHOOK_ORIGINS", cls.webhook_origins),
            entra_tenant=env.get("ETL_ENTRA_TENANT") or None,
            entra_audience=env.get("ETL_ENTRA_AUDIENCE") or None,
            max_age_seconds=number("ETL_EVENT_MAX_AGE_SECONDS", cls.max_age_seconds),
            linger_seconds=seconds("ETL_EVENT_LINGER_SECONDS", cls.linger_seconds),
            run_seconds=number("ETL_EVENT_RUN_SECONDS", cls.run_seconds),
            lease_seconds=number("ETL_EVENT_LEASE_SECONDS", cls.lease_seconds),
            batch_files=number("ETL_EVENT_BATCH_FILES", cls.batch_files),
            in_place_bytes=number("ETL_IN_PLACE_BYTES", cls.in_place_bytes),
            in_place_rows=number("ETL_IN_PLACE_ROWS", cls.in_place_rows),
            attempts=number("ETL_FILE_ATTEMPTS", cls.attempts),
            retry_seconds=seconds("ETL_FILE_RETRY_SECONDS", cls.retry_seconds),
            table_operations=number("ETL_TABLE_OPERATIONS", cls.table_operations),
        )
        if bool(settings.entra_tenant) != bool(settings.entra_audience):
            problems.append(Problem("ETL_ENTRA_TENANT", "goes with ETL_ENTRA_AUDIENCE"))
        if problems:
            raise ConfigError("environment", tuple(problems))
        return settings
