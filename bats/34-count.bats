#!/usr/bin/env bats
# swindow --count: windows of so many rows, against a few lines of Python.

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
	cat > model.py <<'PY'
import csv, random, subprocess, sys
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    rng = random.Random(seed)
    keys, size = rng.choice([1, 3, 50]), rng.choice([1, 2, 3, 7, 10, 100])
    slide = rng.randrange(1, size + 1) if rng.random() < 0.6 else size
    partial = rng.random() < 0.5
    rows = [(rng.randrange(keys), rng.randrange(1000)) for _ in range(rng.choice([0, 1, 5, 100, 9000, 20000]))]
    with open("in.csv", "w") as f:
        f.write("k,v\n" + "".join("%d,%d\n" % r for r in rows))
    command = ("ssource in.csv -s 'k int, v int' | swindow --count %d,%d %s -k k "
               "'count(*) as n, sum(v) as s, max(v) as m' | ssink -f csv" % (size, slide, "--partial" * partial))
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=True)
    got = [tuple(map(int, r)) for r in list(csv.reader(done.stdout.splitlines()))[1:]]
    seen, wanted = {}, []
    for k, v in rows:
        values = seen.setdefault(k, [])
        values.append(v)
        if len(values) >= size and (len(values) - size) % slide == 0:
            wanted.append((k, size, sum(values[-size:]), max(values[-size:])))
    for k, values in seen.items() if partial else ():
        for start in range(0, len(values), slide):
            if start + size > len(values):
                wanted.append((k, len(values) - start, sum(values[start:]), max(values[start:])))
    assert got == wanted, (seed, command, len(got), len(wanted))
PY
}

# fails TEXT ARGUMENT...: exits 2 and says TEXT.
fails() {
	local text=$1
	shift
	printf 'v\n1\n' | ssource -f csv > in.frames
	run swindow "$@" 'count(*) as n' < in.frames
	[ "$status" -eq 2 ] || { echo "status $status: $output"; return 1; }
	[[ "$output" == *"$text"* ]] || { echo "said: $output"; return 1; }
}

@test "wrong usage says what there is" {
	fails "--count takes N or N,SLIDE" --count many
	fails "at least one row" --count 0
	fails "SLIDE is more than N" --count 2,5
	fails "a row would be in more than 4096 windows" --count 1000000,1
	fails "--partial is for --count" --partial
	fails "not several" --count 5 --tumble 1m
	fails "--offset moves" --count 5 --offset 1s
	fails "none is late" --count 5 --late x
	fails "--count and --emit don't go together" --count 5 --emit changes
}

@test "random windows of random rows are those of the model" {
	python3 model.py 0 25
}

# Which rows are neighbours depends on the order in which a key's rows come: at -p 1 the file's.
@test "bash and runnel agree; at -p 3 in how many rows and windows there are" {
	ssource 'nexmark:bid?events=40000' | ssink bids.ndjson
	cat > job <<'JOB'
ssource bids.ndjson -s 'auction int, price int' |
  swindow --count 10,3 --partial -k auction 'count(*) as n, sum(price) as total, first(price) as f' |
  ssink out.csv
JOB
	bash job
	mv out.csv expected
	timeout 60 runnel -q --state state --checkpoint 20ms job
	diff expected out.csv
	rm out.csv
	timeout 60 runnel -q -p 3 --state state --checkpoint 20ms job
	diff <(cut -d, -f1,2 expected | sort) <(cut -d, -f1,2 out.csv | sort)
}
