"""The pages that say what went wrong: in the dashboard, and to those who see nothing of it."""

import re
from dataclasses import dataclass

from flexportd.expose.dashboard.moments import Sight
from flexportd.text import harmless

_TITLES = {
    400: "That cannot be understood",
    401: "Sign in with a key",
    403: "Not allowed",
    404: "Page not found",
    409: "Not possible now",
    503: "Not available now",
}

_OTHERWISE = "Something went wrong"

_ADVICE = {
    401: "Load the page again and enter the key as the password. The user name does not matter.",
    503: "Nothing is lost. Try again in a moment.",
}

_NO_SHIPMENT = "A shipment appears here with the first event that Flexport sends about it, or with the next sync."

_BACK = {
    "shipments": ("/shipments", "All shipments"),
    "queue": ("/queue", "The queue"),
    "sync": ("/sync", "The sync"),
    "gaps": ("/gaps", "The gaps"),
    "system": ("/system", "The system"),
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
    url, words = _BACK.get(section, ("/", "The overview"))
    advice = _NO_SHIPMENT if status == 404 and section == "shipments" else _ADVICE.get(status)
    return FailurePage(status, _TITLES.get(status, _OTHERWISE), _sentence(detail), advice, url, words)


def customer_failure(status: int, detail: str) -> FailurePage:
    """A failure in words, for a key that opens some shipments only."""
    title = _TITLES.get(status, _OTHERWISE)
    return FailurePage(status, title, _sentence(detail), _ADVICE.get(status), "/shipments", "All shipments")


def _sentence(detail: str) -> str:
    sentence = harmless(detail, 500)
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


_LINK_TITLES = {
    404: "This link leads nowhere",
    410: "This link does not work any more",
}

_LINK_ADVICE = {
    404: "Perhaps a part of the address was lost on the way. If not, ask whoever sent it to you for a new one.",
    410: "Ask whoever sent it to you for a new one.",
    503: "Try again in a moment.",
}

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@dataclass(frozen=True, slots=True)
class LoneFailure:
    """What went wrong, for who has no other page to go to."""

    site: str
    status: int
    title: str
    detail: str
    advice: str | None


def lone_failure(status: int, detail: str, site: str) -> LoneFailure:
    """A failure in words, where there is no dashboard to go back to."""
    return LoneFailure(site, status, _TITLES.get(status, _OTHERWISE), _capital(_sentence(detail)), _ADVICE.get(status))


def link_failure(status: int, detail: str, site: str, sight: Sight) -> LoneFailure:
    """What is wrong with a share link, told to whoever it was sent to."""

    def words(found: re.Match[str]) -> str:
        when = sight.instant(found[0])
        return when.text if when else found[0]

    told = _INSTANT.sub(words, _capital(_sentence(detail)))
    title = _LINK_TITLES.get(status) or _TITLES.get(status, _OTHERWISE)
    return LoneFailure(site, status, title, told, _LINK_ADVICE.get(status))
