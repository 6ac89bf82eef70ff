"""The shipped profiles: where Flexport, or its look-alike, answers."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Profile:
    """Addresses of one environment."""

    base_url: str
    token_url: str
    audience: str


def shipped() -> Traversable:
    """The folder `config/`: inside the package when installed, beside it in a checkout."""
    inside = resources.files("flexportd") / "_config"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "config"


@cache
def profile_names() -> tuple[str, ...]:
    """Every environment that `[flexport] environment` may name."""
    names = (entry.name for entry in shipped().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def profile(name: str) -> Profile:
    """Read a profile by a name out of `profile_names`."""
    return Profile(**tomllib.loads((shipped() / f"{name}.toml").read_text("utf-8")))
