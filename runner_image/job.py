"""The Cloud Run Job's entry point. What it reads and how it ends: ``etl_runner.execution.entry``."""

import os
import sys

from etl_runner.execution.entry import main

if __name__ == "__main__":
    sys.exit(main(os.environ))
