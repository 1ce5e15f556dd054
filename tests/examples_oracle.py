"""The examples' expected output against SQLite, which computes the same from the same files.

    python3 tests/examples_oracle.py

Reads bats/examples/NAME.out, as the programs wrote it (bats/80-examples.bats says that they still
do), and one query per example.  Rows are compared as sets; texts as they are, numbers to the
precision that is shown."""

import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import datetime, timezone

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(ROOT, "tests", "data")
EXAMPLES = os.path.join(ROOT, "bats", "examples")

# Columns: t is time_hour in seconds; stamp() writes seconds as the programs do.
QUERIES = {
    "hourly-delays": """
        select origin, stamp(t), count(*) as n, avg(dep_delay) as delay from flights
        where dep_delay is not null group by origin, t having n >= 5 and delay > 75""",
    "carriers": """
        select name, count(*), avg(dep_delay), max(dep_delay),
            (select g.dest from flights g where g.carrier = f.carrier
             order by g.dep_delay desc, g.rowid limit 1)
        from flights f join airlines using (carrier) group by carrier""",
    "weather": """
        with sky as (select f.*, (select visib from weather w where w.origin = f.origin
                and w.t between f.t - 7200 and f.t order by w.t desc limit 1) as visib,
            exists (select 1 from weather w where w.origin = f.origin
                and w.t between f.t - 7200 and f.t) as seen from flights f)
        select origin, case when visib < 1 then 'fog' when visib < 5 then 'haze' else 'clear' end
            as look, count(*), avg(dep_delay), 100.0 * avg(dep_time is null)
        from sky where seen group by origin, look""",
    "legs": """
        with flown as (select *, t + 60 * minute as leaves, rowid as nr from flights
                where dep_time is not null),
            marked as (select *, coalesce(leaves - lag(leaves) over (partition by tailnum
                order by leaves, nr) > 43200, 1) as new from flown),
            spells as (select *, sum(new) over (partition by tailnum order by leaves, nr
                rows unbounded preceding) as spell from marked)
        select tailnum, stamp(min(leaves)), count(*) as legs,
            (select dest from spells b where b.tailnum is a.tailnum and b.spell = a.spell
             order by leaves limit 1),
            (select dest from spells b where b.tailnum is a.tailnum and b.spell = a.spell
             order by leaves desc limit 1), sum(distance)
        from spells a group by tailnum, spell having legs >= 8""",
    "delays": """
        with flown as (select *, t + 60 * minute as leaves, rowid as nr from flights
                where dep_delay is not null),
            marked as (select *, coalesce(not (dep_delay > lag(dep_delay) over w and
                leaves - lag(leaves) over w <= 86400), 1) as new from flown
                window w as (partition by tailnum order by leaves, nr)),
            runs as (select *, sum(new) over (partition by tailnum order by leaves, nr
                rows unbounded preceding) as run from marked)
        select tailnum, stamp(min(leaves)) as since, count(*) as legs, min(dep_delay), max(dep_delay),
            (select dest from runs b where b.tailnum is a.tailnum and b.run = a.run
             order by leaves desc, nr desc limit 1)
        from runs a group by tailnum, run having legs >= 4 and max(dep_delay) - min(dep_delay) >= 180""",
    "cancelled": """
        select date(t - 18000, 'unixepoch') as day, count(*) as n, sum(dep_time is null) as gone,
            100.0 * sum(dep_time is null) / count(*) from flights group by day
        having 30 * gone > n""",
    "manufacturers": """
        select manufacturer, count(*) as n, count(distinct tailnum), sum(seats), min(p.year)
        from flights f join planes p using (tailnum) where dep_time is not null
        group by manufacturer having n >= 100""",
    "unlisted": """
        select dest, count(*), count(distinct origin) from flights
        where dest not in (select faa from airports) group by dest""",
    "busiest": """
        with recursive hours(t) as (select 1357016400 union all select t + 3600 from hours
                where t < 1357621200 - 3600),
            threes as (select h.t + 3600 as until, origin, count(*) as n, min(f.rowid) as nr
                from hours h join flights f on f.t between h.t - 7200 and h.t
                group by h.t, origin)
        select day, n, origin, stamp(until - 10800), stamp(until)
        from (select date(until - 18001, 'unixepoch') as day, n, origin, until, row_number() over (
                partition by date(until - 18001, 'unixepoch') order by n desc, until, nr) as r
            from threes) where r = 1""",
    "so-far": """
        with recursive ends(t) as (select 1359608400 + 14400 union all select t + 14400 from ends
                where t < 1359608400 + 86400)
        select stamp(1359608400), stamp(e.t), count(*), sum(max(dep_delay, 0))
        from ends e join flights f on f.t >= 1359608400 and f.t < e.t group by e.t""",
}


def seconds(text):
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def stamp(at):
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def value(text):
    if text == "NA":
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def load(db, name, lines):
    rows = csv.reader(lines)
    names = next(rows)
    timed = "time_hour" in names
    columns = names + (["t"] if timed else [])
    db.execute("create table %s (%s)" % (name, ", ".join('"%s"' % c for c in columns)))
    db.executemany("insert into %s values (%s)" % (name, ", ".join("?" * len(columns))),
                   ([value(v) for v in r] + ([seconds(r[names.index("time_hour")])] if timed else [])
                    for r in rows))


def database():
    db = sqlite3.connect(":memory:")
    db.create_function("stamp", 1, stamp, deterministic=True)
    for name, file in (("weather", "weather-2013-01.csv"), ("planes", "planes.csv"),
                       ("airlines", "airlines.csv"), ("airports", "airports.csv")):
        with open(os.path.join(DATA, file), newline="", encoding="utf-8") as lines:
            load(db, name, lines)
    flights = subprocess.run(["zstd", "-dcq", os.path.join(DATA, "flights-2013-01.csv.zst")],
                             check=True, capture_output=True, text=True).stdout
    load(db, "flights", flights.splitlines())
    db.executescript("create index by_hour on flights(t); create index by_plane on planes(tailnum);"
                     "create index by_origin on weather(origin, t);"
                     "create index by_carrier on flights(carrier)")
    return db


def shown(path):
    """The rows of a table, csv or ndjson, as lists of texts."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    if lines[0].startswith("{"):
        return [[str(v) for v in json.loads(line).values()] for line in lines]
    if len(lines) < 2 or not lines[1].startswith("─"):
        return list(csv.reader(lines))[1:]
    starts = [i for i, c in enumerate(lines[1]) if c == "─" and (i == 0 or lines[1][i - 1] == " ")]
    ends = starts[1:] + [None]
    return [[line[a:b].strip() for a, b in zip(starts, ends)] for line in lines[2:]]


def same(wanted, text):
    if wanted is None:
        return text == ""
    if isinstance(wanted, str):
        return wanted == text
    digits = len(text.partition(".")[2])
    return abs(wanted - float(text)) <= 0.5 * 10 ** -digits + 1e-9


def compare(db, name):
    wanted = [list(r) for r in db.execute(QUERIES[name])]
    got = shown(os.path.join(EXAMPLES, name + ".out"))
    left = list(wanted)
    for row in got:
        found = next((w for w in left if len(w) == len(row) and all(map(same, w, row))), None)
        if found is None:
            return "%s: SQLite has no such row: %s\n  of %s" % (name, row, left)
        left.remove(found)
    if left:
        return "%s: SQLite has more rows: %s" % (name, left)
    return "%s: nothing is shown" % name if not got else None


def main():
    if not shutil.which("zstd"):
        print("no zstd program")
        return 77
    db = database()
    names = sorted(f[:-3] for f in os.listdir(EXAMPLES) if f.endswith(".sh"))
    errors = [e for e in (compare(db, n) if n in QUERIES else n + ": has no query here"
                          for n in names) if e]
    print("\n".join(errors) if errors else "%d examples agree with SQLite" % len(names))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
