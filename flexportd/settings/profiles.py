"""The shipped defaults: where Flexport, or its look-alike, answers, and how long answers are kept."""

import tomllib
from collections.abc import Mapping
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


def shipped_folder() -> Traversable:
    """The folder `config/`: inside the package when installed, beside it in a checkout."""
    inside = resources.files("flexportd") / "_config"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "config"


@cache
def profile_names() -> tuple[str, ...]:
    """Every environment that `[flexport] environment` may name."""
    names = (entry.name for entry in (shipped_folder() / "environments").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


@cache
def profile(name: str) -> Profile:
    """Read a profile by a name out of `profile_names`."""
    return Profile(**tomllib.loads((shipped_folder() / "environments" / f"{name}.toml").read_text("utf-8")))


@cache
def default_lifetimes() -> Mapping[str, str]:
    """How long each type of answer is kept unless the configuration says otherwise: durations as in a file."""
    found: Mapping[str, str] = tomllib.loads((shipped_folder() / "cache.toml").read_text("utf-8"))["ttl"]
    return found
