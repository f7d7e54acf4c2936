"""The report as JUnit XML, which build servers read. Pure."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from glasshive.connectivity.values import Report, Row
from glasshive.model.check_result import Verdict


def to_junit(report: Report) -> str:
    """Return the XML text: a test case for each row, a failure with every path that failed."""
    counts = {
        "tests": len(report.rows),
        "failures": report.count(Verdict.FAIL),
        "errors": 0,
        "skipped": report.count(Verdict.SKIPPED),
    }
    attributes = {key: str(value) for key, value in counts.items()} | {"time": f"{report.seconds:.3f}"}
    root = Xml.Element("testsuites", attributes)
    suite = Xml.SubElement(root, "testsuite", attributes | {"name": f"connectivity of {report.cluster}"})
    for row in report.rows:
        suite.append(_case(row))
    Xml.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    """Return the text without control characters, which XML cannot hold."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)


def _case(row: Row) -> Xml.Element:
    group, _, name = row.test.partition("/")
    case = Xml.Element("testcase", {"classname": group, "name": name or group, "time": f"{row.seconds:.3f}"})
    if row.verdict is Verdict.SKIPPED:
        Xml.SubElement(case, "skipped", {"message": _clean(row.detail)})
    elif row.verdict is Verdict.FAIL:
        failure = Xml.SubElement(case, "failure", {"message": _clean(row.detail)})
        failure.text = _clean("\n".join(f"{p.source} -> {p.target}: {p.problem}" for p in row.paths if p.problem))
    return case
