"""`python -m tests.deadly ARGUMENT...`: flexportd, but what it works on can end the process.

An event about an object whose bytes hold `deadly` ends it while its batch is written; a document whose id begins with
`deadly` while its file is fetched.
"""

import os
import signal

from flexportd.cli.main import main
from flexportd.core.unit_of_work import UnitOfWork
from flexportd.ingest.document_fetcher import FileFetcher


def arm():
    flush, handle = UnitOfWork.flush, FileFetcher.handle

    def deadly_flush(self, *given):
        if any('"deadly"' in record.raw for record in self._written.values()):
            os.kill(os.getpid(), signal.SIGKILL)
        return flush(self, *given)

    async def deadly_handle(self, item):
        if '"deadly-' in (item.payload or ""):
            os.kill(os.getpid(), signal.SIGKILL)
        return await handle(self, item)

    UnitOfWork.flush, FileFetcher.handle = deadly_flush, deadly_handle


if __name__ == "__main__":
    arm()
    main()
