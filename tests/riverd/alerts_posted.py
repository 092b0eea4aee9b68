"""What Alertmanager posts to a webhook."""

STARTED = "2026-11-27T08:00:00.123456789Z"
STARTED_US = 1_795_766_400_123_457


def alert(name="SalesFell", *, fingerprint="8c1f0e6a5d3b2947", status="firing", started=STARTED):
    return {
        "status": status,
        "labels": {"alertname": name, "severity": "warning"},
        "annotations": {"summary": "orders are down by half"},
        "startsAt": started,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=1",
        "fingerprint": fingerprint,
    }


def payload(*alerts, version="4"):
    return {
        "version": version,
        "groupKey": '{}:{alertname="SalesFell"}',
        "truncatedAlerts": 0,
        "status": "firing" if any(each["status"] == "firing" for each in alerts) else "resolved",
        "receiver": "riverd",
        "groupLabels": {"alertname": "SalesFell"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
    }
