"""Break and mend: a policy names the version, so every rollout makes identities that it does not mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glasshive.lab import doors
from glasshive.lab.checks import probe
from glasshive.lab.checks.outcome import bad, good
from glasshive.lab.checks.probe import Probe, both_families
from glasshive.lab.draw import Draw
from glasshive.lab.task import Check, Given, Hint, Mutant, Task
from glasshive.lab.tasks.identity_not_ip import looks
from glasshive.model.check_result import CheckResult

if TYPE_CHECKING:
    from glasshive.lab.grading.reader import ClusterReader
    from glasshive.lab.kit import Lab

_KEY = "version"


def draw(seed: Draw) -> dict[str, Any]:
    """Who serves whom, which versions run, and who else has the newest of them."""
    crew, first = seed.name(), seed.integer(1, 6)
    return {
        "server": f"depot-{seed.name()}", "crew": crew, "old": f"v{first}", "new": f"v{first + 1}",
        "old_pod": f"{crew}-v{first}", "new_pod": f"{crew}-v{first + 1}", "plain_pod": f"{crew}-dev",
        "other": seed.name(),
    }  # fmt: skip


def labels(given: Given) -> dict[str, dict[str, str]]:
    """Labels of all who ask, by name. The last one is not of the crew, and has the newest version."""
    crew = {"app": given["crew"]}
    return {
        given["old_pod"]: {**crew, _KEY: given["old"]},
        given["new_pod"]: {**crew, _KEY: given["new"]},
        given["plain_pod"]: crew,
        given["other"]: {"app": given["other"], _KEY: given["new"]},
    }


def crew(given: Given) -> list[str]:
    """Those who are to be let in."""
    return [given["old_pod"], given["new_pod"], given["plain_pod"]]


def setup(lab: Lab, given: Given) -> None:
    """A server whose door names the old version."""
    lab.pod(given["server"], node="node2")
    for at, (name, mine) in enumerate(labels(given).items()):
        lab.pod(name, node=f"node{at % 3 + 1}", labels=mine)
    lab.policy(door(given, {"app": given["crew"], _KEY: given["old"]}))


def door(given: Given, *guests: dict[str, Any]) -> dict[str, Any]:
    """The policy, for these guests."""
    return doors.door(f"{given['server']}-door", given["server"], *guests)


def ready(reader: ClusterReader, given: Given) -> CheckResult:
    """Only the old version gets in."""
    out = [Probe(name, given["server"]) for name in labels(given) if name != given["old_pod"]]
    return probe.denied(reader, out, otherwise=[Probe(given["old_pod"], given["server"])])


def reach(reader: ClusterReader, given: Given) -> CheckResult:
    """All of the crew are let in."""
    ways = both_families(*(Probe(name, given["server"]) for name in crew(given)))
    return probe.allowed(reader, ways, why="they are one crew, whatever their version", read="lab.why")


def as_were(reader: ClusterReader, given: Given) -> CheckResult:
    """Pods have the labels that they had: a version that is lied about helps nobody."""
    return looks.labels_are(reader, labels(given))


def strangers(reader: ClusterReader, given: Given) -> CheckResult:
    """Nobody else gets in, and nobody at another port."""
    out = both_families(Probe(given["other"], given["server"]))
    out += [Probe(given["new_pod"], given["server"], port=doors.ECHO, protocol="tcp")]
    way = [Probe(given["new_pod"], given["server"])]
    return probe.denied(reader, out, otherwise=way, why="the crew was to be let in, at the port that it needs")


def timeless(reader: ClusterReader, given: Given) -> CheckResult:
    """No rule asks for a version any more, so the next rollout changes nothing."""
    pod = reader.pod(given["server"])
    selectors = reader.ask(pod.node, "/v1/policy/selectors") if pod and pod.node else []
    texts = [str(row["selector"]) for row in selectors if f"namespace={reader.namespace}" in row["selector"]]
    named = [text for text in texts if f":{_KEY}" in text]
    if named:
        why = "the next version makes an identity that nobody has thought of"
        return bad(f"a rule asks for {_asked(named[0])}", "no rule that asks for a version", why=why, state="version")
    return good("no rule asks for a version")


def _asked(selector: str) -> str:
    """A selector without the namespace, which is that of all rules here."""
    return " ".join(part for part in selector.split() if "namespace=" not in part)


def with_the_kit(lab: Lab, given: Given) -> None:
    """The door asks who somebody is, and not which version: one rule for identities that are there and to come."""
    lab.policy(door(given, {"app": given["crew"]}))


def with_kubectl(lab: Lab, given: Given) -> None:
    """The same as a change of one place: take the version out."""
    path = f"/spec/ingress/0/fromEndpoints/0/matchLabels/{_KEY}"
    patch = f'[{{"op": "remove", "path": "{path}"}}]'
    lab.kubectl("patch", "ciliumnetworkpolicy", f"{given['server']}-door", "--type=json", f"--patch={patch}")


def one_version_more(lab: Lab, given: Given) -> None:
    """The new version was added to the old one: who has none stays out, and so will the next."""
    lab.policy(door(given, *({"app": given["crew"], _KEY: given[one]} for one in ("old", "new"))))


def everybody(lab: Lab, given: Given) -> None:
    """Whoever is in the namespace gets in."""
    lab.policy(door(given, {}))


def no_door(lab: Lab, given: Given) -> None:
    """Nothing is refused any more, because nothing is enforced."""
    lab.no_policy(f"{given['server']}-door")


def lied_about(lab: Lab, given: Given) -> None:
    """The pods claim to be the old version."""
    for name in crew(given):
        lab.relabel(name, **{_KEY: given["old"]})


ROLLOUT = Task(
    id="rollout",
    title="Mend what a rollout broke",
    points=40,
    text="Since the rollout, {server} refuses the crew's new pods: {old_pod} is let in, {new_pod} and {plain_pod} are "
    "not. Mend it for every version there will be. {other}, which is not of the crew, stays out, and so does whatever "
    "is not for port 8080. The pods stay as they are.",
    draw=draw,
    setup=setup,
    ready=ready,
    checks=(
        Check("reach", "all of the crew are let in", 25, "probe", reach),
        Check("as-were", "pods have the labels that they had", 25, "invariant", as_were, needs=("reach",)),
        Check("strangers", "nobody else gets in", 40, "probe", strangers, needs=("as-were",), negative=True),
        Check("timeless", "no rule asks for a version", 10, "state", timeless, needs=("strangers",)),
    ),
    hints=(
        Hint(
            "reach",
            (
                "They have labels, and so identities, that the policy does not mean. Which label differs?",
                'print(lab.why("{new_pod}", "{server}", "8080/TCP")) says what nearly matched.',
                "app={crew} alone means all of them: take the version out of {server}-door.",
            ),
        ),
        Hint(
            "as-were",
            (
                "The pods were to stay as they are, and somebody has other labels now.",
                "lab.identities() shows who has which labels.",
                "Give them their labels back with lab.relabel, and mend the policy instead.",
            ),
        ),
        Hint(
            "strangers",
            (
                "The crew gets in, and so does somebody else, or at another port.",
                'lab.policy_view("{server}") shows every row that lets somebody in.',
                "A rule needs both: fromEndpoints with app={crew}, and toPorts with 8080/TCP.",
            ),
        ),
        Hint(
            "timeless",
            (
                "It works today. What happens with the next version?",
                "A rule that lists versions has to be changed with every rollout.",
                "Ask for app={crew}, and for no version at all.",
            ),
        ),
    ),
    solutions=(with_the_kit, with_kubectl),
    mutants=(
        Mutant(everybody, caught_by="strangers"),
        Mutant(one_version_more, caught_by="reach"),
        Mutant(no_door, caught_by="strangers"),
        Mutant(lied_about, caught_by="as-were"),
    ),
)
