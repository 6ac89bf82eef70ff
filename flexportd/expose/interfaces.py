"""The scheduler as the API and the pages see it; the composition root hands it in."""

from typing import Any, Protocol


class JobControl(Protocol):
    """Jobs to look at, to run, to hold. Names that no job has raise NotFoundError, which lists those there are."""

    def list_jobs(self) -> list[dict[str, Any]]:
        """Every job."""

    async def detail(self, name: str) -> dict[str, Any]:
        """One job with its last runs, newest first."""

    def as_of(self) -> str | None:
        """When the newest run began or ended."""

    async def run_now(self, name: str) -> dict[str, Any]:
        """Run a job; its document as the run begins. Raises ConflictError when it runs already."""

    async def set_paused(self, name: str, *, paused: bool) -> dict[str, Any]:
        """Hold a job, or let it go on; its document."""

    def problems(self) -> list[str]:
        """Jobs that fail again and again, one sentence each."""
