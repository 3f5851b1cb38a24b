"""What the stand-ins' servers say of requests that fail."""

from __future__ import annotations

import pytest

from local.http_server import QuietServer


@pytest.mark.parametrize(("error", "told"), [(BrokenPipeError(), False), (ValueError("why"), True)])
def test_only_clients_that_went_away_are_passed_over(
    error: Exception, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with QuietServer(("127.0.0.1", 0), object) as server:  # type: ignore[arg-type]
        try:
            raise error
        except type(error):
            server.handle_error(None, ("127.0.0.1", 1))
    assert ("Traceback" in capsys.readouterr().err) is told
