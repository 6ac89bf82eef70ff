"""The real Flexport, read only, when a key for it is in the environment."""

import os

import pytest

NAME = "FLEXPORT_API_KEY"
BASE_URL = os.environ.get("FLEXPORT_BASE_URL", "https://api.flexport.com")


@pytest.fixture
def only_loopback():
    """These tests alone may reach the network."""


@pytest.fixture
def key():
    found = os.environ.get(NAME)
    if not found:
        pytest.skip(f"{NAME} is not set: the real Flexport is not asked")
    return found
