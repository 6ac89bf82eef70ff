"""The pages that say what went wrong: in the dashboard, and to those who see nothing of it."""

import re
from dataclasses import dataclass

from flexportd.escape import escape_control
from flexportd.expose.dashboard.view.dates import ViewContext

_TITLES = {
    400: "Invalid request",
    401: "Sign in with a key",
    403: "Not allowed",
    404: "Page not found",
    409: "Not possible in the current state",
    503: "Temporarily unavailable",
}

_DEFAULT_TITLE = "Something went wrong"

_ADVICE = {
    401: "Reload the page and enter the key as the password. The user name is ignored.",
    503: "No data is lost. Try again in a moment.",
}

_NO_SHIPMENT = "A shipment appears here after its first webhook or the next sync."

_BACK = {
    "shipments": ("/shipments", "All shipments"),
    "queue": ("/queue", "Queue"),
    "sync": ("/sync", "Sync"),
    "gaps": ("/gaps", "Gaps"),
    "system": ("/system", "System"),
}


@dataclass(frozen=True, slots=True)
class FailurePage:
    """What went wrong, and where to go from here."""

    status: int
    title: str
    detail: str
    advice: str | None
    back_url: str
    back: str


def failure_page(status: int, detail: str, section: str) -> FailurePage:
    """A failure in words; `section` is the part of the dashboard it happened in."""
    url, words = _BACK.get(section, ("/", "Overview"))
    advice = _NO_SHIPMENT if status == 404 and section == "shipments" else _ADVICE.get(status)
    return FailurePage(status, _TITLES.get(status, _DEFAULT_TITLE), _detail_text(status, detail), advice, url, words)


def customer_failure(status: int, detail: str) -> FailurePage:
    """A failure in words, for a key that opens some shipments only."""
    title = _TITLES.get(status, _DEFAULT_TITLE)
    return FailurePage(status, title, _detail_text(status, detail), _ADVICE.get(status), "/shipments", "All shipments")


def _detail_text(status: int, detail: str) -> str:
    """The detail as a sentence; what is wrong with a parameter (400) begins with its exact name."""
    sentence = _sentence(detail)
    return sentence if status == 400 else _capital(sentence)


def _sentence(detail: str) -> str:
    sentence = escape_control(detail, 500)
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


_LINK_TITLES = {
    404: "This link is not valid",
    410: "This link no longer works",
}

_LINK_ADVICE = {
    404: "Check that you copied the whole address, or ask the sender for a new link.",
    410: "Ask the sender for a new link.",
    503: "Try again in a moment.",
}

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@dataclass(frozen=True, slots=True)
class PublicErrorPage:
    """What went wrong, for who has no other page to go to."""

    site: str
    status: int
    title: str
    detail: str
    advice: str | None


def public_failure(status: int, detail: str, site: str) -> PublicErrorPage:
    """A failure in words, where there is no dashboard to go back to."""
    return PublicErrorPage(
        site, status, _TITLES.get(status, _DEFAULT_TITLE), _capital(_sentence(detail)), _ADVICE.get(status)
    )


def link_failure(status: int, detail: str, site: str, sight: ViewContext) -> PublicErrorPage:
    """What is wrong with a share link, told to whoever it was sent to."""

    def words(found: re.Match[str]) -> str:
        when = sight.instant(found[0])
        return when.text if when else found[0]

    told = _INSTANT.sub(words, _capital(_sentence(detail)))
    title = _LINK_TITLES.get(status) or _TITLES.get(status, _DEFAULT_TITLE)
    return PublicErrorPage(site, status, title, told, _LINK_ADVICE.get(status))
