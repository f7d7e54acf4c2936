"""Validation of what makes pods: deployments, replica sets, daemon sets, stateful sets, jobs."""

from __future__ import annotations

from typing import Any

from glasshive.api.cron import parse, zone_of
from glasshive.api.selectors import matches, of_label_selector
from glasshive.errors import UsageError

from . import meta
from .status import FieldError, bad_value, required, unsupported
from .validate_pod import one_of, spec_errors

Object = dict[str, Any]
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def selector_errors(selector: Any, place: str) -> list[FieldError]:
    """Faults of a LabelSelector."""
    if not isinstance(selector, dict):
        return []
    found = meta.label_errors(selector.get("matchLabels") or {}, f"{place}.matchLabels")
    for at, rule in enumerate(selector.get("matchExpressions") or []):
        here = f"{place}.matchExpressions[{at}]"
        operator, values = rule.get("operator"), rule.get("values")
        found += meta.label_errors({rule.get("key", ""): ""}, f"{here}.key")
        if operator not in _OPERATORS:
            found.append(unsupported(f"{here}.operator", operator, _OPERATORS))
        elif operator in {"In", "NotIn"} and not values:
            found.append(required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in {"Exists", "DoesNotExist"} and values:
            found.append(bad_value(f"{here}.values", values, "may not be specified when `operator` needs none"))
    return found


def not_negative(spec: Object, *names: str) -> list[FieldError]:
    """Faults of numbers that may not be negative."""
    return [
        bad_value(f"spec.{name}", spec[name], "must be greater than or equal to 0")
        for name in names
        if isinstance(spec.get(name), int) and spec[name] < 0
    ]


def _template(spec: Object, restart: tuple[str, ...], place: str = "spec.template") -> list[FieldError]:
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    pod = template.get("spec") or {}
    found = meta.label_errors(labels, f"{place}.metadata.labels") + spec_errors(pod, f"{place}.spec")
    if pod.get("restartPolicy") not in restart:
        found.append(unsupported(f"{place}.spec.restartPolicy", pod.get("restartPolicy"), restart))
    return found


def _selected(spec: Object) -> list[FieldError]:
    selector = spec.get("selector")
    found = selector_errors(selector, "spec.selector")
    if found:
        return found
    if not of_label_selector(selector):
        return [bad_value("spec.selector", selector, "empty selector is invalid for this kind")]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if spec.get("template") and not matches(of_label_selector(selector), labels):
        return [bad_value("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")]
    return []


def _kept(spec: Object, old: Object | None, *names: str) -> list[FieldError]:
    before = (old or {}).get("spec") or {}
    return [
        bad_value(f"spec.{name}", spec.get(name), "field is immutable")
        for name in names
        if old is not None and spec.get(name) != before.get(name)
    ]


def deployment(obj: Object, old: Object | None) -> list[FieldError]:
    """Faults of a Deployment."""
    spec = obj["spec"]
    found = not_negative(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    found += _selected(spec) + _template(spec, ("Always",)) + _kept(spec, old, "selector")
    found += one_of("spec.strategy.type", spec["strategy"].get("type"), ("Recreate", "RollingUpdate"))
    rolling = spec["strategy"].get("rollingUpdate") or {}
    if rolling.get("maxSurge") in {0, "0", "0%"} and rolling.get("maxUnavailable") in {0, "0", "0%"}:
        text = "may not be 0 when `maxSurge` is 0"
        found.append(bad_value("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], text))
    return found


def replica_set(obj: Object, old: Object | None) -> list[FieldError]:
    """Faults of a ReplicaSet."""
    spec = obj["spec"]
    found = not_negative(spec, "replicas", "minReadySeconds") + _selected(spec) + _kept(spec, old, "selector")
    return found + _template(spec, ("Always",))


def daemon_set(obj: Object, old: Object | None) -> list[FieldError]:
    """Faults of a DaemonSet."""
    spec = obj["spec"]
    found = not_negative(spec, "minReadySeconds", "revisionHistoryLimit") + _selected(spec)
    found += one_of("spec.updateStrategy.type", spec["updateStrategy"].get("type"), ("RollingUpdate", "OnDelete"))
    return found + _template(spec, ("Always",)) + _kept(spec, old, "selector")


def stateful_set(obj: Object, old: Object | None) -> list[FieldError]:
    """Faults of a StatefulSet."""
    spec = obj["spec"]
    found = not_negative(spec, "replicas", "minReadySeconds", "revisionHistoryLimit") + _selected(spec)
    found += one_of("spec.podManagementPolicy", spec.get("podManagementPolicy"), ("OrderedReady", "Parallel"))
    kept = ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates")
    return found + _template(spec, ("Always",)) + _kept(spec, old, *kept)


def job(obj: Object, old: Object | None) -> list[FieldError]:
    """Faults of a Job."""
    spec = obj["spec"]
    found = not_negative(spec, "parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished")
    found += _template(spec, ("OnFailure", "Never"))
    return found + _kept(spec, old, "selector", "template", "completionMode")


def cron_job(obj: Object, _: Object | None) -> list[FieldError]:
    """Faults of a CronJob."""
    spec = obj["spec"]
    found = not_negative(spec, "successfulJobsHistoryLimit", "failedJobsHistoryLimit", "startingDeadlineSeconds")
    try:
        zone_of(spec.get("timeZone") or "")
    except UsageError as error:
        found.append(bad_value("spec.timeZone", spec["timeZone"], str(error)))
    try:
        parse(spec["schedule"])
    except UsageError as error:
        found.append(bad_value("spec.schedule", spec["schedule"], str(error)))
    found += one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"))
    job_spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return found + _template(job_spec, ("OnFailure", "Never"), "spec.jobTemplate.spec.template")
