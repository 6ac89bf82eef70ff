"""Jinja templates: a view model in, the bytes of a page out."""

import functools
import re
from importlib.resources import files
from typing import Any

import jinja2

from flexportd.expose.dashboard.assets import assets
from flexportd.expose.security.csrf import TOKEN_FIELD

_POST_FORM = re.compile(r'<form\b[^>]*\bmethod="post"[^>]*>')
_WITH_TOKEN = rf'\g<0><input type="hidden" name="{TOKEN_FIELD}" value="{{{{ layout.form_token }}}}">'


@functools.cache
def environment() -> jinja2.Environment:
    """The templates, read and compiled once. Every form that changes something gets the hidden token field."""
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


def render(template: str, page: Any, layout: Any = None) -> bytes:
    """The page as UTF-8. Pages of share links and the API reference have no layout: they have no navigation."""
    return environment().get_template(template).render(layout=layout, page=page).encode()
