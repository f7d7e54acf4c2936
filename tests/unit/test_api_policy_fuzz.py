"""No object makes reading fail, and no text makes checking a file fail: whatever is wrong becomes a finding."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glasshive.api.policies import KINDS, parse
from glasshive.api.policy_file import check, report_lines
from glasshive.api.policy_lint import lint, selecting_nobody
from glasshive.api.policy_reading import Options
from glasshive.api.policy_status import status_of
from glasshive.model.labels import Labels

TEXTS = ["", "a", "app", "k8s:app", "reserved:host", "80", "99999", "http", "10.0.0.0/8", "::/0", "1.2.3.4", "TCP",
         "all", "world", "In", "Allow", "Deny", "Pass", "*.a.b", "{", "\u00e9\n"]  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 70000) | st.floats(allow_nan=False) | st.sampled_from(TEXTS),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), below, max_size=3),
    max_leaves=6,
)


@st.composite
def shaped(draw: Any, schema: Any, wrong: int = 40) -> Any:
    """A value that mostly fits the schema; one place in ``wrong`` is anything at all."""
    if draw(st.integers(0, wrong)) == wrong:
        return draw(ANYTHING)
    if "x-kubernetes-int-or-string" in schema:
        return draw(st.integers(0, 300) | st.sampled_from(TEXTS))
    match schema["type"]:
        case "object":
            return draw(_object(schema, wrong))
        case "array":
            return [draw(shaped(schema["items"], wrong)) for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2])))]
        case "boolean":
            return draw(st.booleans())
        case "integer":
            return draw(st.integers(schema.get("minimum", 0), schema.get("maximum", 70000)))
    return draw(st.sampled_from(schema.get("enum") or TEXTS))


@st.composite
def _object(draw: Any, schema: Any, wrong: int) -> Any:
    properties = schema.get("properties")
    if properties is None:
        return draw(st.dictionaries(st.sampled_from(TEXTS), st.sampled_from(TEXTS), max_size=2))
    names = set(draw(st.lists(st.sampled_from(sorted(properties)), max_size=3))) | set(schema.get("required", ()))
    return {name: draw(shaped(properties[name], wrong)) for name in sorted(names)}


@st.composite
def objects(draw: Any) -> Any:
    version, kind = draw(st.sampled_from(sorted(KINDS)))
    body = draw(_object(KINDS[version, kind].schema, 40))
    metadata = draw(st.sampled_from([{"name": "a"}, {"name": "default", "namespace": "shop"}, {}, None, {"name": 1}]))
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(objects(), st.booleans())
def test_reading_never_fails_and_changes_nothing(obj: Any, on: bool) -> None:
    before = copy.deepcopy(obj)
    parsed = parse(obj, options=Options(node_selectors=on, extended_protocols=on))
    policy = parsed.policy
    assert obj == before
    assert parse(obj, options=Options(node_selectors=on, extended_protocols=on)) == parsed
    assert parsed.valid == all(one.severity == "warning" for one in policy.findings)
    if not parsed.valid:
        assert policy.rules == policy.default_denies == ()
    assert all(one.message and "\n" not in repr(one.message) for one in policy.findings)
    assert all(rule.direction.value in rule.origin.section for rule in policy.rules)
    hash(policy)
    lint(policy)
    list(selecting_nobody(policy, lambda peer: peer.selects(Labels.of(["reserved:host"]))))
    assert status_of(obj if isinstance(obj["metadata"], dict) else {}, policy.findings, policy.rules, now="")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(objects())
def test_every_finding_of_a_file_has_a_line_of_it(obj: Any) -> None:
    text = json.dumps(obj, indent=1)
    last = text.count("\n") + 1
    for one in check([("f", text)]):
        assert all(1 <= finding.line <= last for finding in one.findings)
    assert all(line.startswith("f:") for line in report_lines(check([("f", text)])))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60) | ANYTHING.map(str))
def test_no_text_makes_checking_fail(text: str) -> None:
    list(report_lines(check([("f", text)])))
