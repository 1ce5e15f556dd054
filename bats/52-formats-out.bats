#!/usr/bin/env bats
# ssink: json and msgpack as libraries read them, in files and streams, compressed, over errors.

bats_require_minimum_version 1.5.0

setup() {
	root=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	BIN=$(cd "${BIN:-$root/build/bin}" && pwd)
	PATH=$BIN:$PATH
	FAULT_SO=$(realpath "${FAULT_SO:-$root/build/fault.so}")
	cd "$BATS_TEST_TMPDIR" || exit 1
	printf 'a,b,t\n1,x,2024-01-01T00:00:00Z\n2,"y,""q",\n,"",1924-01-02T00:00:01.5Z\n' > a.csv
}

@test "an unknown format is refused with what there is" {
	run ssink -f jsn < /dev/null
	[ "$status" -eq 2 ]
	[[ "$output" == *"'jsn' is none of"*"json"*"msgpack"* ]]
}

@test "json is one array with a row a line, also without rows" {
	cat > want <<-'END'
	[
	{"a":1,"b":"x","t":"2024-01-01T00:00:00Z"},
	{"a":2,"b":"y,\"q","t":null},
	{"a":null,"b":"","t":"1924-01-02T00:00:01.500Z"}
	]
	END
	ssource a.csv | ssink -f json | diff want -
	ssource a.csv | ssink b.json
	diff want b.json
	ssource --limit 0 a.csv | ssink b.json
	python3 -c 'import json; assert json.load(open("b.json")) == []'
	ssource nexmark:bid?events=30000 > n.frames
	ssink n.json < n.frames
	ssink n.ndjson < n.frames
	python3 -c 'import json
assert json.load(open("n.json")) == [json.loads(l) for l in open("n.ndjson")]'
}

@test "msgpack is a map a row that libraries read" {
	ssource a.csv | ssink b.msgpack
	python3 - <<-'END'
	import datetime, msgpack
	utc = datetime.timezone.utc
	rows = list(msgpack.Unpacker(open("b.msgpack", "rb"), timestamp=3))
	assert rows == [
	    {"a": 1, "b": "x", "t": datetime.datetime(2024, 1, 1, tzinfo=utc)},
	    {"a": 2, "b": 'y,"q', "t": None},
	    {"a": None, "b": "", "t": datetime.datetime(1924, 1, 2, 0, 0, 1, 500000, utc)}], rows
	END
	ssource --limit 0 a.csv | ssink e.msgpack
	[ ! -s e.msgpack ]
}

@test "what msgpack wrote is read back the same, of every type" {
	schema='d date, m decimal(10,2), u duration, x any, y bytes, f float, b bool, i int, t timestamp'
	printf '%s\n' '{"d":"2013-01-01","m":"1.50","u":"1h30m","x":{"a":[1,null,"t"]},"y":"AP8Q","f":1.5,"b":true,"i":-5,"t":"2013-01-01T10:00:00.25Z"}' \
		'{"d":null}' > m.ndjson
	ssource -s "$schema" m.ndjson | ssink m.msgpack
	diff <(ssource -s "$schema" m.ndjson | ssink -f ndjson) <(ssource -s "$schema" m.msgpack | ssink -f ndjson)
	ssource nexmark:bid?events=20000 > n.frames
	ssink n.msgpack.zst < n.frames
	ssource n.msgpack.zst | ssink -f csv | cmp <(ssink -f csv < n.frames) -
}

@test "extensions say format and compression together" {
	ssource a.csv > a.frames
	ssink -f json want.txt < a.frames
	ssink -f msgpack want.bin < a.frames
	ssink b.json.gz < a.frames
	ssink b.json.zst < a.frames
	ssink b.msgpack.zst < a.frames
	ssink b.msgpack.lz4 < a.frames
	ssink b.jsonl.gz < a.frames
	cmp want.txt <(gzip -dc b.json.gz)
	cmp want.txt <(zstd -qdc b.json.zst)
	cmp want.bin <(zstd -qdc b.msgpack.zst)
	cmp want.bin <(lz4 -dc b.msgpack.lz4)
	cmp <(ssink -f ndjson < a.frames) <(gzip -dc b.jsonl.gz)
	cmp want.txt <(ssink -f json --compress zst < a.frames | zstd -qdc)
}

@test "a changelog has op first in every format" {
	printf '+I 1 "a"\n-U 1 "a"\n+U 1 "b"\n-D 1 "b"\n' |
		python3 "$root/tests/tools/changelog.py" 'k int, v string' k > c.frames
	[ "$(ssink -f csv < c.frames)" = $'op,k,v\n+I,1,a\n-U,1,a\n+U,1,b\n-D,1,b' ]
	[ "$(ssink -f ndjson < c.frames | head -1)" = '{"op":"+I","k":1,"v":"a"}' ]
	[ "$(ssink -f json < c.frames | sed -n 3p)" = '{"op":"-U","k":1,"v":"a"},' ]
	[ "$(ssink -f msgpack < c.frames | python3 -c 'import msgpack, sys
print(list(msgpack.Unpacker(sys.stdin.buffer))[3])')" = "{'op': '-D', 'k': 1, 'v': 'b'}" ]
	[ "$(ssink -f table < c.frames | tail -1)" = "-D  1  b" ]
}

@test "an array that isn't whole never has its name" {
	ssource nexmark:bid?events=30000 > n.frames
	head -c 100000 n.frames > cut.frames
	run ssink out.json < cut.frames
	[ "$status" -eq 3 ]
	[ ! -e out.json ]
	[ -e "$FAULT_SO" ] || skip "no $FAULT_SO: make test builds it"
	! ldd "$BIN/ssink" | grep -q asan || skip "not under a sanitizer"
	for out in out.json out.msgpack out.json.gz; do
		ssink "good.$out" < n.frames
		run env FAULT=write:2:ENOSPC LD_PRELOAD="$FAULT_SO" ssink "$out" < n.frames
		[ "$status" -eq 5 ]
		[ ! -e "$out" ]
		FAULT=write:1:short LD_PRELOAD="$FAULT_SO" ssink "$out" < n.frames
		cmp "good.$out" "$out"
	done
}

@test "under the supervisor an array is one over all checkpoints" {
	echo "ssource 'nexmark:bid?events=60000' --rate 60000 | ssink out.json" > job.sh
	runnel --state state --checkpoint 100ms job.sh 2> log
	cmp out.json <(ssource nexmark:bid?events=60000 | ssink -f json)
}

@test "null: counts, whatever the format" {
	for f in csv json msgpack table frames; do
		run bash -c "ssource a.csv | ssink -v -f $f null:"
		[ "$status" -eq 0 ]
		[ "$output" = "ssink: warning: 3 rows" ]
	done
}

@test "random rows are the same to Python in every format" {
	python3 "$root/tests/writer_oracle.py"
}
