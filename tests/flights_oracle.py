#!/usr/bin/env python3
"""Questions about the flights of January 2013 that the examples don't ask: pipelines against DuckDB, to
the last row (floats to 1e-12; int / int is integer division here).

    tests/flights_oracle.py [DIRECTORY]        BIN=build/bin

DIRECTORY holds flights.csv, weather.csv, planes.csv, airlines.csv of another span (a whole year, say);
without it tests/data is asked.  Exits 77 where Python has no duckdb.
"""

import csv
import io
import os
import subprocess
import sys

try:
    import duckdb
except ImportError:
    print("no duckdb module: pip install duckdb")
    sys.exit(77)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.abspath(os.environ.get("BIN", os.path.join(ROOT, "build", "bin")))
NAMES = {"flights": "flights-2013-01.csv.zst", "weather": "weather-2013-01.csv", "planes": "planes.csv",
         "airlines": "airlines.csv"}

F = "ssource $flights --null NA --infer all -t time_hour"
W = "<(ssource $weather --null NA --infer all -t time_hour)"
P = "<(ssource $planes --null NA --infer all)"

# name, pipeline, SQL
Q = [
("filter+expr", F + " | smap -w \"origin in ('JFK','LGA') and dep_delay > 60 and dest like 'B%'\" 'carrier, flight, dep_delay, dep_delay::float / 60 as h, upper(dest) || lower(origin) as r'",
 "select carrier,flight,dep_delay,dep_delay/60 as h, upper(dest)||lower(origin) as r from flights where origin in ('JFK','LGA') and dep_delay>60 and dest like 'B%'"),
("group2", F + " | swindow -k 'origin, carrier' 'count(*) as n, avg(arr_delay) as a, min(dep_delay) as lo, max(air_time) as hi, sum(distance) as s, count(distinct dest) as d, count(arr_delay) as c'",
 "select origin,carrier,count(*) n,avg(arr_delay) a,min(dep_delay) lo,max(air_time) hi,sum(distance)::bigint s,count(distinct dest) d,count(arr_delay) c from flights group by all"),
("filteragg", F + " | swindow -k month \"count(*) filter (where dep_time is null) as cancelled, avg(dep_delay) filter (where carrier = 'UA') as ua, 100.0 * avg(dep_delay > 15) as late\"",
 "select month,count(*) filter (where dep_time is null) cancelled,avg(dep_delay) filter (where carrier = 'UA') ua,100.0*avg((dep_delay>15)::int) late from flights group by month"),
("tumble", F + " | swindow --tumble 6h -k origin 'count(*) as n, max(dep_delay) as m' | smap 'origin, epoch(window_start) as ws, n, m'",
 "select origin, epoch(time_bucket(interval '6 hours', time_hour, timestamptz '1970-01-01 00:00:00+00'))::bigint ws, count(*) n, max(dep_delay) m from flights group by 1,2"),
("hop", F + " | swindow --hop 3h,1h -k carrier 'count(*) as n, sum(distance) as s' | smap 'carrier, epoch(window_end) as we, n, s'",
 "select carrier, (epoch(time_hour)::bigint//3600 + k)*3600 as we, count(*) n, sum(distance)::bigint s from flights, (values (1),(2),(3)) v(k) group by 1,2"),
("cumulate", F + " | swindow --cumulate 1d,6h -k origin 'count(*) as n' | smap 'origin, epoch(window_start) as ws, epoch(window_end) as we, n'",
 "select origin, d*86400 ws, d*86400+k*21600 we, count(*) n from (select origin, epoch(time_hour)::bigint//86400 d, (epoch(time_hour)::bigint%86400)//21600 h from flights) f, (values(1),(2),(3),(4)) v(k) where h < k group by all"),
("session", F + " | swindow --session 5h -k tailnum -w 'tailnum is not null' 'count(*) as legs, sum(distance) as miles' | smap 'tailnum, epoch(window_start) as ws, epoch(window_end) as we, legs, miles'",
 "select tailnum, min(t) ws, max(t)+18000 we, count(*) legs, sum(distance)::bigint miles from (select *, sum(b) over (partition by tailnum order by t rows unbounded preceding) s from (select tailnum, distance, epoch(time_hour)::bigint t, case when epoch(time_hour)::bigint - lag(epoch(time_hour)::bigint) over (partition by tailnum order by time_hour) <= 18000 then 0 else 1 end b from flights where tailnum is not null)) group by tailnum, s"),
("join left", F + " | smap 'tailnum, flight, origin' | sjoin -k tailnum --kind left " + P + " | swindow -k 'manufacturer, origin' 'count(*) as n, avg(seats) as s'",
 "select manufacturer, f.origin, count(*) n, avg(seats) s from flights f left join planes p using (tailnum) group by all"),
]
for kind,sql in [("inner","select f.tailnum, f.flight, p.year, p.model from (select distinct tailnum, flight from flights) f join planes p using(tailnum)"),
 ("left","select f.tailnum, f.flight, p.year, p.model from (select distinct tailnum, flight from flights) f left join planes p using(tailnum)"),
 ("right","select p.tailnum, f.flight, p.year, p.model from (select distinct tailnum, flight from flights where carrier='DL') f right join planes p using(tailnum)"),
 ("full","select coalesce(f.tailnum,p.tailnum) tailnum, f.flight, p.year, p.model from (select distinct tailnum, flight from flights where carrier='DL') f full join planes p using(tailnum)"),
 ("semi","select f.tailnum, f.flight from (select distinct tailnum, flight from flights) f where exists (select 1 from planes p where p.tailnum=f.tailnum)"),
 ("anti","select f.tailnum, f.flight from (select distinct tailnum, flight from flights) f where not exists (select 1 from planes p where p.tailnum=f.tailnum)")]:
    w = " -w \"carrier = 'DL'\"" if kind in("right","full") else ""
    sel = "'tailnum, flight, year, model'" if kind not in ("semi","anti") else "'tailnum, flight'"
    Q.append(("equal "+kind, F + f" | swindow -k 'tailnum, flight'{w} | sjoin -k tailnum --kind {kind} {P} | smap {sel}", sql))
Q += [
("asof", F + " | smap 'origin, flight, carrier, tailnum, time_hour, dep_delay' | sjoin -k origin --as-of " + W + " | smap 'flight, carrier, tailnum, epoch(time_hour) as t, temp, wind_speed, epoch(right_time_hour) as wt'",
 "select flight, carrier, tailnum, epoch(f.time_hour)::bigint t, temp, wind_speed, epoch(w.time_hour)::bigint wt from flights f asof join weather w on f.origin=w.origin and f.time_hour >= w.time_hour"),
("interval", F + " | smap -w \"origin = 'JFK' and day <= 20\" 'origin, flight, time_hour' | sjoin -k origin --within -1h,1h " + W + " | smap 'flight, epoch(time_hour) as t, temp'",
 "select flight, epoch(f.time_hour)::bigint t, temp from flights f join weather w on f.origin=w.origin and w.time_hour between f.time_hour - interval 1 hour and f.time_hour + interval 1 hour where f.origin='JFK' and f.day <= 20"),
("window join", F + " | smap -w 'day > 10' 'origin, flight, time_hour' | sjoin -k origin --tumble 3h " + W + " | smap 'origin, flight, epoch(window_start) as ws, temp'",
 "select f.origin, flight, epoch(f.time_hour)::bigint//10800*10800 ws, temp from flights f join weather w on f.origin=w.origin and epoch(f.time_hour)::bigint//10800 = epoch(w.time_hour)::bigint//10800 where f.day > 10"),
("case cast", F + " | smap \"case when dep_delay is null then 'none' when dep_delay < 0 then 'early' when dep_delay < 15 then 'on time' else 'late' end as c, distance::float / nullif(air_time, 0) * 60 as mph, cast(dep_delay as decimal(10,2)) as d, time_hour::date as day, dep_time\" | swindow -k 'c, day' 'count(*) as n, avg(mph) as mph, sum(d) as d, max(dep_time) as t' | smap 'c, day::string as day, n, mph, d::float as d, t'",
 "select c, day::varchar as day, count(*) n, avg(mph) mph, sum(d)::double d, max(dep_time) t from (select case when dep_delay is null then 'none' when dep_delay<0 then 'early' when dep_delay<15 then 'on time' else 'late' end c, distance::double/nullif(air_time,0)*60 mph, cast(dep_delay as decimal(10,2)) d, time_hour::date as day, dep_time from flights) group by all"),
("five", F + " | smap '*, extract(dow from time_hour) as dow, date_trunc('\"'day'\"', time_hour) as day' | swindow -k 'dow, carrier' 'count(*) as n, avg(dep_delay) as d' | sjoin -k carrier <(ssource $airlines) | smap -w 'n > 100' 'name, dow, n, round(d, 3) as d'",
 "select a.name, dow, n, round(d,3) d from (select extract(dow from time_hour) dow, carrier, count(*) n, avg(dep_delay) d from flights group by all) join airlines a using(carrier) where n > 100"),
("argmax", F + " | swindow -k dest 'max(distance) as m, arg_max(carrier, arr_delay * 1000000 + flight * 10 + month) as c, first(time_hour) as f' | smap 'dest, m, c'",
 "select dest, max(distance) m, arg_max(carrier, arr_delay*1000000+flight*10+month) c from flights group by dest"),
("cross self", F + " | smap -w \"dest = 'LEX' or dest = 'HDN'\" 'flight, day, month' | sjoin -k 'month' <("+F + " | smap -w \"dest = 'LEX' or dest = 'HDN'\" 'flight, day, month') -w 'day <= right_day'",
 "select f.flight, f.day, f.month, g.flight, g.day from flights f join flights g on f.month=g.month and f.dest in('LEX','HDN') and g.dest in('LEX','HDN') and f.day<=g.day"),
]


def cell(value):
    """CSV knows only text: numbers are compared as numbers, null is the empty field."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == "":
        return None
    try:
        return float(value)
    except ValueError:
        return str(value)


def order(row):
    return tuple((v is None, str(type(v)), round(v, 6) if isinstance(v, float) else v or "") for v in row)


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-12 * max(1.0, abs(a), abs(b))
    return a == b


def ask(database, env, name, pipeline, sql):
    done = subprocess.run(["bash", "-o", "pipefail", "-c", pipeline + " | ssink -f csv --header no"], env=env,
                          capture_output=True, text=True)
    if done.returncode:
        return "status %d: %s" % (done.returncode, done.stderr.strip())
    ours = sorted(([cell(c) for c in row] for row in csv.reader(io.StringIO(done.stdout))), key=order)
    theirs = sorted(([cell(c) for c in row] for row in database.execute(sql).fetchall()), key=order)
    if len(ours) != len(theirs):
        return "%d rows, DuckDB has %d" % (len(ours), len(theirs))
    for a, b in zip(ours, theirs):
        if not all(map(same, a, b)):
            return "%r\n  where DuckDB has %r" % (a, b)
    return None


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else None
    env = dict(os.environ, PATH=BIN + ":" + os.environ["PATH"])
    database = duckdb.connect()
    database.execute("set TimeZone='UTC'")
    for table, file in NAMES.items():
        path = os.path.join(directory, table + ".csv") if directory else os.path.join(ROOT, "tests", "data", file)
        env[table] = path
        database.execute(f"create table {table} as select * from read_csv('{path}', nullstr='NA', header=true, "
                         "sample_size=-1)")
    bad = 0
    for name, pipeline, sql in Q:
        difference = ask(database, env, name, pipeline, sql)
        if difference:
            print("%s: %s" % (name, difference))
            bad += 1
    print("%d questions, %d answered otherwise than by DuckDB" % (len(Q), bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
