"""The sections of the API documentation, in order."""

from collections.abc import Mapping

TAGS: Mapping[str, str] = {
    "shipments": "Shipments and their journey.",
    "resources": "All other Flexport resources.",
    "documents": "Documents and the archive of their files.",
    "search": "Search by any reference.",
    "stream": "Live changes.",
    "feeds": "For calendars and spreadsheets.",
    "shares": "Links that show one shipment to people without a key.",
    "provenance": "Causes of changes.",
    "events": "Events from Flexport and their processing.",
    "exceptions": "Shipments, invoices and bookings that need attention, with the evidence.",
    "operations": "Status of the daemon, and items that need review.",
    "keys": "API keys.",
    "documentation": "The API itself.",
}
