"""Which labels count, and which number they have."""

from __future__ import annotations

from enum import IntEnum

import pytest

from glasshive.errors import BpfError, ExhaustedError, UsageError
from glasshive.identity.labels import LabelFilter, relevant, security_labels
from glasshive.identity.reserved import ReservedIdentities
from glasshive.identity.table import IdentityTable, NumberChange
from glasshive.model.identity import CLUSTER_MAX, Identity
from glasshive.model.labels import Label, Labels


class GhIdentity(IntEnum):
    GH_IDENTITY_UNKNOWN = 0
    GH_IDENTITY_HOST = 1
    GH_IDENTITY_WORLD_IPV4 = 9
    GH_IDENTITY_CLUSTER_MIN = 256


@pytest.mark.parametrize(
    ("key", "counts"),
    [
        ("app", True),
        ("app.kubernetes.io/name", True),
        ("tier", True),
        ("pod-template-hash", False),
        ("controller-revision-hash", False),
        ("statefulset.kubernetes.io/pod-name", False),
        ("apps.kubernetes.io/pod-index", False),
        ("topology.kubernetes.io/zone", False),
        ("io.kubernetes.pod.namespace", True),
        ("beta.kubernetes.io/arch", False),
        ("foo.beta.kubernetes.io/arch", False),
        ("batch.kubernetes.io/controller-uid", False),
    ],
)
def test_labels_that_differ_between_replicas_do_not_count(key: str, counts: bool) -> None:
    assert relevant(key) is counts


def test_an_including_pattern_of_the_user_means_only_these() -> None:
    chosen = LabelFilter(["k8s:app$", "k8s:team"])
    assert chosen.relevant("app")
    assert chosen.relevant("team/name")
    assert not chosen.relevant("tier")
    assert not chosen.relevant("app", source="container")
    assert chosen.relevant("io.kubernetes.pod.namespace"), "the usual patterns stay"
    assert chosen.relevant("host", source="reserved")


def test_ignoring_patterns_only_take_away_and_the_longer_match_wins() -> None:
    chosen = LabelFilter(["!tier", "k8s:!owner"])
    assert not chosen.relevant("tier")
    assert not chosen.relevant("owner")
    assert chosen.relevant("app")
    longer = LabelFilter([r"pod-template-hash\.keep"])
    assert longer.relevant("pod-template-hash.keep")
    assert not longer.relevant("pod-template-hash")


@pytest.mark.parametrize("text", ["", "k8s:", "!", "("])
def test_a_pattern_that_is_none_is_refused_in_words(text: str) -> None:
    with pytest.raises(UsageError, match="labels: "):
        LabelFilter([text])


def test_replicas_have_one_identity_and_namespaces_tell_them_apart() -> None:
    first = security_labels({"app": "web", "pod-template-hash": "1"}, "default", cluster="hive")
    second = security_labels({"pod-template-hash": "2", "app": "web"}, "default", cluster="hive")
    other = security_labels({"app": "web"}, "prod", namespace_labels={"env": "prod"}, cluster="hive")
    assert first == second
    assert hash(first) == hash(second)
    assert first != other
    assert other.texts() == [
        "k8s:app=web",
        "k8s:io.cilium.k8s.namespace.labels.env=prod",
        "k8s:io.cilium.k8s.policy.cluster=hive",
        "k8s:io.cilium.k8s.policy.serviceaccount=default",
        "k8s:io.kubernetes.pod.namespace=prod",
    ]


def test_label_text_forms() -> None:
    assert Label.parse("k8s:app=web") == Label("k8s", "app", "web")
    assert Label.parse("reserved:host") == Label("reserved", "host")
    assert Label.parse("app=a:b") == Label("any", "app", "a:b")
    assert str(Label.parse("reserved:host")) == "reserved:host"
    labels = Labels.of(["k8s:b=2", "k8s:a=1", "k8s:b=3"])
    assert Labels.from_mapping(labels.to_mapping()) == labels
    assert labels.texts() == ["k8s:a=1", "k8s:b=3"]


def test_reserved_names_follow_the_c_enum() -> None:
    reserved = ReservedIdentities(GhIdentity)
    assert reserved.number("world-ipv4") == 9
    assert reserved.name(1) == "host"
    assert reserved.name(256) is None
    assert reserved.cluster_min == 256
    assert reserved.identities()[0] == Identity(1, Labels.of(["reserved:host"]))
    with pytest.raises(BpfError, match="make bpf"):
        ReservedIdentities(IntEnum("Empty", {}))


def test_the_lowest_number_of_equal_labels_counts() -> None:
    table, web = IdentityTable(), Labels.of(["k8s:app=web"])
    assert table.add(Identity(400, web)) == NumberChange(web, None, 400)
    assert table.add(Identity(400, web)) is None
    assert table.add(Identity(500, web)) is None
    assert table.add(Identity(300, web)) == NumberChange(web, 400, 300)
    assert table.remove(300) == NumberChange(web, 300, 400)
    assert table.remove(500) is None
    assert table.remove(400) == NumberChange(web, 400, None)
    assert table.number(web) is None


def test_candidates_are_the_same_on_every_node_and_skip_what_is_taken() -> None:
    web = Labels.of(["k8s:app=web"])
    first = next(IdentityTable().candidates(web, 256))
    assert 256 <= first <= CLUSTER_MAX
    assert next(IdentityTable().candidates(web, 256)) == first
    table = IdentityTable([Identity(first, Labels.of(["k8s:app=other"]))])
    assert next(table.candidates(web, 256)) == (first + 1 if first < CLUSTER_MAX else 256)


def test_a_full_range_says_so() -> None:
    table = IdentityTable(Identity(n, Labels.of([f"k8s:n={n}"])) for n in range(CLUSTER_MAX - 3, CLUSTER_MAX + 1))
    with pytest.raises(ExhaustedError, match="all 4 cluster identities"):
        next(table.candidates(Labels.of(["k8s:app=web"]), CLUSTER_MAX - 3))
