"""Recording rules and alerts: `rule_files` has them all."""

from __future__ import annotations

from deploy.rules.alerts_samples import drift_alerts, outlier_alerts, urgent_alerts, watching_alerts
from deploy.rules.alerts_serving import burn_alerts, replica_alerts
from deploy.rules.evidence import evidence_rules
from deploy.rules.replicas import replica_rules
from deploy.rules.requests import request_rules
from deploy.rules.rule import Group, Rule, rule_file
from deploy.rules.statistics import class_rules, feature_rules, input_rules, output_rules, reference_rules
from deploy.rules.training import training_rules
from deploy.windows import BLOCK, REPLICA_BLOCK, SCRAPE, Times, duration


def rule_groups(times: Times) -> dict[str, list[Group]]:
    """The groups of each rule file, by the file's name. Alerts on records are in these records' group, and so looked at
    as soon as they are new."""
    minute, scrape = times.text(BLOCK), duration(times.scrape)
    samples: list[Rule] = [
        *reference_rules(),
        *output_rules(times),
        *feature_rules(times),
        *input_rules(times),
        *class_rules(times),
        *evidence_rules(times),
        *drift_alerts(times),
    ]
    return {
        "serving.rules.yml": [Group("latentserve-requests", minute, [*request_rules(times), *burn_alerts(times)])],
        "samples.rules.yml": [
            Group("latentserve-samples", minute, samples),
            Group("latentserve-replicas", times.text(REPLICA_BLOCK), [*replica_rules(times), *outlier_alerts()]),
        ],
        "alerts.rules.yml": [
            Group("latentserve-alerts", scrape, [*urgent_alerts(times), *replica_alerts(times)]),
            Group("latentserve-watching", minute, [*watching_alerts(times)]),
        ],
        "training.rules.yml": [Group("latentserve-training", duration(SCRAPE), [*training_rules()])],
    }


def rule_files(times: Times, runbooks: str) -> dict[str, str]:
    """The content of each rule file, by its name. `runbooks`: where the pages that alerts link to are."""
    return {name: rule_file(groups, runbooks) for name, groups in rule_groups(times).items()}
