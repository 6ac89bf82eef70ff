"""Templates of rules: what they can do, and that none of them takes the processor, the memory or more than it is given."""

import pytest

from flexportd.notify.rule_template import MAX_OUTPUT, TemplateError, check_template, render_template

VARIABLES = {
    "title": "ETA slipped",
    "lines": [
        {"label": "FLEX-1", "texts": ["a", "b"], "severity": "critical", "url": None, "shipment_id": 1},
        {"label": "FLEX-2", "texts": [], "severity": "notice", "url": None, "shipment_id": 2},
    ],
    "message": {"topic": "shipment.eta_changed", "items": 3},
    "shipment": {"id": 1, "name": "Jackets", "incoterm": None},
    "exception": None,
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ title }}: {{ shipment.name|upper }}{{ shipment.incoterm }}", "ETA slipped: JACKETS"),
        ("{% for line in lines %}{{ loop.index }} {{ line.label }} {{ line.texts|join('; ') }}\n{% endfor %}", "1 FLEX-1 a; b\n2 FLEX-2 \n"),
        ("{{ lines|selectattr('severity', 'eq', 'critical')|map(attribute='label')|join(', ') }}", "FLEX-1"),
        ("{{ message.items }} {{ shipment.get('name') }} {{ 'a' ~ 1 ~ none }}", "3 Jackets a1"),
        ("{{ 2 * 3 + 7 % 4 }} {{ 1.256|round(2) }} {{ 'x' + 'y' }}", "9 1.26 xy"),
        ("{% set n = namespace(x=0) %}{% for i in range(5) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", "10"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m('a') }}{{ nothing|default('b') }}", "<a>b"),
        ("{{ exception.kind if exception else 'none' }} {{ title.split(' ')|last }}", "none slipped"),
        ("{% if true %}\na\n{% endif %}\nb", "a\nb"),
    ],
)  # fmt: skip
def test_a_template_makes_a_text(source, text):
    assert render_template(source, VARIABLES) == text
    check_template(source) if "nothing" not in source else None


DOUBLED = "{% set x = 'xxxxxxxx' %}"


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in range(900) %}{% for b in range(900) %}{% set x %}{{ 'y' }}{% endset %}{% endfor %}{% endfor %}",
        "{% for a in range(1000) %}{% set x %}{% for b in range(100) %}" + "y" * 10000 + "{% endfor %}{% endset %}{% endfor %}",
        "{{ range(1000000000)|list }}",
        "{{ 'x' * 1000000000 }}",
        "{{ [1] * 1000000000 }}",
        "{{ 10 ** 10 ** 8 }}",
        "{% set x = 999999999 %}" + "{% set x = x * x %}" * 40 + "{{ x }}",
        DOUBLED + "{% set x = x ~ x %}" * 40,
        DOUBLED + "{% set x = x + x %}" * 40,
        DOUBLED + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
        DOUBLED + "{% set x = x|replace('x', 'xx') %}" * 40,
        DOUBLED + "{% set x = [x, x]|join %}" * 40,
        DOUBLED + "{% set x = lines|join(x, attribute='label') ~ x %}" * 40,
        "{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}",
        "{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x|string }}",
        "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ 'x'['center'](1000000000) }}",
        "{{ (1).to_bytes(1000000000, 'big') }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ lines.append(1) }}",
        "{{ shipment.update({'id': 2}) }}",
        "{% include 'mail.html' %}",
        "{{ shipment.nmae }}",
        "{{ 1 / 0 }}",
        "{% if %}",
        "{{ title|uper }}",
        "{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}",
        "{% for a in range(3) %}" * 30 + "{% endfor %}" * 30,
        "{{ " + "9" * 5000 + " }}",
        "x" * 70_000,
        "{% for a in range(1000) %}" + "x" * 200 + "{% endfor %}",
        "{% set t = '" + "a," * 5000 + "' %}{% for a in range(100) %}{% if t.split(',') %}{% endif %}{% endfor %}",
    ],
    ids=lambda source: source[:40],
)  # fmt: skip
def test_a_template_that_fails_or_never_ends_is_an_error_of_one_line(source):
    with pytest.raises(TemplateError) as caught:
        render_template(source, VARIABLES)
    assert str(caught.value).isprintable()
    if source.startswith(DOUBLED):
        assert "too much work" in str(caught.value)
    assert VARIABLES["shipment"]["id"] == 1


def test_a_text_as_long_as_allowed_is_rendered():
    repeated = "{% for a in range(64) %}" + "x" * 1024 + "{% endfor %}"
    assert len(render_template(repeated, {})) == MAX_OUTPUT


def test_an_error_names_the_line_and_the_nearest_variable():
    with pytest.raises(TemplateError, match="line 3 of the template: 'dict object' has no attribute 'nmae'"):
        render_template("a\n\n{{ shipment.nmae }}", VARIABLES)
    with pytest.raises(TemplateError, match="there is no variable 'shipmnt'; did you mean 'shipment'"):
        check_template("{{ shipmnt.name }}")
    with pytest.raises(TemplateError, match="line 2 of the template: No filter named 'uper'"):
        check_template("\n{{ title|uper }}")
