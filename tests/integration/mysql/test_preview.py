"""A preview of MariaDB's rows, asked of the deployed function."""

from __future__ import annotations

import pytest

from tests.integration.exactness.lab import Lab
from tests.integration.mysql.support import Database

pytestmark = pytest.mark.stack


def test_a_preview_shows_rows_as_they_would_land(lab: Lab, mariadb: Database) -> None:
    mariadb.execute(
        "CREATE TABLE orders (id bigint unsigned PRIMARY KEY, day date, amount decimal(10,2), note text)",
        "INSERT INTO orders VALUES (18446744073709551615, '2026-01-31', 1.50, ''),"
        " (1, '0000-00-00', 2, NULL)",
    )
    lab.password_file.write_text(mariadb.server.password)
    server = {
        "source_type": "mysql",
        "host": mariadb.server.host,
        "port": mariadb.server.port,
        "database": mariadb.name,
        "username": mariadb.server.user,
        "password": {"file": str(lab.password_file)},
    }
    lab.put(server=server, source_type="mysql", source_table_name="orders", load_type="catalog")
    status, shown = lab.call("plan", {"operation": "preview", "source_id": lab.source_id})
    assert status == 200, shown
    kinds = {column["name"]: (column["source_type"], column["destination"]) for column in shown["columns"]}
    assert kinds["id"] == ("bigint(20) unsigned", "NUMERIC")
    assert kinds["day"] == ("date", "DATE")
    assert shown["rows"] == [{"id": "18446744073709551615", "day": "2026-01-31", "amount": "1.5", "note": ""}]
    assert [(reject["column"], reject["value"]) for reject in shown["rejects"]] == [("day", "0000-00-00")]
    assert not lab.table_exists()
    assert lab.deployment.state.read(f"sources/{lab.source_id}/state.json") is None
