"""MySQL (5.7 and later) and MariaDB (10.3 and later) as a source."""
