"""From a view-model to the bytes of a page."""

import functools
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2

from flexportd.expose.dashboard.assets import assets
from flexportd.expose.dashboard.view.alerts import Banner
from flexportd.expose.security.csrf import TOKEN_FIELD

_POST_FORM = re.compile(r'<form\b[^>]*\bmethod="post"[^>]*>')
_WITH_TOKEN = rf'\g<0><input type="hidden" name="{TOKEN_FIELD}" value="{{{{ frame.form_token }}}}">'


@dataclass(frozen=True, slots=True)
class DemoClock:
    """The clock of a demo: when its world began to move, by this machine, and how many times faster it goes."""

    started: str
    speed: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands around every page; `section` is the part of the navigation that it belongs to.

    `badge` is shown while something needs a person; `exceptions` is how many are open, and `is_bad` whether any of them
    is critical. `failed` is how many items of the queue failed permanently. `form_token` goes into every form that
    changes something. `is_customer`: it is seen with a key for some shipments only. `simulated` is set in a demo.
    """

    site: str
    section: str
    zone: str
    version: str
    badge: Banner | None = None
    exceptions: str = ""
    is_bad: bool = False
    failed: str = ""
    form_token: str = ""
    is_customer: bool = False
    simulated: DemoClock | None = None


@functools.cache
def environment() -> jinja2.Environment:
    """The templates, read and compiled once."""
    folder = files(__package__) / "templates"
    sources = {
        file.name: _POST_FORM.sub(_WITH_TOKEN, file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".html")
    }
    made = jinja2.Environment(
        loader=jinja2.DictLoader(sources),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["assets"] = {name: asset.url for name, asset in assets().items()}
    for name in sources:
        made.get_template(name)
    return made


def render(template: str, frame: Layout, page: Any) -> bytes:
    """The page as UTF-8."""
    return environment().get_template(template).render(frame=frame, page=page).encode()


def render_standalone(template: str, page: Any) -> bytes:
    """A page without the navigation, for those who see nothing else."""
    return environment().get_template(template).render(page=page).encode()
