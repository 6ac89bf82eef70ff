"""Event counts in a bounded number of groups, for Prometheus."""

from collections import Counter
from collections.abc import Iterable, Mapping

from flexportd.flexport.milestones import milestone

OTHER_TYPES = "(other)"


def by_milestone(counts: Iterable[tuple[str, str, int]]) -> Mapping[tuple[str, str], int]:
    """Counts of (type, state) by the type of the milestone catalogue; all types outside it count as `(other)`.

    Senders choose the names of types, so there can be any number of them, and the prefix of a documented type varies.
    """
    sums: Counter[tuple[str, str]] = Counter()
    for event_type, state, count in counts:
        known = milestone(event_type)
        sums[OTHER_TYPES if known is None else known.type, state] += count
    return sums
