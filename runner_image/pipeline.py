"""The flex template's entry point: submits the pipeline. See ``etl_runner.execution.beam.pipeline``."""

import sys

from etl_runner.execution.beam.pipeline import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
