#!/usr/bin/env bats
# ssink into directories: by partition, in parts by size and age, alone and under the supervisor.

bats_require_minimum_version 1.5.0

setup() {
	root=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	BIN=$(cd "${BIN:-$root/build/bin}" && pwd)
	PATH=$BIN:$PATH
	FAULT_SO=$(realpath "${FAULT_SO:-$root/build/fault.so}")
	cd "$BATS_TEST_TMPDIR" || exit 1
	printf 'day,hour,n\n2013-01-01,3,1\n2013-01-02,,2\n2013-01-01,3,3\n2013-01-01,4,4\n' > a.csv
}

# refuses TEXT ARGUMENT...: ssink on a.csv ends with 2 and says TEXT, and writes nothing.
refuses() {
	local text=$1
	shift
	run --separate-stderr bash -c 'ssource a.csv | ssink "$@"' - "$@"
	[ "$status" -eq 2 ] || { echo "status $status: $stderr"; return 1; }
	[ -z "$output" ]
	[[ "$stderr" == "ssink: error: "*"$text"* ]] || { echo "said: $stderr"; return 1; }
	[ -z "$(find . -name 'part-*')" ]
}

below() { # the files below a directory, hidden ones too
	(cd "$1" && find . -type f -printf '%P\n' | sort)
}

wait_for() { # wait_for COMMAND...: until it succeeds, for ten seconds at most
	local i
	for ((i = 0; i < 1000; i++)); do
		"$@" && return 0
		read -rt 0.01 <> <(:) || true
	done
	return 1
}

need_fault() {
	[ -e "$FAULT_SO" ] || skip "no $FAULT_SO: make test builds it"
	! ldd "$BIN/ssink" | grep -q asan || skip "not under a sanitizer"
}

@test "what isn't a directory is refused, with a hint at one" {
	refuses "--partition writes to a directory, not to b.csv" --partition day b.csv
	refuses "a directory has a slash at its end: out/" --partition day b.csv
	refuses "--partition writes to a directory, not to standard output" --partition day
	refuses "--partition writes to a directory, not to null:" --partition day null:
	refuses "--roll writes to a directory, not to b.csv" --roll 1M b.csv
}

@test "wrong columns, sizes, ages and limits are refused" {
	refuses "--partition has no column 'dya'" --partition dya out/
	refuses "did you mean 'day'?" --partition dya out/
	refuses "all columns are in the path" --partition n,hour,day out/
	refuses "twice the column day" --partition day,day out/
	refuses "it takes columns, not expressions" --partition "date_trunc('month', day)" out/
	refuses 'smap "*, date_trunc' --partition 'day::string as d' out/
	refuses "--roll '1x': '1x' is neither a size (128M) nor an age (10m)" --roll 1x out/
	refuses "'2m' is a second age" --roll 1m,2m out/
	refuses "--open-parts is 1 to 10000" --open-parts 0 out/
	printf '{"x":[1],"n":1}\n' | ssource -f ndjson - > any.frames
	run ssink --partition x out/ < any.frames
	[ "$status" -eq 2 ]
	[[ "$output" == *"column x is any, which is no name for a directory"* ]]
}

@test "rows lie where their values say, without the columns that say it" {
	ssource a.csv | ssink -f csv --partition day,hour out/
	diff - <(below out) <<-END
	day=2013-01-01/hour=3/part-0-1.csv
	day=2013-01-01/hour=4/part-0-3.csv
	day=2013-01-02/hour=__HIVE_DEFAULT_PARTITION__/part-0-2.csv
	END
	[ "$(cat out/day=2013-01-01/hour=3/*)" = $'n\n1\n3' ]
	[ "$(cat out/day=2013-01-02/hour=*/*)" = $'n\n2' ]
	ssource --limit 0 a.csv | ssink --partition day none/
	[ -z "$(ls -A none)" ]
}

@test "a changelog keeps its ops in every directory" {
	printf '+I 1 10\n+I 2 20\n-U 1 10\n+U 1 11\n' |
		python3 "$root/tests/tools/changelog.py" 'k int, v int' k |
		ssink -f csv --partition k out/
	[ "$(cat out/k=1/*)" = $'op,v\n+I,10\n-U,10\n+U,11' ]
	[ "$(cat out/k=2/*)" = $'op,v\n+I,20' ]
}

@test "every part of every format is whole by itself" {
	ssource 'nexmark:bid?events=20000' | smap 'auction % 3 as a, bidder % 2 as b, price' > x.frames
	for f in csv tsv ndjson json msgpack frames; do
		ssink -f $f --compress zst --partition a,b --open-parts 2 "$f/" < x.frames
		zstd -qd --rm $(find "$f" -name '*.zst')
		[ "$(find "$f" -type d -name 'b=*' | wc -l)" -eq 6 ]
	done
	ssink -f csv < <(smap price < x.frames) | tail -n +2 | sort > want
	cmp want <(tail -qn +2 csv/*/*/* | sort)
	cmp want <(tail -qn +2 tsv/*/*/* | sort)
	cmp want <(cat ndjson/*/*/* | tr -dc '0-9\n' | sort)
	cmp want <(for p in json/*/*/*; do python3 -c 'import json, sys
for row in json.load(sys.stdin): print(row["price"])' < "$p"; done | sort)
	cmp want <(cat msgpack/*/*/* | python3 -c 'import msgpack, sys
for row in msgpack.Unpacker(sys.stdin.buffer): print(row["price"])' | sort)
	cmp want <(for p in frames/*/*/*; do ssource "$p" | ssink -f csv --header no; done | sort)
}

@test "DuckDB reads it as a Hive table" {
	python3 "$root/tests/partition_oracle.py"
}

@test "a stream without END leaves nothing, whatever was finished" {
	ssource 'nexmark:bid?events=30000' | smap '*, auction % 50 as a' > all.frames
	head -c 1000000 all.frames > cut.frames
	run ssink --partition a --open-parts 3 out/ < cut.frames
	[ "$status" -eq 3 ]
	[ -z "$(ls -A out)" ]
}

@test "rows that go to too many directories at a time are told of, once" {
	ssource 'nexmark:bid?events=20000' | smap '*, bidder % 50 as b' > x.frames
	run --separate-stderr ssink --partition b --open-parts 4 out/ < x.frames
	[ "$status" -eq 0 ]
	[ "$(grep -c "rows go to more directories at a time than parts may be open" <<<"$stderr")" -eq 1 ]
	[[ "$stderr" == *"--open-parts N allows more"* ]]
	run --separate-stderr ssink --partition b all/ < x.frames
	[ -z "$stderr" ]
	[ "$(cat out/*/* | sort | md5sum)" = "$(cat all/*/* | sort | md5sum)" ]
	[ "$(find all -type f | wc -l)" -eq 50 ]
}

@test "a second run adds its rows" {
	for i in 1 2; do
		ssource a.csv | ssink -f csv --header no --partition day out/
	done
	[ "$(below out | wc -l)" -eq 4 ]
	[ "$(cat out/day=2013-01-01/* | sort | uniq -c | tr -s ' ')" = $' 2 3,1\n 2 3,3\n 2 4,4' ]
}

@test "by size a part is complete with the batch that makes it large enough" {
	ssource 'nexmark:bid?events=100000' > x.frames
	ssink -f csv --header no --roll 1M out/ < x.frames
	[ "$(below out | wc -l)" -gt 5 ]
	for ((i = 1; i < $(below out | wc -l); i++)); do
		[ "$(stat -c %s out/part-0-$i.csv)" -ge 1048576 ]
	done
	cmp <(ssink -f csv --header no < x.frames) <(cat $(ls -v out/*))
}

@test "by age a part shows while the input goes on" {
	mkfifo p
	ssource -f csv -s 'a int' - < p | ssink -f csv --header no --roll 100ms out/ 3>&- &
	job=$! # a process substitution, as in wait_for, changes $!
	exec 7> p
	printf 'a\n1\n' >&7
	wait_for [ -e out/part-0-1.csv ]
	[ "$(cat out/part-0-1.csv)" = 1 ]
	printf '2\n' >&7
	wait_for [ -e out/part-0-2.csv ]
	printf '3\n' >&7
	exec 7>&-
	wait $job
	cmp <(seq 3) <(cat $(ls -v out/*))
	[ -z "$(find out -name '.*' -type f)" ]
}

@test "a disk that is full: status 5, one message, and no part that isn't whole" {
	need_fault
	ssource 'nexmark:bid?events=20000' | smap '*, auction % 4 as a' > x.frames
	ssink -f csv --partition a good/ < x.frames
	for n in 1 2 5; do
		run --separate-stderr env FAULT=write:$n:ENOSPC LD_PRELOAD="$FAULT_SO" \
			ssink -f csv --partition a out/ < x.frames
		[ "$status" -eq 5 ]
		[[ $stderr == "ssink: error: out/"*": can't write: No space left on device" ]]
		[ -z "$(ls -A out)" ]
		FAULT=write:$n:short LD_PRELOAD="$FAULT_SO" ssink -f csv --partition a out/ < x.frames
		diff -r good out
		rm -r out
	done
}

@test "under the supervisor parts come with checkpoints, and every row once" {
	cat > job.sh <<-'END'
	ssource 'nexmark:bid?events=200000' --rate 100000 | smap 'auction % 7 as a, bidder, price, dateTime' |
	  ssink -f csv --header no --partition a --roll 200k,1s --open-parts 3 out/
	END
	runnel --plan job.sh | grep -qF "directory out/ by a: exactly once, part files appear at each checkpoint"
	runnel -p 2 --state state --checkpoint 100ms job.sh 2> log
	[ -z "$(find out -name '.*' -type f)" ]
	below out | grep -qE '^a=3/part-[0-9a-f]{8}-1-[0-9]+(-[0-9]+)?\.csv$'
	ssource 'nexmark:bid?events=200000' | smap 'auction % 7 as a, bidder, price, dateTime' |
		ssink -f csv --header no | sort > want
	for a in 0 1 2 3 4 5 6; do
		sed "s/^/$a,/" out/a=$a/*
	done | sort | cmp want -
}
