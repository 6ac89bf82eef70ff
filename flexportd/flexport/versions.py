"""The seam between the client and a version of Flexport's API.

A version knows its header, its paths, its page parameters and how its answers are read; the client knows none of it.
"""

from collections.abc import Mapping
from typing import Protocol

from flexportd.flexport.envelope import ObjectBody, PageBody


class ApiVersion(Protocol):
    """One version of the API."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What every request carries to be answered in this version."""

    def page_query(self, query: Mapping[str, str], number: int) -> dict[str, str]:
        """The parameters that ask for a page (from 1) of a list, beside the list's own."""

    def page_number(self, link: str) -> int | None:
        """The page that a link within a list leads to; None when it names none."""

    def resource(self, path: str) -> str:
        """The path template that a path belongs to: one of a bounded set of names."""

    def read_page(self, body: bytes) -> PageBody:
        """Read a list's page. Raises MalformedAnswerError, and AnsweredError when the answer tells of an error."""

    def read_object(self, body: bytes) -> ObjectBody:
        """Read one object. Raises as `read_page`."""
