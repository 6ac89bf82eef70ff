"""Removes our secrets from an error about a response of Flexport."""

from dataclasses import replace

from flexportd.flexport.errors import FlexportError
from flexportd.http.redaction import Secrets


def clean_error(secrets: Secrets, error: FlexportError, bearer: str = "") -> None:
    """Remove the secrets and this bearer from an error."""
    error.args = (secrets.clean_text(str(error), bearer),)
    error.detail = secrets.clean_text(error.detail, bearer)
    body, request_id = error.response.body, error.response.request_id
    error.response = replace(
        error.response,
        body=secrets.clean(body, bearer),
        request_id=None if request_id is None else secrets.clean_text(request_id, bearer),
    )
