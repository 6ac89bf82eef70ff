"""All errors of flexportd but Flexport's; those are in `flexport/errors.py`, under the same root.

    FlexportdError
    ├── ConfigError            settings that cannot be used: exit 2
    ├── InvalidError           a request, argument or file that cannot be used: 400, exit 2
    │   └── ExpiredError       a cursor that was good once and is too old now: 410
    ├── NotFoundError          no such thing: 404, exit 4
    ├── ConflictError          the thing is not in a state that allows this: 409
    ├── ForbiddenError         this caller may not: 403
    ├── RefusedError           a delivery or request that is not taken: its own status
    ├── NotRunningError        no daemon listens on the control socket: exit 3
    ├── MalformedError         bytes that are not what they claim to be: dead at once
    └── StorageError           the disk or the database refuses
        ├── UnavailableError   for now (full, I/O error, busy): 503 and Retry-After
        ├── InUseError         another daemon owns the folder
        └── SchemaError        the database is newer than the program, or a migration failed

The message names the thing, what was found and what to do; it never holds a secret.
"""


class FlexportdError(Exception):
    """Something that a person can act on; `slug` is its stable name in problem documents and logs."""

    slug = "error"
    permanent = True


class ConfigError(FlexportdError):
    """The configuration cannot be used. Holds every problem found, one sentence each."""

    slug = "configuration"

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else problems
        super().__init__("\n".join(self.problems))


class InvalidError(FlexportdError):
    """A parameter, body or file is wrong; `parameter` names the part at fault."""

    slug = "invalid-request"

    def __init__(self, message: str, parameter: str | None = None) -> None:
        self.parameter = parameter
        super().__init__(message)


class ExpiredError(InvalidError):
    slug = "cursor-expired"


class NotFoundError(FlexportdError):
    slug = "not-found"


def not_found(label: str, key: int | str) -> NotFoundError:
    """The error for an object that does not exist, with the beginning of its id."""
    return NotFoundError(f"there is no {label} {repr(key[:50]) if isinstance(key, str) else key}")


class ConflictError(FlexportdError):
    slug = "conflict"


class ForbiddenError(FlexportdError):
    slug = "forbidden"


class RefusedError(FlexportdError):
    """A request that is not taken: HTTP status, slug, `retry_after` in seconds where it may pass, further headers.

    The names of `headers` are written as Python's: `{"www_authenticate": "Bearer"}`.
    """

    def __init__(
        self,
        status: int,
        slug: str,
        message: str,
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.slug = slug
        self.retry_after = retry_after
        self.headers = headers or {}
        super().__init__(message)


class NotRunningError(FlexportdError):
    slug = "not-running"


class MalformedError(FlexportdError):
    slug = "malformed-data"


class StorageError(FlexportdError):
    slug = "storage"


class UnavailableError(StorageError):
    """Cannot be kept or read for now; `retry_after` is in seconds."""

    slug = "database-unavailable"
    permanent = False

    def __init__(self, message: str, retry_after: int = 5) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class InUseError(StorageError):
    slug = "in-use"


class SchemaError(StorageError):
    slug = "schema"
