"""The page that says what went wrong."""

from dataclasses import dataclass

from flexportd.text import harmless

_TITLES = {
    400: "That cannot be understood",
    403: "Not allowed",
    404: "Nothing here",
    409: "Not possible now",
    503: "Not available now",
}

_ADVICE = {
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
    sentence = harmless(detail, 500)
    url, words = _BACK.get(section, ("/", "The overview"))
    ended = sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
    advice = _NO_SHIPMENT if status == 404 and section == "shipments" else _ADVICE.get(status)
    return FailurePage(status, _TITLES.get(status, "Something went wrong"), ended, advice, url, words)
