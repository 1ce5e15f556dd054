#!/usr/bin/env python3
"""Random rows into directories by partition, read by DuckDB as a Hive table: the same rows.

    tests/partition_oracle.py [SEED]        BIN=build/bin"""
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import duckdb

CHARACTERS = list("abcz019 ._-+~()<>&;|$!@`,") + ["/", "\\", ":", "*", "?", '"', "'", "#", "%", "=", "{", "[",
                                               "]", "^", "\n", "\t", "\x7f", "é", "日", "😀"]


def rows(r, n):
    texts = ["".join(r.choice(CHARACTERS) for _ in range(r.randrange(1, 9))) for _ in range(6)]
    days = ["2013-01-%02d" % r.randrange(1, 29) for _ in range(4)]
    for i in range(n):
        yield {"id": i, "day": r.choice(days), "s": r.choice(texts) if r.random() > 0.1 else None,
               "n": r.choice([None, -1, 0, 7, 2**40]), "v": r.uniform(-5, 5)}


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else int(time.time())
    print("seed", seed)
    r = random.Random(seed)
    env = dict(os.environ, PATH=os.path.abspath(os.environ.get("BIN", "build/bin")) + ":" +
               os.environ["PATH"])
    for form, reader in (("csv", "read_csv(%s, hive_partitioning=true, hive_types_autocast=false, "
                          "all_varchar=true, header=true, delim=',', quote='\"', escape='\"')"),
                         ("ndjson", "read_json(%s, hive_partitioning=true, "
                          "hive_types_autocast=false, format='newline_delimited')"),
                         ("json", "read_json(%s, hive_partitioning=true, "
                          "hive_types_autocast=false, format='array')")):
        for columns in ("day", "s", "day,n", "n,s,day"):
            with tempfile.TemporaryDirectory() as d:
                wanted = list(rows(r, r.randrange(1, 3000)))
                text = "".join(json.dumps(x) + "\n" for x in wanted)
                extra = r.choice(["", "--open-parts 2", "--roll 1k"])
                compress = r.choice(["", "--compress gz", "--compress zst"])
                subprocess.run(["bash", "-c", "set -o pipefail; ssource -f ndjson -s 'id int, "
                                "day string, s string, n int, v float' - | ssink -f %s %s %s "
                                "--partition %s out/" % (form, extra, compress, columns)],
                               input=text.encode(), cwd=d, env=env, check=True)
                depth = "/".join(["*"] * (columns.count(",") + 1))
                files = "'%s/out/%s/part-*'" % (d, depth)
                got = duckdb.sql("select id::bigint, day::varchar, s::varchar, n::bigint, v::double from " +
                                 reader % files).fetchall()
                a = collections.Counter(tuple(x.values()) for x in wanted)
                b = collections.Counter(tuple(x) for x in got)
                if a != b:
                    raise SystemExit("%s by %s %s: %s" % (form, columns, extra, {
                        "missing": list((a - b).items())[:3], "extra": list((b - a).items())[:3]}))
                hidden = [f for _, _, names in os.walk(d) for f in names if f.startswith(".")]
                assert not hidden, hidden
    print("good")


main()
