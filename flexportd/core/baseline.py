"""Whether what is stored is complete, so that further changes are news."""

from flexportd.storage.transaction import Transaction


def lists_complete(tx: Transaction, since: str = "") -> bool:
    """Whether Flexport's lists were read completely once: what comes from then on is news.

    With `since`, by a full sync that began after that time on our clock.
    """
    state, run = tx.sync.list_states().get("shipments"), tx.sync.last("full")
    if run is not None and run.state == "complete":
        return run.started_at >= since  # also while they are read once more
    if since:
        return False
    return state is not None and state.complete_at is not None and tx.sync.running("full") is None


def lists_unread(tx: Transaction) -> bool:
    """Whether Flexport's lists were never read completely: also for a database from before there was an API key."""
    state = tx.sync.list_states().get("shipments")
    return (state is None or state.complete_at is None) and not lists_complete(tx)
