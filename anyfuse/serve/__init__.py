"""`anyfuse serve`: a page in the browser and a JSON API over HTTP; `Client` speaks to it from Python.

The server reads no picture itself: uploads are decoded and fused in worker processes, which are ended where a job is
cancelled, takes too long, or crashes.
"""

from .client import Client, JobResult

__all__ = ["Client", "JobResult"]
