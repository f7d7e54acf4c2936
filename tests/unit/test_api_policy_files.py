"""``glasshive policy validate``: findings with the line of the field, exit statuses, JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

import goldens
from glasshive import cli
from glasshive.api.policy_file import check, load, report_lines

FOLDER = Path(__file__).parent / "policies"
GOOD = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: good}
spec: {podSelector: {}, ingress: [{}]}
"""


def lines(text: str) -> list[str]:
    return list(report_lines(check([("f.yaml", text)])))


@pytest.mark.parametrize("name", ["cilium", "kubernetes", "admin", "odd"])
def test_golden_reports(name, capsys, monkeypatch):
    monkeypatch.chdir(FOLDER)
    status = cli.main(["policy", "validate", f"{name}.yaml"])
    shown = capsys.readouterr()
    goldens.check(f"policy-validate-{name}", f"{shown.out}{shown.err}exit status {status}\n")


def test_exit_statuses(tmp_path, capsys, monkeypatch):
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "warned.yaml").write_text(GOOD + "---\n" + GOOD.replace("[{}]", "[{}, {}]"))
    (tmp_path / "bad.json").write_text(json.dumps({"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy"}))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["policy", "validate", "good.yaml"]) == 0
    assert capsys.readouterr() == ("", "1 object checked, 0 errors, 0 warnings\n")
    assert cli.main(["policy", "validate", "warned.yaml"]) == 0
    assert capsys.readouterr().out == "warned.yaml:9: warning: spec.ingress[1]: says the same as spec.ingress[0]\n"
    assert cli.main(["policy", "validate", "."]) == 1
    assert "bad.json:1: error: metadata.name: is missing, must be text\n" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(GOOD.replace("ingress", "ingres")))
    assert cli.main(["policy", "validate", "-"]) == 1
    assert capsys.readouterr().out.startswith("-:4: error: spec.ingres: unknown field 'ingres': did you mean ingress")


def test_what_cannot_be_read_is_one_line(tmp_path, capsys):
    assert cli.main(["policy", "validate", str(tmp_path / "nope.yaml")]) == 2
    assert capsys.readouterr().err.endswith("nope.yaml: cannot be read: No such file or directory\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    assert cli.main(["policy", "validate", str(tmp_path)]) == 2
    assert "is not text" in capsys.readouterr().err
    (tmp_path / "binary.yaml").write_text("apiVersion: v1\nkind: Pod\n")
    assert cli.main(["policy", "validate", str(tmp_path)]) == 2
    assert "no policy in there (nothing was checked)" in capsys.readouterr().err


def test_json(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text(GOOD + "---\n" + GOOD.replace("podSelector", "podSelektor"))
    assert cli.main(["policy", "validate", "-o", "json", str(tmp_path / "a.yaml")]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert (first["kind"], first["namespace"], first["name"], first["rules"], first["valid"]) == (
        "NetworkPolicy", "default", "good", 1, True,
    )  # fmt: skip
    assert (second["line"], second["valid"], second["rules"]) == (6, False, 0)
    assert second["findings"] == [
        {
            "severity": "error",
            "line": 9,
            "path": "spec.podSelektor",
            "message": "unknown field 'podSelektor': did you mean podSelector?",
        }
    ]


def test_yaml_that_is_none():
    assert lines("a: [1\nb: 2\n")[0].startswith("f.yaml:2: error: is not YAML: ")
    assert lines("- 1\n") == ["f.yaml:1: error: is not an object with apiVersion and kind: [1]"]
    # What came before the fault is still checked.
    assert [one.partition(": ")[0] for one in lines(GOOD.replace("{},", "[],") + "---\n\t")] == ["f.yaml:6", "f.yaml:4"]


def test_scalars_are_what_kubectl_takes_them_for():
    def refused(value: str) -> list[str]:
        return [
            one.partition("[app]: ")[2] for one in lines(GOOD.replace("{},", f"{{matchLabels: {{app: {value}}}}},"))
        ]

    assert [refused(text) for text in ("2026-01-01", "yo", "~", "1_a")] == [[], [], [], []]
    for text in ("y", "N", "on", "true"):
        assert refused(text) == ["must be text, is true or false: put it in quotes"]
    assert refused("010") == ['must be text, is a number: write "8" in quotes']
    assert refused("1.5") == ['must be text, is a fraction: write "1.5" in quotes']
    assert refused("'1:30'") == refused("1:30") == ["'1:30' is not a label value"]


def test_fields_given_twice():
    assert lines(f"{GOOD}kind: NetworkPolicy\n") == ["f.yaml:5: error: kind: is given twice"]


def test_anchors_merges_and_lists():
    text = """\
apiVersion: v1
kind: List
items:
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: a}
  spec: &spec
    podSelector: {matchLabels: {app: -x}}
    ingress: [{}]
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: b}
  spec:
    <<: *spec
    ingress:
    - ports:
      - port: 0
"""
    assert lines(text) == [
        "f.yaml:8: error: spec.podSelector.matchLabels[app]: '-x' is not a label value",
        "f.yaml:8: error: spec.podSelector.matchLabels[app]: '-x' is not a label value",
        "f.yaml:17: error: spec.ingress[0].ports[0].port: port 0 is out of range (1 to 65535)",
    ]


def test_an_anchor_that_holds_itself():
    text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: &a {podSelector: *a}\n"
    assert lines(text) == ["f.yaml:4: error: spec.podSelector.podSelector: unknown field 'podSelector'"]


def test_other_objects_in_the_files_are_looked_up():
    policy = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: a, namespace: shop}
spec:
  endpointSelector: {}
  egress:
  - toServices:
    - k8sService: {serviceName: db}
  - toCIDRSet:
    - cidrGroupRef: office
"""
    others = """\
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {ports: [{port: 1}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints: [{addresses: [192.0.2.1]}]
---
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: office}
spec: {externalCIDRs: [10.1.0.0/16]}
"""
    alone = check([("a.yaml", policy)])
    assert [one.line for one in alone[0].findings] == [8, 10]
    both = check([("a.yaml", policy), ("b.yaml", others)])
    assert [one.findings for one in both] == [(), ()]
    peers = [str(peer.prefix) for rule in both[0].policy.rules for peer in rule.peers]
    assert peers == ["192.0.2.1/32", "10.1.0.0/16"]


def test_lines_of_paths():
    (doc,) = load("a:\n  b:\n  - c: 1\n  - {d.e/f: x}\n")[0]
    assert [doc.line(path) for path in ("", "a", "a.b[0]", "a.b[0].c", "a.b[1][d.e/f]", "a.b[1].no", "a.b[9]")] == [
        1, 1, 3, 3, 4, 4, 2,
    ]  # fmt: skip
