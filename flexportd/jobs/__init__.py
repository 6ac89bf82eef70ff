"""Work that runs by the clock: what a job is, when it is due, its runs and what became of them.

Knows no HTTP and no terminal of ours; `expose` sees it through `expose.board.JobBoard`.
"""
