"""The page that says what went wrong."""

from dataclasses import dataclass

from flexportd.text import harmless

_TITLES = {
    400: "That cannot be understood",
    403: "Not allowed",
    404: "Nothing here",
    409: "Too late",
    503: "Not available now",
}

_ADVICE = {
    404: "A shipment appears here with the first event that Flexport sends about it.",
    503: "Nothing is lost. Try again in a moment.",
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
    back = {"shipments": ("/shipments", "All shipments"), "queue": ("/queue", "The queue")}
    url, words = back.get(section, ("/", "The overview"))
    ended = sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
    return FailurePage(status, _TITLES.get(status, "Something went wrong"), ended, _ADVICE.get(status), url, words)
