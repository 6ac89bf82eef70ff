"""Mail addresses: checked so that a message to them can be written and sent."""

import re
from dataclasses import dataclass

import idna

_MAX_LOCAL_PART = 64  # octets (RFC 5321, 4.5.3.1.1)
_MAX_ADDRESS = 254  # octets: a path of 256 (RFC 5321, 4.5.3.1.3) without its angle brackets
_MAX_NAME = 200  # characters; RFC 5322 sets no limit, but every header has one
_EXPECTED = 'expected a mail address such as "team@example.com" or "Team <team@example.com>"'
# RFC 5322, 3.2.3 and RFC 6531, 3.3: letters outside ASCII are allowed where the server supports SMTPUTF8. Quoted local
# parts are valid too, but no provider issues them.
_ATOM = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\xa0\s])+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A mail address with an optional display name. The domain of `address` is ASCII (IDNA)."""

    address: str
    name: str = ""

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server that supports SMTPUTF8 (RFC 6531) accepts it."""
        return not self.address.isascii()

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


def parse_mail_address(value: object) -> MailAddress:
    """Parse `team@example.com` or `Team <team@example.com>`. Raises ValueError."""
    if isinstance(value, MailAddress):
        return value
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(_EXPECTED)
    text, name = value.strip(), ""
    if text.endswith(">"):
        name, _, text = text[:-1].rpartition("<")
        name = name.strip().removeprefix('"').removesuffix('"').strip()
        if "<" in name or ">" in name:
            raise ValueError(_EXPECTED)
    if len(name) > _MAX_NAME:
        raise ValueError(f"the name has {len(name)} characters; at most {_MAX_NAME} are allowed")
    local, at, domain = text.strip().rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local):
        raise ValueError(_EXPECTED)
    if len(local.encode()) > _MAX_LOCAL_PART:
        raise ValueError(f"the part before the @ may have at most {_MAX_LOCAL_PART} bytes (RFC 5321)")
    address = f"{local}@{_ascii_domain(domain)}"
    if len(address.encode()) > _MAX_ADDRESS:
        raise ValueError(f"a mail address may have at most {_MAX_ADDRESS} bytes (RFC 5321)")
    return MailAddress(address, name)


def _ascii_domain(domain: str) -> str:
    try:
        encoded = idna.encode(domain.lower(), uts46=True, std3_rules=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise ValueError(_EXPECTED) from None
    if encoded.endswith("."):
        raise ValueError(_EXPECTED)
    return encoded
