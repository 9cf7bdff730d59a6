"""Prints docs/reference/metrics.md, made from the one list of what is measured."""

from flext_plugins_metrics import NAMES, Name

HEAD = """# Metrics

What `flext-plugins-metrics` measures: each metric by its name in Prometheus, and as an
instrument of OpenTelemetry's. This page is made from
[the list in its source](../../contrib/metrics/flext_plugins_metrics/names.py) by
`python tools/metrics_reference.py`; what the labels mean is told in
[its README](../../contrib/metrics/README.md).
"""
KINDS = {"counter": "Counter", "histogram": "Histogram"}
"""The others are gauges in Prometheus."""


def section(name: Name) -> str:
    """One metric."""
    labels = ", ".join(f"`{label}`" for label in name.labels)
    attributes = ", ".join(f"`{attribute}`" for attribute in name.attributes)
    unit = f" in `{name.unit}`" if name.unit else ""
    told = [f"## {name.prometheus}", name.help]
    told += [f"- {KINDS.get(name.kind, 'Gauge')}; labels: {labels}"]
    told[-1] += f"\n- OpenTelemetry: {name.kind} `{name.name}`{unit}; attributes: {attributes}"
    if name.buckets:
        told[-1] += f"\n- buckets up to {', '.join(f'{bound:g}' for bound in name.buckets)}"
    if name.processes:
        told[-1] += f"\n- of several processes: `{name.processes}`, in Prometheus"
    return "\n\n".join(told)


if __name__ == "__main__":
    print("\n\n".join([HEAD.rstrip(), *map(section, NAMES)]))
