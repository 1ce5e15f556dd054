#!/usr/bin/env bats
# ssource: regular expressions, msgpack, archives beyond tar and zip.

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
	cat > access.log <<'LOG'
10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.0" 200 2326
10.0.0.2 - bob [10/Oct/2000:13:55:37 -0700] "GET /b HTTP/1.0" 404 -
LOG
	pattern='^(?<ip>\S+) \S+ (?<user>\S+) \[(?<at>[^\]]+)\] "(?<method>\S+) (?<path>\S+) [^"]*" (?<status>\d+) (?<bytes>\S+)'
}

# fails STATUS TEXT ARGUMENT...: ssource ends with that status and says TEXT.
fails() {
	local status_wanted=$1 text=$2
	shift 2
	run ssource "$@"
	[ "$status" -eq "$status_wanted" ] || { echo "status $status: $output"; return 1; }
	[[ "$output" == *"$text"* ]] || { echo "said: $output"; return 1; }
}

@test "a pattern that can't be used is shown with the place" {
	fails 2 $'--regex: missing closing parenthesis\n  (?<a>x\n        ^' --regex '(?<a>x' access.log
	fails 2 "no group has a name" --regex '(a)' access.log
	fails 2 "(?<name>...) names a group" --regex '(a)' access.log
	fails 2 "-f regex needs a pattern" -f regex access.log
	fails 2 "-f csv doesn't go with it" -f csv --regex '(?<a>x)' access.log
	fails 2 "--regex has no column 'statsu'" --regex "$pattern" -s 'statsu int' access.log
	fails 2 "did you mean 'status'" --regex "$pattern" -s 'statsu int' access.log
}

@test "named groups are columns, in the order in which they open" {
	ssource --regex "$pattern" --null - access.log > out.frames
	ssink -f ndjson < out.frames > out
	[ "$(cut -d, -f1 out)" = $'{"ip":"10.0.0.1"\n{"ip":"10.0.0.2"' ]
	[ "$(jq -c '[.user, .status, .bytes]' out)" = $'[null,200,2326]\n["bob",404,null]' ]
	ssource --regex "$pattern" --null - -s 'bytes int, status string as code' access.log |
		ssink -f csv > out
	[ "$(cat out)" = $'bytes,code\n2326,200\n,404' ]
}

@test "a group that takes no part is null, an empty one is an empty text" {
	printf '12 x\n \n7 \n' > in.txt
	ssource -f regex --regex '^(?<n>\d+)? (?<rest>.*)$' in.txt | ssink -f ndjson > out
	[ "$(cat out)" = $'{"n":12,"rest":"x"}\n{"n":null,"rest":""}\n{"n":7,"rest":""}' ]
}

@test "a line that doesn't match, or whose value doesn't fit, is malformed" {
	echo garbage >> access.log
	fails 1 "access.log:3: the line doesn't match --regex" --regex "$pattern" access.log
	ssource --regex "$pattern" -s 'ip string, bytes int' --bad bad.ndjson access.log 2> err |
		ssink -f csv > out
	[ "$(cat out)" = $'ip,bytes\n10.0.0.1,2326' ]
	[ "$(cat err)" = "ssource: warning: 2 malformed records written to bad.ndjson" ]
	[ "$(jq -c '[.line, .column, .reason]' bad.ndjson)" = "[2,67,\"'-' is not an int (column bytes)\"]
[3,0,\"the line doesn't match --regex\"]" ]
}

@test "a pattern that goes astray costs a record, not the stream" {
	{ printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\n'; echo ok; } > in.txt
	ssource --regex '^(?<x>(a+)+$|ok)' --bad skip in.txt 2> err | ssink -f ndjson > out
	[ "$(cat out)" = '{"x":"ok"}' ]
	[ "$(cat err)" = "ssource: warning: 1 malformed record skipped" ]
}

@test "msgpack: maps are records, by name or by the first byte" {
	python3 - <<'PY'
import msgpack, datetime
t = datetime.datetime(2024, 1, 2, 3, 4, 5, 600000, tzinfo=datetime.timezone.utc)
with open("in.msgpack", "wb") as f:
    f.write(msgpack.packb({"a": 1, "t": t, "in": {"x": "y"}}, datetime=True))
    f.write(msgpack.packb({"a": 2.5, "in": {"x": None}}))
PY
	ssource in.msgpack | ssink -f ndjson > out
	[ "$(cat out)" = '{"a":1.0,"t":"2024-01-02T03:04:05.600Z","in":{"x":"y"}}
{"a":2.5,"t":null,"in":{"x":null}}' ]
	ssource -s 'in.x string as x, a float' - < in.msgpack | ssink -f csv > out
	[ "$(cat out)" = $'x,a\ny,1.0\n,2.5' ]
}

@test "msgpack: what is wrong is told with the record's number" {
	printf '\x81\xa1a\x01\x81\xa1a\xa1x\x81\xa1a\x03' > in.msgpack
	fails 1 "in.msgpack: record 2: 'x' is not an int (column a)" -s 'a int' in.msgpack
	ssource -s 'a int' --bad bad.ndjson in.msgpack 2>/dev/null | ssink -f csv > out
	[ "$(cat out)" = $'a\n1\n3' ]
	[ "$(jq -c '[.line, .record]' bad.ndjson)" = '[2,"{\"a\":\"x\"}"]' ]
	printf '\x81\xa1a\x01\xc1' > in.msgpack
	fails 1 "in.msgpack: record 2: not MessagePack" --bad skip in.msgpack
	printf '\x81\xa1a\x01\x81\xa1' > in.msgpack
	fails 1 "in.msgpack: record 2: the input ends inside it" --bad skip in.msgpack
	printf '\x81\xa1a\x01\x05' > in.msgpack
	fails 1 "in.msgpack: record 2: a record must be a map, not an int" in.msgpack
	printf 'a,b\n1,x\n' > text.csv # every byte of it is a small int
	fails 1 "text.csv: record 1: a record must be a map, not an int" -f msgpack text.csv
	printf '\x80' > in.msgpack
	fails 2 "in.msgpack: no columns" in.msgpack
}

@test "what comes with cpio and 7z is read like a tar" {
	printf 'a,b\n1,x\n2,y\n' > a.csv
	printf 'b,a\nz,3\n' > b.csv
	for format in cpio 7zip; do
		bsdtar -c --format "$format" -f "all.$format" a.csv b.csv
		ssource -f csv --filename from "all.$format" | ssink -f csv > out
		[ "$(cat out)" = "a,b,from
1,x,all.$format:a.csv
2,y,all.$format:a.csv
3,z,all.$format:b.csv" ]
	done
	ssource -f csv - < all.cpio | ssink -f csv > out
	[ "$(cat out)" = $'a,b\n1,x\n2,y\n3,z' ]
	fails 2 "a 7z archive" -f csv - < <(cat all.7zip)
	truncate -s -20 all.7zip
	fails 1 "all.7zip" -f csv all.7zip
}

@test "a supervised source goes on behind the last record of a checkpoint, in either format" {
	python3 - <<'PY'
import msgpack
with open("in.msgpack", "wb") as f:
    for i in range(30000):
        f.write(msgpack.packb({"n": i}))
with open("in.log", "w") as f:
    for i in range(30000):
        f.write("n=%d;\n" % i)
PY
	for source in "ssource in.msgpack" "ssource --regex 'n=(?<n>\\d+);' in.log"; do
		rm -rf state out.csv
		printf '%s --rate 60000 | ssink out.csv\n' "$source" > job
		runnel --state state --checkpoint 50ms -q job 2> log &
		while ! ls state/checkpoints/*/manifest* >/dev/null 2>&1 && kill -0 $! 2>/dev/null; do :; done
		kill -9 $! && wait $! 2>/dev/null || true
		runnel --state state -q job 2>> log
		[ "$(tail -n +2 out.csv | sort -n | uniq | wc -l)" -eq 30000 ]
		[ "$(wc -l < out.csv)" -eq 30001 ]
	done
}
