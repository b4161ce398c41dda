"""A description as tables of text: the terminal and the HTML page show the same figures."""

from __future__ import annotations

from datetime import date

import numpy as np

from fsvae.schema import KINDS
from pipelines.reports.describe.description import Description, Ints, Log
from pipelines.reports.describe.drift import Drift
from pipelines.reports.describe.statistics import zipf_exponent
from pipelines.reports.words import NONE, decimal, percent
from pipelines.runtime.table import Table

LOGS_SHOWN = 10


def headline(what: Description) -> list[tuple[str, str]]:
    """Return the main figures: (value, description)."""
    sample, days = what.sample, what.days
    return [
        (f"{what.listens:,}", "listens"),
        (f"{len(what.listens_U):,}", "users"),
        (f"{len(what.listens_T):,}", "tracks heard"),
        (f"{len(days):,}", "days with events"),
        (percent(sample.statistics.repeat_share if sample else None), "repeats"),
        (decimal(sample.statistics.session_mean if sample else None), "listens a session"),
    ]


def tables(what: Description) -> list[Table]:
    """Return all tables of a description."""
    found = [_accounting(what.logs)]
    if what.reasons:
        found.append(_rejects(what))
    found.append(_events(what))
    if what.periods:
        found.append(_periods(what))
    found += [_days(what), _users(what), _tracks(what), _sessions(what), _drift(what)]
    if what.drift:
        found.append(_movers(what.drift, what.labels))
    return found


def span(first: date, last: date) -> str:
    """Return a run of days as text."""
    return str(first) if first == last else f"{first} to {last}"


def top_share(counts: Ints, one_in: int) -> float:
    """Return the share of the sum in the largest counts, one in `one_in` of them; counts are in descending order."""
    return float(counts[: -(-len(counts) // one_in)].sum() / counts.sum())


def _accounting(logs: list[Log]) -> Table:
    shown = sorted(logs, key=lambda log: (-log.rejected, -log.duplicates, log.name))[:LOGS_SHOWN]
    total = Log(
        "all", *(sum(getattr(log, name) for log in logs) for name in Log.__dataclass_fields__ if name != "name")
    )
    rows = [total, *shown] if len(logs) > 1 else logs
    note = "rows in = taken + rejected + duplicates"
    if len(shown) < len(logs):
        note += f"; {len(shown)} of {len(logs):,} logs, those with most rows rejected or duplicate, and the sum of all"
    return Table(
        "Logs",
        ("log", "rows in", "taken", "rejected", "duplicates"),
        [(log.name, *(f"{n:,}" for n in (log.rows_in, log.taken, log.rejected, log.duplicates))) for log in rows],
        note,
    )


def _rejects(what: Description) -> Table:
    rows_in, most = sum(log.rows_in for log in what.logs), max(what.reasons.values())
    return Table(
        "Rejects by reason",
        ("field: reason", "rows", "of rows in"),
        [(reason, f"{rows:,}", percent(rows / rows_in)) for reason, rows in what.reasons.items()],
        bars=[rows / most for rows in what.reasons.values()],
    )


def _days(what: Description) -> Table:
    days = what.days
    if days.is_empty():
        return Table("Days", ("", ""), [("days with events", "0")])
    first, last = days["day"][0], days["day"][-1]
    events = days.select(KINDS).sum_horizontal().to_numpy()
    without = [(b - a).days + 1 for a, b in what.gaps]
    rows = [
        ("first to last (UTC)", span(first, last)),
        ("days with events", f"{len(days):,} of {(last - first).days + 1:,}"),
        ("gaps", f"{len(what.gaps):,}, {_days_long(sum(without))} in all" if what.gaps else "none"),
    ]
    if what.gaps:
        longest = int(np.argmax(without))
        rows.append(("longest gap", f"{span(*what.gaps[longest])}, {_days_long(without[longest])}"))
    rows.append(("events a day, median", decimal(float(np.median(events)))))
    rows.append(("busiest day", f"{days['day'][int(np.argmax(events))]}, {int(np.max(events)):,} events"))
    rows.append(("users that listened a day, median", decimal(float(np.median(days["users"])))))
    return Table("Days", ("", ""), rows)


def _days_long(days: int) -> str:
    return "1 day" if days == 1 else f"{days:,} days"


def _events(what: Description) -> Table:
    counts = {kind: int(what.days[kind].sum()) for kind in KINDS}
    rows = [(kind, f"{count:,}", percent(count / max(what.events, 1))) for kind, count in counts.items() if count]
    note = "a dataset's sequences hold listens alone" if what.periods else ""
    return Table("Events", ("kind", "events", "share"), rows or [("none", "0", NONE)], note)


def _periods(what: Description) -> Table:
    rows = []
    for period in what.periods:
        days = span(period.span.first, period.span.last)
        rows.append((period.name, days, f"{period.span.listens:,}", percent(period.in_catalogue / period.span.listens)))
    note = f"catalogue: {what.catalogue:,} of {what.known_tracks:,} tracks"
    return Table("Periods", ("period", "days (UTC)", "listens", "in the catalogue"), rows, note)


def _users(what: Description) -> Table:
    listens = what.listens_U
    rows = [("users with a listen", f"{len(listens):,}")]
    if len(listens):
        rows += [
            ("listens a user, median", decimal(float(np.median(listens)))),
            ("… 90th percentile", decimal(float(np.quantile(listens, 0.9)))),
            ("… most", f"{listens[0]:,}"),
            ("share of the top 10 % of the users", percent(top_share(listens, 10))),
        ]
    return Table("Users", ("", ""), rows)


def _tracks(what: Description) -> Table:
    listens = what.listens_T
    rows = [("tracks heard", f"{len(listens):,}"), ("tracks known", f"{what.known_tracks:,}")]
    if len(listens):
        rows += [
            ("Zipf exponent", f"{zipf_exponent(listens):.2f}"),
            ("share of the top 1 % of the tracks", percent(top_share(listens, 100))),
            ("share of the top 10 % of the tracks", percent(top_share(listens, 10))),
        ]
    for name, label in (("title", "title"), ("artist_id", "artist"), ("album", "album"), ("duration_ms", "duration")):
        rows.append((f"with {label}", percent(what.side[name] / what.known_tracks) if what.side[name] else "none"))
    return Table("Tracks", ("", ""), rows)


def _sessions(what: Description) -> Table:
    if what.sample is None:
        return Table("Sessions and repeats", ("", ""), [("listens", "0")])
    one = what.sample.statistics
    whole = what.sample.share == 1
    of = "" if whole else f"of {one.users:,} users with {percent(what.sample.share)} of the listens, by their hash; "
    return Table(
        "Sessions and repeats",
        ("", ""),
        [
            ("sessions", f"{one.sessions:,}"),
            ("listens a session, mean", decimal(one.session_mean)),
            ("… median", decimal(one.session_median)),
            ("… 90th percentile", decimal(one.session_p90)),
            ("sessions of one listen", percent(one.session_single)),
            ("repeats (heard by the user before)", percent(one.repeat_share)),
            ("… of a track not in the latest 128 listens", percent(one.repeat_old)),
            ("the same track once more in a session", percent(one.same_again)),
            ("next track guessed by the most frequent follower", percent(one.follower_global)),
            ("listens in the busiest hour of day for one in the quietest", decimal(one.hour_peak_to_trough)),
        ],
        of + "a session ends with 30 minutes without a new listen",
    )


def _drift(what: Description) -> Table:
    found = what.drift
    if found is None:
        return Table("Drift", ("", ""), [("two spans with listens", "not there")])
    before, after = found.previous, found.latest
    ever = f"in the {before.name}" if what.periods else "before"
    return Table(
        f"Drift: {after.name} against {before.name}",
        ("", before.name, after.name, "change"),
        [
            ("days (UTC)", span(before.first, before.last), span(after.first, after.last), ""),
            ("events a day", decimal(before.events_a_day), decimal(after.events_a_day), f"{found.events_change:+.1%}"),
            ("listens", f"{before.listens:,}", f"{after.listens:,}", ""),
            (f"listens to tracks not heard {ever}", "", percent(found.new_tracks), ""),
            (f"listens by users not seen {ever}", "", percent(found.new_users), ""),
            ("distance of the tracks", "", "", f"{found.tracks.measured:.3f} (by chance {found.tracks.chance:.3f})"),
            (
                "distance of the hours of day",
                "",
                "",
                f"{found.hours.measured:.3f} (by chance {found.hours.chance:.3f})",
            ),
        ],
        "Jensen-Shannon distance, 0 alike to 1 nothing in common; by chance: of two random samples of this size",
    )


def _movers(found: Drift, labels: dict[int, str]) -> Table:
    most = max((abs(mover.after - mover.before) for mover in found.movers), default=1.0)
    return Table(
        "Tracks that moved most",
        ("track", found.previous.name, found.latest.name, "change"),
        [
            (
                labels[one.track],
                percent(one.before),
                percent(one.after),
                f"{100 * (one.after - one.before):+.2f} points",
            )
            for one in found.movers
        ],
        "share of the listens",
        bars=[abs(one.after - one.before) / most for one in found.movers],
    )
