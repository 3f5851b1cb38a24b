"""Cloud Run jobs: the part of the Admin API v2 that runs them, with real processes for the tasks.

What a job's image would hold is a command line here (:class:`~local.cloud_run.job.Image`); everything else of
a job (arguments, environment, task count, retries, timeout) is the API's own.
https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.jobs
"""

from local.cloud_run.job import Image
from local.cloud_run.server import CloudRunServer

__all__ = ["CloudRunServer", "Image"]
