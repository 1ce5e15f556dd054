#!/usr/bin/env python3
"""The cookbook's data, and what its pipelines must say of it, computed here without them.

  tests/cookbook.py data DIRECTORY         makes the files, the same ones every time
  tests/cookbook.py check NAME DIRECTORY   NAME.out there (and what else the pipeline wrote) must be right
"""
import collections
import csv
import datetime
import gzip
import io
import json
import math
import random
import re
import statistics
import subprocess
import sys
from datetime import timedelta

START = datetime.datetime(2024, 3, 4, 8, 0, 0)
PATHS = ["/", "/search", "/item", "/cart", "/checkout"]
USERS = ["ada", "bob", "cyd", "dan"]


def iso(t):
    return t.strftime("%Y-%m-%dT%H:%M:%S") + (".%03d" % (t.microsecond // 1000) if t.microsecond else "") + "Z"


# ---- data ----

def access_log(rng):
    t = START
    for _ in range(3000):
        t += timedelta(seconds=rng.randrange(12))
        path = rng.choice(PATHS)
        status = 500 if rng.random() < 0.04 + 0.1 * (t.hour == 10) else rng.choice([200, 200, 200, 304, 404])
        yield '10.0.%d.%d - - [%s +0000] "GET %s%s HTTP/1.1" %d %d "-" "Mozilla/5.0" %.3f' % (
            rng.randrange(2), rng.randrange(20), t.strftime("%d/%b/%Y:%H:%M:%S"), path,
            "?q=%d" % rng.randrange(9) if path == "/search" else "", status, rng.randrange(50000),
            rng.lognormvariate(-3, 1) + (0.5 if path == "/checkout" else 0))


def firewall_log(rng):
    for i in range(1500):
        if rng.random() < 0.1:
            yield "Mar  4 08:%02d:%02d gw sshd[%d]: Connection closed" % (i // 60 % 60, i % 60, i)
            continue
        source = min(int(rng.expovariate(0.3)), 30)
        yield ("Mar  4 08:%02d:%02d gw kernel: [UFW BLOCK] IN=eth0 OUT= SRC=203.0.113.%d DST=192.0.2.1 LEN=%d TOS=0x00 "
               "TTL=53 PROTO=TCP SPT=%d DPT=%d WINDOW=1024 SYN"
               % (i // 60 % 60, i % 60, source, rng.choice([40, 44, 60, 1500]), rng.randrange(1024, 65536),
                  rng.choice([22, 23, 80, 443, 445, 3389, 8080])))


def payments(rng):
    t = START
    yield "at,card,amount"
    for _ in range(3000):
        t += timedelta(seconds=rng.randrange(12))
        yield "%s,%d,%.2f" % (iso(t), rng.randrange(40), rng.choice([rng.uniform(0.5, 3), rng.uniform(5, 150),
                                                                    rng.uniform(150, 900)]))


def scans(rng):
    rows, t = [], START
    for _ in range(1200):
        t += timedelta(seconds=rng.randrange(4))
        rows.append((t, rng.randrange(12), rng.choice([22, 80, 443, 3389])))
    for source in range(20, 24):
        at, port = START + timedelta(seconds=rng.randrange(1500)), rng.randrange(1, 900)
        for _ in range(rng.randrange(5, 40)):
            rows.append((at, source, port))
            at, port = at + timedelta(seconds=rng.choice([0, 1, 1, 2, 3])), port + rng.randrange(1, 5)
    for at, source, port in sorted(rows, key=lambda r: r[0]):
        yield "%s gw kernel: [UFW BLOCK] SRC=203.0.113.%d DST=192.0.2.1 PROTO=TCP DPT=%d" % (iso(at), source, port)


def events(rng, n, step):
    t = START
    for _ in range(n):
        t += timedelta(seconds=rng.randrange(step))
        yield {"user": rng.choice(USERS), "ad": rng.randrange(5), "at": iso(t)}


def sensor(rng, n, every, base):
    t, value = START, base
    yield "at,celsius"
    for i in range(n):
        t += timedelta(seconds=every, milliseconds=rng.randrange(1000))
        value += rng.uniform(-0.1, 0.1)
        spike = 9 if base < 15 and i and i % 97 == 0 else 0
        yield "%s,%.2f" % (iso(t), value + spike + rng.uniform(-0.3, 0.3))


def raw_csv(rng):
    yield "id,amount,at,comment"
    for i in range(500):
        amount = "%d.%02d" % (rng.randrange(-50, 500), rng.randrange(100))
        at = iso(START + timedelta(minutes=i))
        if i % 41 == 3:
            amount = "n/a"
        if i % 67 == 5:
            at = "yesterday"
        yield '%d,%s,%s,"said ""hi"", then left"' % (i, amount, at)


def bookings(rng):
    t = START
    yield "account,at,amount"
    for _ in range(400):
        t += timedelta(minutes=rng.randrange(1, 90))
        yield "%s,%s,%d.%02d" % (rng.choice(["DE1", "FR2", "NL3"]), iso(t), rng.randrange(-300, 320), rng.randrange(100))


def devices(rng):
    for i in range(600):
        yield json.dumps({"id": "dev-%d" % rng.randrange(25), "at": iso(START + timedelta(seconds=rng.randrange(90000), milliseconds=i)),
                          "battery": rng.randrange(101), "on": rng.random() < 0.5})


def make_data(where):
    rng = random.Random(2024)

    def write(name, lines):
        with open(where + "/" + name, "w") as f:
            f.writelines(line + "\n" for line in lines)

    write("access.log", access_log(rng))
    write("firewall.log", firewall_log(rng))
    write("payments.csv", payments(random.Random(7)))
    write("scans.log", scans(random.Random(8)))
    write("impressions.ndjson", map(json.dumps, events(rng, 900, 20)))
    write("clicks.ndjson", map(json.dumps, events(rng, 200, 90)))
    write("customers.csv", ["id,name,country"] + ["%d,%s,%s" % (i, n, c) for i, (n, c) in enumerate(
        [("Ada", "UK"), ("Grace", "US"), ("Edsger", "NL"), ("Barbara", "US"), ("Konrad", "DE")])])
    write("orders.csv", ["order_id,customer,amount"] + ["%d,%d,%d.%d" % (
        1000 + i, rng.randrange(7), rng.randrange(1, 400), rng.randrange(10)) for i in range(300)])
    write("kitchen.csv", sensor(rng, 700, 10, 21.0))
    write("cellar.csv", sensor(rng, 900, 15, 12.0))
    write("attic.csv", sensor(rng, 250, 40, 27.0))
    write("bookings.csv", bookings(rng))
    write("devices.ndjson", devices(rng))
    with gzip.open(where + "/raw.csv.gz", "wt") as f:
        f.writelines(line + "\n" for line in raw_csv(rng))


# ---- what must come out ----

def requests(where):
    line = re.compile(r'^(\S+) .*\[([^]]+)\] "(\S+) ([^ ?"]+)[^"]*" (\d+) .* ([0-9.]+)$')
    for text in open(where + "/access.log"):
        ip, at, _, path, status, seconds = line.match(text).groups()
        yield ip, datetime.datetime.strptime(at[:20], "%d/%b/%Y:%H:%M:%S"), path, int(status), float(seconds)


def table(where, name):
    return list(csv.DictReader(open(where + "/" + name)))


def lines(where, name):
    return [json.loads(line) for line in open(where + "/" + name)]


def span(t):
    """As ssink writes a duration."""
    seconds = int(t.total_seconds())
    text = "".join("%d%s" % (n, unit) for n, unit in ((seconds // 3600, "h"), (seconds // 60 % 60, "m")) if n)
    return text + ("%ds" % (seconds % 60) if seconds % 60 or not text else "")


def instant(text):
    return datetime.datetime.fromisoformat(text.removesuffix("Z"))


def error_rate(where):
    hours = collections.OrderedDict()
    for _, at, _, status, _ in requests(where):
        hours.setdefault(at.replace(minute=0, second=0), []).append(status >= 500)
    return [[iso(h), iso(h + timedelta(hours=1)), len(x), sum(x) / len(x)] for h, x in hours.items()]


def top_talkers(where):
    found = collections.defaultdict(lambda: [0, 0, set()])
    for text in open(where + "/firewall.log"):
        m = re.search(r"SRC=(\S+) .*LEN=(\d+) .*DPT=(\d+)", text)
        if m:
            x = found[m[1]]
            x[0] += 1
            x[1] += int(m[2])
            x[2].add(m[3])
    rows = [[src, n, b, len(p)] for src, (n, b, p) in found.items()]
    return sorted(rows, key=lambda r: -r[2])[:5]


def fraud(where):
    rows, found = collections.defaultdict(list), []
    for r in table(where, "payments.csv"):
        rows[r["card"]].append((time_of(r["at"]), float(r["amount"]), r["at"]))
    for card, paid in rows.items():
        i = 0
        while i < len(paid):
            at, small, text = paid[i]
            n = 0
            while small < 2 and i + 1 + n < len(paid) and paid[i + 1 + n][0] - at <= timedelta(minutes=10) and \
                    paid[i + 1 + n][1] > 100 * small and paid[i + 1 + n][1] > 200:
                n += 1
            if n >= 2:
                found.append([card, text, n, sum(p[1] for p in paid[i + 1:i + 1 + n])])
            i += n + 1 if n >= 2 else 1
    return sorted(found, key=lambda r: [str(c) for c in r][:3])


def port_scan(where):
    rows, found = collections.defaultdict(list), []
    for text in open(where + "/scans.log"):
        m = re.search(r"^(\S+) .*SRC=(\S+) .*DPT=(\d+)", text)
        rows[m[2]].append((time_of(m[1]), int(m[3]), m[1]))
    for src, tried in rows.items():
        i = 0
        while i < len(tried):
            n = 1
            while i + n < len(tried) and tried[i + n][1] > tried[i + n - 1][1] and \
                    tried[i + n][0] - tried[i + n - 1][0] <= timedelta(seconds=2):
                n += 1
            if n >= 8:
                found.append([src, tried[i][2], n, tried[i][1], tried[i + n - 1][1]])
            i += n if n >= 8 else 1
    return sorted(found, key=lambda r: [str(c) for c in r][:3])


def time_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def web_sessions(where):
    visits, open_ = [], {}
    for ip, at, path, _, _ in requests(where):
        v = open_.get(ip)
        if not v or at - v[2] > timedelta(minutes=30):
            v = open_[ip] = [ip, at, at, 0, path, path]
            visits.append(v)
        v[2], v[3], v[5] = at, v[3] + 1, path
    return sorted([ip, iso(a), iso(b + timedelta(minutes=30)), n, first, last, span(b - a)]
                  for ip, a, b, n, first, last in visits)


def clicks(where):
    shown = lines(where, "impressions.ndjson")
    return sorted([c["user"], c["ad"], c["at"], span(instant(c["at"]) - instant(i["at"]))]
                  for c in lines(where, "clicks.ndjson") for i in shown if i["user"] == c["user"] and i["ad"] == c["ad"]
                  and timedelta(0) <= instant(c["at"]) - instant(i["at"]) <= timedelta(minutes=10))


def enrichment(where):
    known = {c["id"]: c for c in table(where, "customers.csv")}
    return [[o["order_id"], o["customer"], known.get(o["customer"], {}).get("name", ""),
             known.get(o["customer"], {}).get("country", ""), float(o["amount"])] for o in table(where, "orders.csv")]


def cleaning(where):
    good, bad = [], []
    text = gzip.open(where + "/raw.csv.gz", "rt").read()
    for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        if row["amount"] == "n/a" or row["at"] == "yesterday":
            bad.append(number)
        elif float(row["amount"]) > 0:
            good.append([int(row["id"]), float(row["amount"]), row["at"], row["at"][:10]])
    assert bad == [r["line"] for r in lines(where, "bad.ndjson")], "bad.ndjson holds other lines"
    said = subprocess.run(["zstd", "-dc", where + "/clean.ndjson.zst"], capture_output=True, check=True).stdout
    got = [list(json.loads(line).values()) for line in said.splitlines()]
    assert got == good, "clean.ndjson.zst holds other rows"
    return None


def sensors(where):
    found = collections.OrderedDict()
    for name in ("kitchen.csv", "cellar.csv", "attic.csv"):
        for row in table(where, name):
            minute = instant(row["at"]).replace(second=0, microsecond=0)
            found.setdefault((name, minute), []).append(float(row["celsius"]))
    return sorted([name, iso(m), iso(m + timedelta(minutes=1)), statistics.fmean(v), len(v)]
                  for (name, m), v in found.items())


def quantile(values, q):
    values = sorted(values)
    at = q * (len(values) - 1)
    low = math.floor(at)
    return values[low] + (values[min(low + 1, len(values) - 1)] - values[low]) * (at - low)


def quantiles(where):
    found = collections.defaultdict(list)
    for _, _, path, _, seconds in requests(where):
        found[path].append(seconds)
    return sorted(([p, len(v), quantile(v, 0.5), quantile(v, 0.99)] for p, v in found.items()), key=lambda r: -r[3])


def share(where):
    country = {c["id"]: c["country"] for c in table(where, "customers.csv")}
    sums = collections.Counter()
    for o in table(where, "orders.csv"):
        if o["customer"] in country:
            sums[country[o["customer"]]] += float(o["amount"])
    return [[c, v, 100 * v / sum(sums.values())] for c, v in sums.most_common()]


def balance(where):
    sums, out = collections.Counter(), []
    for b in table(where, "bookings.csv"):
        sums[b["account"]] += round(float(b["amount"]) * 100)
        out.append([b["account"], b["at"], float(b["amount"]), sums[b["account"]] / 100])
    return out


def moving_average(where):
    values, out = [], []
    for row in table(where, "kitchen.csv"):
        values.append(float(row["celsius"]))
        out.append([row["at"], values[-1], statistics.fmean(values[-7:]), values[-1] - values[-2] if len(values) > 1 else ""])
    return out


def outliers(where):
    rows, out = [(instant(r["at"]), float(r["celsius"]), r["at"]) for r in table(where, "cellar.csv")], []
    for i, (at, value, text) in enumerate(rows):
        before = [v for t, v, _ in rows[:i] if at - t <= timedelta(hours=1)]
        if len(before) > 1 and abs(value - statistics.fmean(before)) > 3 * statistics.stdev(before):
            out.append([text, value, statistics.fmean(before), statistics.stdev(before)])
    assert out, "there are some"
    return out


def latest(where):
    found = {}
    for row in lines(where, "devices.ndjson"):
        if row["id"] not in found or row["at"] > found[row["id"]]["at"]:
            found[row["id"]] = row
    return sorted([r["id"], r["at"], r["battery"], str(r["on"]).lower()] for r in found.values())


def two_outputs(where):
    asked = list(requests(where))
    failed = [[r[0], r[3]] for r in asked if r[3] >= 500]
    got = [[r["ip"], int(r["status"])] for r in table(where, "failed.csv")]
    assert got == failed, "failed.csv holds other rows"
    paths = [[r["path"], int(r["n"])] for r in table(where, "paths.csv")]
    assert sorted(paths) == sorted(map(list, collections.Counter(r[2] for r in asked).items())), "paths.csv"
    return None


def plot(where):
    said = open(where + "/plot.err").read()
    values = [float(r["celsius"]) for r in table(where, "kitchen.csv")]
    assert len(said.splitlines()) > 5 and any(0x2580 <= ord(c) <= 0x28ff for c in said), "no curve:\n" + said
    numbers = [float(x) for x in re.findall(r"\d+\.?\d*", said)]
    assert any(abs(x - max(values)) < 0.5 for x in numbers) and any(abs(x - min(values)) < 0.5 for x in numbers), said
    return None


def replay(where):
    return sorted([s, n] for s, n in collections.Counter(r[3] for r in requests(where)).items())


def live_count(where):
    """A changelog: what it comes to is the log counted."""
    counts, seen = collections.Counter(), collections.Counter()
    for text in open(where + "/live.log"):
        at, level = text.split()[:2]
        counts[level, at[:16] + ":00Z"] += 1
    for row in lines(where, "live-count.out"):
        seen[row["level"], row["window_start"], row["n"]] += -1 if row["op"] in ("-U", "-D") else 1
    assert set(+seen) == {(l, s, n) for (l, s), n in counts.items()}, "the updates come to %s" % sorted(+seen)
    return None


UNORDERED = {"web-sessions", "clicks", "sensors", "latest", "fraud", "port-scan"}


def same(got, wanted):
    for g, w in zip(got, wanted):
        if isinstance(w, (int, float)) and not isinstance(w, bool):
            if not math.isclose(float(g), w, rel_tol=1e-9, abs_tol=1e-9):
                return False
        elif g != w:
            return False
    return len(got) == len(wanted)


def check(name, where):
    wanted = globals()[name.replace("-", "_")](where)
    if wanted is None:
        return
    with open("%s/%s.out" % (where, name)) as f:
        got = list(csv.reader(f))[1:]
    if name in UNORDERED:
        got.sort()
        wanted = sorted(([str(c) if not isinstance(c, float) else c for c in row] for row in wanted),
                        key=lambda row: [str(c) for c in row][:3])
        got.sort(key=lambda row: row[:3])
    assert len(got) == len(wanted), "%d rows, not %d" % (len(got), len(wanted))
    for g, w in zip(got, wanted):
        assert same(g, w), "%s, not %s" % (g, w)


if __name__ == "__main__":
    try:
        {"data": make_data, "check": check}[sys.argv[1]](*sys.argv[2:])
    except AssertionError as problem:
        sys.exit("%s: %s" % (" ".join(sys.argv[2:]), problem))
