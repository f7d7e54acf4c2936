"""The zone against a small model: a dictionary of groups, searched from end to end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glasshive.dns.zone import Found, Zone

ORIGINS = ("c.l", "arpa")
LABELS = st.sampled_from("abc")
NAMES = st.builds(
    lambda labels, origin: ".".join([*labels, origin]), st.lists(LABELS, max_size=3), st.sampled_from(ORIGINS)
)
TYPES = st.sampled_from(["A", "SRV", "PTR"])
DATA = st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=2, unique=True).map(tuple)
RECORDS = st.dictionaries(NAMES, st.dictionaries(TYPES, DATA, max_size=2), max_size=3)
CHANGES = st.lists(st.tuples(st.sampled_from(["g1", "g2", "g3"]), RECORDS), max_size=12)


def model_look_up(groups, name, type_):
    exists = name in ORIGINS or any(n == name or n.endswith(f".{name}") for records in groups.values() for n in records)
    found = []
    for records in groups.values():
        found += [item for item in records.get(name, {}).get(type_, ()) if item not in found]
    return exists, sorted(found)


@given(CHANGES, st.lists(st.tuples(NAMES, TYPES), min_size=1, max_size=20))
def test_zone_is_the_model(changes, questions):
    zone, groups = Zone(ORIGINS, {}), {}
    for group, records in changes:
        before = zone.serial
        assert zone.put(group, records) == (groups.get(group, {}) != records)
        assert (zone.serial > before) == (groups.get(group, {}) != records)
        groups[group] = records
    for name, type_ in questions:
        exists, data = model_look_up(groups, name, type_)
        found = zone.look_up(name, type_)
        assert (found.exists, sorted(found.data)) == (exists, data)
    for group in groups:
        zone.put(group, {})
    assert len(zone) == 0
    assert zone._below == {}
    assert zone.look_up("a.c.l", "A") == Found(False)


def test_origin_is_the_innermost():
    zone = Zone(["cluster.local", "96.10.in-addr.arpa"], {})
    assert zone.origin("a.b.cluster.local") == "cluster.local"
    assert zone.origin("1.0.96.10.in-addr.arpa") == "96.10.in-addr.arpa"
    assert zone.origin("1.0.97.10.in-addr.arpa") is None
    assert zone.origin("xcluster.local") is None
    assert Zone([""], {}).origin("anything.at.all") == ""


def test_alias():
    zone = Zone(["l"], {"a.l": {"CNAME": ("B.example.",)}})
    assert zone.look_up("a.l", "AAAA") == Found(True, (), "b.example")
    assert zone.look_up("a.l", "CNAME") == Found(True, ("B.example.",))
