"""Prints docs/reference/metrics.md, made from the one list of what is measured."""

from flext_plugins_metrics import NAMES, Name

HEAD = """# Metrics

What `flext-plugins-metrics` measures. This page is made from
[the list in its source](../../contrib/metrics/flext_plugins_metrics/names.py) by
`python tools/metrics_reference.py`; what the labels mean is told in
[its README](../../contrib/metrics/README.md).
"""


def section(name: Name) -> str:
    """One metric."""
    labels = ", ".join(f"`{label}`" for label in name.labels)
    told = [f"## {name.name}", name.help, f"- {name.kind.__name__}; labels: {labels}"]
    if name.buckets:
        told[-1] += f"\n- buckets up to {', '.join(f'{bound:g}' for bound in name.buckets)}"
    if name.processes:
        told[-1] += f"\n- of several processes: `{name.processes}`"
    return "\n\n".join(told)


if __name__ == "__main__":
    print("\n\n".join([HEAD.rstrip(), *map(section, NAMES)]))
