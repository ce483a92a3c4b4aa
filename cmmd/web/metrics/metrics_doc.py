"""docs/metrics.md, made from the code: ``python -m cmmd.web.metrics.metrics_doc > docs/metrics.md``."""

import sys
from collections.abc import Iterator

from cmmd.controllers.catalog import load_catalog
from cmmd.controllers.profile import Profile
from cmmd.web.metrics.device_families import OWN
from cmmd.web.metrics.families import FAMILIES
from cmmd.web.metrics.quantities import UNITS, Number, States, columns_of

__all__ = ["document"]

_BEGIN = """\
# Metrics

Made from the code by `python -m cmmd.web.metrics.metrics_doc`: change it there.

cmmd has two places for Prometheus, at the addresses of `[web] listen`: `/metrics` is about the daemon,
`/metrics/devices` about the gensets. Both answer in Prometheus' text format, or as OpenMetrics where `Accept` asks for
it; gzip where that is requested.

    curl -s http://127.0.0.1:21380/metrics

**Prometheus.** [etc/prometheus](../etc/prometheus) has `prometheus.yml`, whose two jobs go into yours, and
`cmmd.rules.yml` with alerts on the daemon and the gensets: read their thresholds. As soon as there are tokens,
Prometheus needs one, of the role viewer, in the file that `credentials_file` names. From another machine it comes in
where `[web] listen` lets it.

**Grafana.** [etc/grafana](../etc/grafana) has a dashboard for the daemon and one for a genset: Dashboards, New, Import;
choose your Prometheus at the top of each. They expect the jobs to be called `cmmd` and `gensets`. A third
one, `cmmd-postgresql.json`, shows a genset's history out of PostgreSQL ([storage.md](storage.md)).

Counters begin at 0 with each start. Each value that a label can have is there from the start, so that `rate()` and
`increase()` see the first one counted.

## /metrics: the daemon

| metric | type | labels | means |
|---|---|---|---|
"""

_PROCESS = """
The bounds of the histograms are fixed. The reactor is what all of cmmd runs on: while it is late, every device waits.

Of the process there are, as with other programs, `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_virtual_memory_bytes`, `process_start_time_seconds`, `process_open_fds` and `process_max_fds`; of Python's
garbage collector `python_gc_collections_total`, `python_gc_objects_collected_total` and
`python_gc_objects_uncollectable_total`.
"""

_DEVICES = """
## /metrics/devices: the gensets

Every metric has the labels `hostid`, `name` (what the device calls itself: its `hostname`, or else its hostid) and
`model` (of its controller, as the device says it). Disabled devices are left out.

| metric | type | more labels | means |
|---|---|---|---|
"""

_VALUES = """
**What is shown, and for how long.** Values are those of the newest upload, and only what is certain and plausible. A
sensor without data, a value out of its range, registers of which the byte order is not decided and everything from
before the last start are left out. Where a device becomes silent or offline, its values stay for
`[web] device_metrics_max_age` seconds (300) after its last upload and disappear then, so that a module which changes
its connection leaves no gap; `genset_up` is 0 at once. Alarms stay until they are cleared.

All are gauges, run time, starts and energy too: they are the controller's, which may be set, or exchanged for another
one. `delta()` says what came in between; `increase()` would take a controller that is set back for a rise.

**Size.** About 70 lines a device; a scrape of 5,000 devices is 45 MB, 2 MB with gzip. It is made in slices of a few
milliseconds between which devices are served; at most four scrapes are under way at once (429 for the next one).

### Points of the shipped profiles

A line for each sample; values are in base units. In brackets: the labels that tell it from others.

| metric | {profiles} | means |
|---|{rules}|---|
"""

_OWN = """
Left out are the parts of a controller's clock: `clock_year` to `clock_second`.

### Points of your own profiles

Points of a profile of yours ([docs/controllers.md](controllers.md)) become metrics by these rules, the first that fits:

1. A point with an `enum` is `genset_NAME`, with a sample for each word in the label `state`: 1 for the one that it is
   in.
2. A point that is called like one of the shipped profiles, and has a unit of that kind, shares its metric:
   `generator_voltage_l1` or `bus_frequency`, for example. Sides are `mains`, `generator`, `bus` and `load`; phases `l1`
   to `l3`, `l1_l2` and so on, and `n`.
3. A point with one of the units below is `genset_NAME_UNIT`; `_voltage` at NAME's end is dropped, and so are `_hours`,
   `_minutes` and `_seconds`, whose values are added up: `warm_up_minutes` and `warm_up_seconds` are
   `genset_warm_up_seconds`.
4. Everything else is in `genset_point`, with the labels `point` and, where it has one, `unit`. So is what would have
   the same name and labels as a point before it.

| unit | becomes | value × |
|---|---|---|
"""


def document() -> str:
    """The whole of it."""
    profiles = sorted((one for one in load_catalog() if one.definition.points), key=lambda one: one.name)
    values = _VALUES.format(
        profiles=" | ".join(f"`{one.name}`" for one in profiles), rules="|".join("---" for _ in profiles)
    )
    return "".join((_BEGIN, *_daemon(), _PROCESS, _DEVICES, *_own(), values, *_points(profiles), _OWN, *_units()))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _daemon() -> Iterator[str]:
    for family in FAMILIES:
        yield _row(f"`{family.exposed}`", family.kind, _named(family.labels), family.means)


def _own() -> Iterator[str]:
    for family in OWN:
        yield _row(f"`{family.name}`", family.kind, _named(family.labels), family.means)


def _points(profiles: list[Profile]) -> Iterator[str]:
    """Each sample with the points of each profile that it is made of."""
    samples: dict[tuple[str, str], dict[str, tuple[Number | States, str]]] = {}
    for profile in profiles:
        for column in columns_of(profile):
            places = [part.place for part in column.parts] if isinstance(column, Number) else [column.place]
            names = " + ".join(f"`{profile.definition.points[place].name}`" for place in places)
            samples.setdefault((column.family, _labels(column)), {})[profile.name] = column, names
    for (family, labels), of_profiles in sorted(samples.items()):
        column, _ = next(iter(of_profiles.values()))
        names_of = [of_profiles[one.name][1] if one.name in of_profiles else "" for one in profiles]
        yield _row(f"`{family}{labels}`", *names_of, f"{column.means}.")


def _labels(column: Number | States) -> str:
    labels = column.labels if isinstance(column, Number) else (("state", "..."),)
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else ""


def _units() -> Iterator[str]:
    for unit, base in UNITS.items():
        factor = f"{base.times / base.per:.10g}" + (f" {base.plus:+.10g}" if base.plus else "")
        yield _row(unit, f"`{base.suffix}`", factor)


if __name__ == "__main__":
    sys.stdout.write(document())
