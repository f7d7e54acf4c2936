"""Label and field selectors against a plain reading of their rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshive.api.selectors import matches, of_label_selector, parse_fields, parse_labels, to_text
from glasshive.errors import UsageError

KEYS = st.sampled_from(["a", "app.io/tier", "in", "notin", "x-1"])
VALUES = st.sampled_from(["", "1", "5", "web", "a.b_c"])
LABELS = st.dictionaries(KEYS, VALUES, max_size=4)


def holds(kind: str, key: str, values: list[str], labels: dict[str, str]) -> bool:
    have = labels.get(key)
    return {
        "=": have == values[0],
        "==": have == values[0],
        "!=": have != values[0],
        "in": have in values,
        "notin": have not in values,
        "exists": key in labels,
        "!": key not in labels,
    }[kind]


def text(kind: str, key: str, values: list[str]) -> str:
    if kind in {"in", "notin"}:
        return f"{key} {kind} ({', '.join(values)})"
    return {"exists": key, "!": "!" + key}.get(kind, f"{key}{kind}{values[0]}")


RULES = st.lists(
    st.tuples(
        st.sampled_from(["=", "==", "!=", "in", "notin", "exists", "!"]), KEYS, st.lists(VALUES, min_size=1, max_size=3)
    ),
    max_size=4,
)


@given(rules=RULES, labels=LABELS)
def test_labels_equal_plain_reading(rules: list, labels: dict) -> None:
    selector = parse_labels(",".join(text(*rule) for rule in rules))
    expected = all(holds(*rule, labels) for rule in rules)
    assert matches(selector, labels) == expected
    assert matches(parse_labels(to_text(selector)), labels) == expected


@given(labels=st.dictionaries(KEYS, VALUES, max_size=3), more=LABELS)
def test_match_labels_are_equalities(labels: dict, more: dict) -> None:
    assert matches(of_label_selector({"matchLabels": labels}), more) == (labels.items() <= more.items())


@pytest.mark.parametrize(("written", "labels", "expected"), [
    ("a>4", {"a": "5"}, True), ("a>5", {"a": "5"}, False), ("a<6", {"a": "5"}, True), ("a<6", {"a": "x"}, False),
    ("a<6", {}, False), (" a = 1 , ! b ", {"a": "1"}, True), ("a in ()", {"a": ""}, True),
])  # fmt: skip
def test_written_forms(written: str, labels: dict, expected: bool) -> None:
    assert matches(parse_labels(written), labels) is expected


@pytest.mark.parametrize("written", ["a=b=c", "=b", "a in b", "a in (b", "a,", "a>x", "a=b c", "-a", "a/b/c"])
def test_unreadable_label_selectors(written: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_labels(written)
    assert "selector" in str(caught.value)


def test_fields() -> None:
    fields = {"spec.nodeName": "n1", "metadata.name": "a,b=c"}
    assert matches(parse_fields(r"spec.nodeName=n1,metadata.name==a\,b\=c"), fields)
    assert not matches(parse_fields("spec.nodeName!=n1"), fields)
    with pytest.raises(UsageError):
        parse_fields("spec.nodeName")
