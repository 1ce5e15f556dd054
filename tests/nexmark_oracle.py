#!/usr/bin/env python3
"""The Nexmark queries of bats/examples/nexmark against SQLite over the same files.

  tests/nexmark_oracle.py [--events N] [--seed N] [--rate N] [--only 3,4] [--data DIR] [--modes batch,stream,live,runnel] [--flink]

  batch    files to their end: results as they are at the end
  stream   the same files with watermarks on the way, groups and joins as changelogs
  live     ssource --follow of the files, interrupted when all has been read
  runnel   the pipeline file under the supervisor, -p 2

--flink asks a real Apache Flink (tests/peers/flink.py) instead of SQLite.

A changelog is applied before it is compared.  Rows are compared as multisets; floats to nine digits.
Where a query leaves open which of equal rows it takes, only what it doesn't leave open is compared.
"""
import argparse
import collections
import csv
import datetime
import glob
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.path.abspath(os.environ.get("BIN", os.path.join(ROOT, "build", "bin")))
os.environ["PATH"] = BIN + os.pathsep + os.environ["PATH"]
QUERIES = os.path.join(ROOT, "bats", "examples", "nexmark")
CSV_LIMIT = 1 << 24

# Times are milliseconds since 1970 here.
STATS = """count(*), count(*) filter (where price < 10000),
  count(*) filter (where price >= 10000 and price < 1000000), count(*) filter (where price >= 1000000),
  count(distinct bidder), count(distinct bidder) filter (where price < 10000),
  count(distinct bidder) filter (where price >= 10000 and price < 1000000),
  count(distinct bidder) filter (where price >= 1000000),
  count(distinct auction), count(distinct auction) filter (where price < 10000),
  count(distinct auction) filter (where price >= 10000 and price < 1000000),
  count(distinct auction) filter (where price >= 1000000)"""
WIN = "dateTime / 10000 * 10000"
DAY = "strftime('%Y-%m-%d', dateTime / 1000, 'unixepoch')"
MINUTE = "strftime('%H:%M', dateTime / 1000, 'unixepoch')"
WON = "auction a join bid b on a.id = b.auction where b.dateTime between a.dateTime and a.expires"

SQL = {
    0: "select auction, bidder, price, dateTime, extra from bid",
    1: "select auction, bidder, 0.908 * price, dateTime, extra from bid",
    2: "select auction, price from bid where auction % 123 = 0",
    3: "select p.name, p.city, p.state, a.id from auction a join person p on a.seller = p.id "
       "where a.category = 10 and p.state in ('OR', 'ID', 'CA')",
    4: f"select category, avg(final) from (select max(b.price) as final, a.category from {WON} "
       "group by a.id, a.category) group by category",
    5: """select auction, num, e from (select auction, num, e, rank() over (partition by e order by num desc) as r
          from (select auction, e, count(*) as num from (select auction,
            dateTime / 2000 * 2000 - k * 2000 + 10000 as e from bid,
            (select 0 as k union select 1 union select 2 union select 3 union select 4)) group by auction, e))
          where r = 1""",
    7: f"""select b.auction, b.price, b.bidder, b.dateTime, b.extra from bid b join
          (select max(price) as top, {WIN} + 10000 as e from bid group by {WIN}) w on b.price = w.top
          where b.dateTime between w.e - 10000 and w.e""",
    8: f"""select p.id, p.name, p.s from (select distinct id, name, {WIN} as s from person) p join
          (select distinct seller, {WIN} as s from auction) a on p.id = a.seller and p.s = a.s""",
    9: f"""select id, itemName, description, initialBid, reserve, adate, expires, seller, category, aextra, auction,
          bidder, price, bdate, bextra from (select a.id, a.itemName, a.description, a.initialBid, a.reserve,
          a.dateTime as adate, a.expires, a.seller, a.category, a.extra as aextra, b.auction, b.bidder, b.price,
          b.dateTime as bdate, b.extra as bextra,
          row_number() over (partition by a.id order by b.price desc, b.dateTime) as n from {WON}) where n = 1""",
    10: f"select auction, bidder, price, dateTime, extra, {DAY}, {MINUTE} from bid",
    11: """select bidder, count(*), min(dateTime), max(dateTime) + 10000 from (select bidder, dateTime,
          sum(brk) over (partition by bidder order by dateTime rows unbounded preceding) as s from (select bidder,
          dateTime, case when dateTime - lag(dateTime) over (partition by bidder order by dateTime)
          <= 10000 then 0 else 1 end as brk from bid)) group by bidder, s""",
    12: f"select bidder, count(*), {WIN}, {WIN} + 10000 from bid group by bidder, {WIN}",
    13: "select auction, bidder, price, dateTime, 'side-' || (auction % 10000) from bid",
    14: """select auction, bidder, 0.908 * price, case when dateTime / 3600000 % 24 between 8 and 18 then 'dayTime'
          when dateTime / 3600000 % 24 <= 6 or dateTime / 3600000 % 24 >= 20 then 'nightTime' else 'otherTime' end,
          dateTime, extra, length(extra) - length(replace(extra, 'c', '')) from bid
          where 0.908 * price > 1000000 and 0.908 * price < 50000000""",
    15: f"select {DAY} as day, {STATS} from bid group by day",
    16: f"select channel, {DAY} as day, max({MINUTE}), {STATS} from bid group by channel, day",
    17: f"""select auction, {DAY} as day, count(*), count(*) filter (where price < 10000),
          count(*) filter (where price >= 10000 and price < 1000000), count(*) filter (where price >= 1000000),
          min(price), max(price), avg(price), sum(price) from bid group by auction, day""",
    18: "select auction, bidder, max(dateTime) from bid group by auction, bidder",
    19: "select auction, price, n from (select auction, price, row_number() over (partition by auction "
        "order by price desc) as n from bid) where n <= 10",
    20: """select b.auction, b.bidder, b.price, b.channel, b.url, b.dateTime, b.extra, a.itemName, a.description,
          a.initialBid, a.reserve, a.dateTime, a.expires, a.seller, a.category, a.extra
          from bid b join auction a on b.auction = a.id where a.category = 10""",
    21: "select auction, bidder, price, channel, channel_id(channel, url) as c from bid where c is not null",
    22: "select auction, bidder, price, channel, part(url, 3), part(url, 4), part(url, 5) from bid",
}
# What a query leaves open: the columns that are compared.
ONLY = {18: ["auction", "bidder", "dateTime"], 19: ["auction", "price", "rank_number"]}


EPOCH = datetime.datetime(1970, 1, 1)


def ms_of(text):
    return (datetime.datetime.fromisoformat(text.removesuffix("Z")) - EPOCH) // datetime.timedelta(milliseconds=1)


def channel_id(channel, url):
    known = {"apple": "0", "google": "1", "facebook": "2", "baidu": "3"}.get(channel.lower())
    found = re.search("(&|^)channel_id=([^&]*)", url)
    return known if known is not None else found.group(2) if found else None


def database(data):
    db = sqlite3.connect(":memory:")
    db.create_function("channel_id", 2, channel_id, deterministic=True)
    db.create_function("part", 2, lambda url, n: (url.split("/") + [None] * 9)[n], deterministic=True)
    for kind in ("bid", "auction", "person"):
        with open("%s/%s.ndjson" % (data, kind)) as f:
            rows = [json.loads(line) for line in f]
        for row in rows:
            for name in ("dateTime", "expires"):
                if name in row:
                    row[name] = ms_of(row[name])
        names = list(rows[0])
        db.execute("create table %s (%s)" % (kind, ", ".join(names)))
        db.executemany("insert into %s values (%s)" % (kind, ", ".join("?" * len(names))),
                       ([row[n] for n in names] for row in rows))
    db.execute("create index bids on bid (auction)")
    return db


def cell(v):
    """Times as milliseconds, floats to nine digits."""
    text = "" if v is None else "%.9g" % v if isinstance(v, float) else str(v)
    if len(text) > 18 and text[4] == "-" and text[10] in "T ":
        return str(ms_of(text))
    if text and text[0] in "-0123456789" and len(text) < 30 and ("." in text or "e" in text):
        try:
            return "%.9g" % float(text)
        except ValueError:
            pass
    return text


def table_of(path, names):
    """The rows of a csv, a changelog applied."""
    counts = collections.Counter()
    with open(path, newline="") as f:
        reader = csv.reader(f)
        header = next(reader, [])
        changes = header[:1] == ["op"]
        columns = [header.index(n) for n in names] if names else range(1 if changes else 0, len(header))
        for row in reader:
            counts[tuple(cell(row[c]) for c in columns)] += -1 if changes and row[0] in ("-U", "-D") else 1
    if any(n < 0 for n in counts.values()):
        raise SystemExit("%s takes back what was never there: %s" % (path, next(r for r in counts if counts[r] < 0)))
    return +counts


def partitions_of(directory):
    """Of ssink --partition: the keys stand in the paths."""
    counts = collections.Counter()
    for path in glob.glob(directory + "/*/*/*.csv"):
        keys = [p.split("=", 1)[1].replace("%3A", ":") for p in path.split("/")[-3:-1]]
        for row, n in table_of(path, None).items():
            counts[row + tuple(keys)] += n
    return counts


def all_read(pids, files):
    """Whether every file that is followed has been read to its end by each who has it open."""
    seen = 0
    for pid in pids:
        try:
            for fd in os.listdir("/proc/%d/fd" % pid):
                path = os.readlink("/proc/%d/fd/%s" % (pid, fd))
                if path in files:
                    with open("/proc/%d/fdinfo/%s" % (pid, fd)) as f:
                        if int(f.readline().split()[1]) < os.path.getsize(path):
                            return False
                    seen += 1
        except OSError:
            return False
    return seen > 0


def members(group):
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as f:
                name, _, rest = f.read().partition("(")[2].rpartition(")")
            if int(rest.split()[2]) == group and name == "ssource":
                pids.append(int(pid))
        except (OSError, ValueError):
            pass
    return pids


def run_live(script, env, data, expect_sources):
    """All that is there has been read: then an interrupt, and the pipeline drains."""
    files = {os.path.realpath(p) for p in glob.glob(data + "/*.ndjson")}
    p = subprocess.Popen(["bash", script], env=env, start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.time() + 120
    while time.time() < deadline and p.poll() is None:
        pids = members(p.pid)
        if len(pids) == expect_sources and all_read(pids, files):
            break
        time.sleep(0.05)
    time.sleep(0.2)
    os.killpg(p.pid, signal.SIGINT)
    err = p.communicate(timeout=120)[1].decode()
    return p.returncode, err


def run(n, mode, data, out, state):
    script = os.path.join(QUERIES, "q%d.sh" % n)
    text = open(script).read()
    env = dict(os.environ, data=data, out=out, format="csv")
    if mode in ("stream", "live"):
        env.update(delay="-d 0s", emit="--emit changes")
    if mode == "live":
        env.update(live="--follow", join="--ttl 365d")
        return run_live(script, env, data, text.count("ssource $live"))
    command = ["runnel", "-q", "-p", "2", "--state", state, script] if mode == "runnel" else ["bash", script]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    return done.returncode, done.stderr


# Where the columns of ONLY stand in Flink's rows.
FLINK_ONLY = {18: [0, 1, 5], 19: [0, 2, 7]}


def ask_flink(data, queries):
    """What Flink says, in batch mode; of sessions, which it has in streams only, the stream."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "peers"))
    import flink
    import nexmark_flink
    with open(data + "/side.csv") as f, open(data + "/side-noheader.csv", "w") as g:
        g.writelines(f.readlines()[1:])
    answers = {}
    with flink.Flink() as cluster:
        # The mode comes first: tables of another one have times that it can't convert.
        cluster.run("set 'execution.runtime-mode' = 'batch'")
        for statement in nexmark_flink.tables(data):
            cluster.run(statement)
        for n in sorted(queries, key=lambda n: n == 11):
            if n == 11:
                cluster.run("set 'execution.runtime-mode' = 'streaming'")
            try:
                rows = [row for _, row in cluster.run(nexmark_flink.SQL[n])]
            except RuntimeError as problem:
                print("q%d: Flink can't: %s" % (n, str(problem).splitlines()[-1]))
                continue
            if n in FLINK_ONLY:
                rows = [[row[c] for c in FLINK_ONLY[n]] for row in rows]
            answers[n] = collections.Counter(tuple(cell(v) for v in row) for row in rows)
    return answers


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--events", default="20000")
    args.add_argument("--seed", default="1")
    args.add_argument("--rate", default="1000")
    args.add_argument("--only", default=",".join(map(str, SQL)))
    args.add_argument("--modes", default="batch,stream,live,runnel")
    args.add_argument("--data")
    args.add_argument("--flink", action="store_true")
    args = args.parse_args()
    queries = list(map(int, args.only.split(",")))
    failed = agreed = 0
    csv.field_size_limit(CSV_LIMIT)
    with tempfile.TemporaryDirectory() as where:
        data = args.data or os.path.join(where, "data")
        if not args.data:
            subprocess.run([os.path.join(QUERIES, "data.sh"), data, args.events, args.seed, args.rate], check=True)
        db = None if args.flink else database(data)
        answers = ask_flink(data, queries) if args.flink else None
        for n in queries if answers is None else answers:
            expected = answers[n] if answers else collections.Counter(
                tuple(cell(v) for v in row) for row in db.execute(SQL[n]).fetchall())
            for mode in args.modes.split(","):
                # A directory of files by minute has nothing of its own in a stream.
                out = os.path.join(where, "q%d-%s" % (n, mode)) + ("" if n == 10 else ".csv")
                status, said = run(n, mode, data, out, os.path.join(where, "state-%d" % n))
                got = None
                if status == 0 and not said:
                    got = partitions_of(out) if n == 10 else table_of(out, ONLY.get(n))
                if got == expected:
                    agreed += 1
                    continue
                failed += 1
                print("q%d %s: status %d %s" % (n, mode, status, said.strip()[:400]))
                if got is not None:
                    print("  %d rows, %d expected" % (sum(got.values()), sum(expected.values())))
                    for name, rows in (("extra", got - expected), ("missing", expected - got)):
                        for row in list(rows.items())[:2]:
                            print("  %s: %s" % (name, row))
    print("%d agree, %d don't (%s events, seed %s)" % (agreed, failed, args.events, args.seed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
