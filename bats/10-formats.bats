#!/usr/bin/env bats
# ssource: formats, archives, malformed records, schemas, event time.  Frames are decoded by
# tests/tools/frames.py, which shares no code with the programs.

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
	printf 'a,b\n1,x\n2,y\n' > a.csv
	printf 'b,a\nz,3\n' > b.csv
}

frames() {
	python3 "$top/tests/tools/frames.py" "$@"
}

# Rows of ssource with these arguments, as JSON lists.
rows() {
	ssource "$@" > out.frames && frames < out.frames
}

# fails STATUS TEXT ARGUMENT...: ssource ends with that status and says TEXT.
fails() {
	local status_wanted=$1 text=$2
	shift 2
	run ssource "$@"
	[ "$status" -eq "$status_wanted" ] || { echo "status $status: $output"; return 1; }
	[[ "$output" == *"$text"* ]] || { echo "said: $output"; return 1; }
}

@test "a missing file, a directory and an unknown URL are told apart" {
	fails 5 "can't open none.csv: No such file or directory" none.csv
	mkdir d
	fails 5 "d is a directory" d
	fails 2 "inputs are files, -, nexmark:, sockets" http://example.org/a.csv
}

@test "wrong options exit 2 and say what there is" {
	fails 2 "did you mean" --shcema 'a int' a.csv
	fails 2 "'cvs' is none of" -f cvs a.csv
	fails 2 "--delimiter ','" -d , a.csv
	fails 2 "it is one byte" --delimiter ab a.csv
	fails 2 "a number of records, or all" --infer 0 a.csv
	fails 2 "did you mean int?" -s 'a intt' a.csv
	fails 2 "two columns are called 'a'" -s 'a int, b as a' a.csv
	fails 2 "-d needs the column of the event time" -d 1s a.csv
	fails 2 "has a column of that name" --filename a a.csv
	fails 2 "--filename: a column's name is missing" --filename '' a.csv
}

@test "a column that isn't there is named, with those that are" {
	fails 2 "a.csv has no column 'zz'" -s 'zz int' a.csv
	[[ "$output" == *"the columns are: a, b"* ]]
	fails 2 "no column 'zz'" -t zz a.csv
	printf 'a,c\n1,x\n' > c.csv
	fails 1 "c.csv has no column 'b', which a.csv has" a.csv c.csv
}

@test "a malformed record stops with file, line, column and why" {
	printf 'dep_delay,x\n1,p\nabc,q\n' > f.csv
	fails 1 "f.csv:3:1: 'abc' is not an int (column dep_delay)" -s 'dep_delay int' f.csv
	fails 1 "whose type was inferred: see --infer" --infer 1 f.csv
	printf 'a,b\n1,x,3\n' > f.csv
	fails 1 "f.csv:2:5: 3 fields where the header has 2" f.csv
	printf 'a,b\n1,"x\n2,y\n' > f.csv
	fails 1 "f.csv:2:3: unterminated quote" f.csv
	printf 'a,b\n1,x"y\n' > f.csv
	fails 1 "f.csv:2:4: a quote inside an unquoted field" f.csv
	printf 'a\n\xff\n' > f.csv
	fails 1 "is not UTF-8 text" f.csv
}

@test "a stage that fails sends no END, and says why in the stream" {
	printf 'a\n1\nx\n' > f.csv
	run bash -c "ssource -s 'a int' f.csv 2>/dev/null > out.frames"
	[ "$status" -eq 1 ]
	run frames --kinds < out.frames
	[[ "$output" == *ERROR ]]
}

@test "--bad skip counts, --bad PATH writes NDJSON when all is done" {
	printf 'a,b\n1,x\nq,"y"\n3,z\n4\n' > f.csv
	run bash -c "ssource -s 'a int, b string' --bad skip f.csv 2>err > out.frames"
	[ "$status" -eq 0 ]
	grep -q "2 malformed records skipped" err
	[ "$(frames < out.frames)" = '[1, "x"]
[3, "z"]' ]
	ssource -s 'a int, b string' --bad bad.ndjson f.csv > out.frames 2>/dev/null
	[ "$(head -n 1 bad.ndjson)" = '{"input":"f.csv","line":3,"column":1,"reason":"'"'q' is not an int (column a)"'","record":"q,\"y\""}' ]
	[ "$(wc -l < bad.ndjson)" -eq 2 ]
	python3 -c 'import json; [json.loads(l) for l in open("bad.ndjson")]'
	rm bad.ndjson
	fails 5 "none.csv" --bad bad.ndjson a.csv none.csv
	[ ! -e bad.ndjson ]
}

@test "compressed files and archives open as what is in them, whatever they are called" {
	for tool in gzip bzip2 xz zstd lz4; do
		"$tool" -c < a.csv > packed
		[ "$(rows -f csv packed)" = '[1, "x"]
[2, "y"]' ]
		[ "$(rows -f csv < packed)" = '[1, "x"]
[2, "y"]' ]
	done
	tar cf ab.tar a.csv b.csv
	tar czf ab.tgz a.csv b.csv
	python3 -m zipfile -c ab.zip a.csv b.csv
	for archive in ab.tar ab.tgz ab.zip; do
		[ "$(rows --filename file "$archive")" = "[1, \"x\", \"$archive:a.csv\"]
[2, \"y\", \"$archive:a.csv\"]
[3, \"z\", \"$archive:b.csv\"]" ]
	done
}

@test "a zip archive can't come from a pipe: exit 2 with a hint" {
	python3 -m zipfile -c ab.zip a.csv
	run bash -c "cat ab.zip | ssource 2>&1 >/dev/null"
	[ "$status" -eq 2 ]
	[[ "$output" == *"a zip archive can't be read from a pipe"*"save it to a file"* ]]
	[ "$(rows < ab.zip)" = '[1, "x"]
[2, "y"]' ]
}

@test "a damaged or cut compressed file is bad data, with its name" {
	{ echo a; seq 100000; } > n.csv
	for tool in gzip bzip2 xz zstd lz4; do
		"$tool" -c < n.csv > packed
		head -c $(($(stat -c %s packed) / 2)) packed > cut
		fails 1 "cut: damaged" -s 'a string' cut
		python3 -c 'd = bytearray(open("packed", "rb").read()); d[len(d) // 2] ^= 64
open("flipped", "wb").write(d)'
		run ssource --header no flipped # a flipped first name would be another error
		[ "$status" -eq 1 ]
	done
}

@test "types are inferred, and -s with a star overrides some" {
	printf 'i,f,s,d,t,b,z,n\n1,1.5,x,2013-01-31,2013-01-31T10:00:00Z,true,007,NA\n2,2,y,2013-02-01,2013-02-01 10:00,false,01,5\n' > f.csv
	ssource --null NA f.csv > out.frames
	[ "$(frames --schema < out.frames)" = "i int, f float, s string, d date, t timestamp, b bool, z string, n int" ]
	ssource -s '*, i timestamp(ms) as at, z int' f.csv > out.frames
	[ "$(frames --schema < out.frames)" = "at timestamp, f float, s string, d date, t timestamp, b bool, z int, n string" ]
	ssource -s 't, i float' f.csv > out.frames
	[ "$(frames --schema < out.frames)" = "t timestamp, i float" ]
}

@test "headers: yes, no, found out; names that repeat; delimiters; tsv" {
	printf '1,2\n3,4\n' > f.csv
	[ "$(rows f.csv)" = '[1, 2]
[3, 4]' ]
	[ "$(rows --header yes f.csv)" = '[3, 4]' ]
	[ "$(rows --header no -s 'x int' a.csv --bad skip 2>/dev/null)" = '[1]
[2]' ]
	printf 'a,a,\n1,2,3\n' > f.csv
	ssource f.csv > out.frames
	[ "$(frames --schema < out.frames)" = "a int, a_2 int, c3 int" ]
	printf 'a;b\n1;x,y\n' > f.txt
	[ "$(rows --delimiter ';' f.txt)" = '[1, "x,y"]' ]
	printf 'a\tb\n1\tx,y\n' > f.tsv
	[ "$(rows f.tsv)" = '[1, "x,y"]' ]
	[ "$(rows -f csv --delimiter '\t' f.tsv)" = '[1, "x,y"]' ]
}

@test "several inputs are one stream, matched by name" {
	[ "$(rows --filename f a.csv b.csv)" = '[1, "x", "a.csv"]
[2, "y", "a.csv"]
[3, "z", "b.csv"]' ]
	[ "$(rows a.csv - < b.csv)" = '[1, "x"]
[2, "y"]
[3, "z"]' ]
	[ "$(rows --limit 2 a.csv none.csv)" = '[1, "x"]
[2, "y"]' ]
}

@test "an empty input has no columns to take, unless -s gives them" {
	: > empty.csv
	fails 1 "empty.csv is empty" empty.csv
	[ -z "$(rows -s 'a int' empty.csv)" ]
	run frames --kinds < out.frames
	[ "$output" = "HELLO TICK SCHEMA WATERMARK END" ]
}

@test "--quoted-newlines no ends a record at every newline" {
	printf 'a,b\n1,"x\n2,y\n' > f.csv
	fails 1 "isn't closed on its line" --quoted-newlines no f.csv
	[ "$(rows --quoted-newlines no --bad skip f.csv 2>/dev/null)" = '[2, "y"]' ]
}

@test "-t wants a timestamp and says how to get one; no event time is malformed" {
	fails 2 "-s '*, a timestamp(ms)'" -t a a.csv
	printf 'at,n\n1000,1\n,2\n' > f.csv
	fails 1 "f.csv:3:1: no event time (column at)" -s '*, at timestamp(ms)' -t at f.csv
}

@test "a bounded source places only the final watermark, with -d one after every 8192 rows" {
	python3 -c 'print("at"); [print(i * 1000) for i in range(20000)]' > f.csv
	ssource -s 'at timestamp(ms)' -t at f.csv > out.frames
	[ "$(frames --watermarks < out.frames)" = "20000 9223372036854775807" ]
	ssource -s 'at timestamp(ms)' -t at -d 2s f.csv > out.frames
	[ "$(frames --watermarks < out.frames)" = "8192 8188999999
16384 16380999999
20000 9223372036854775807" ]
	# However it arrives: the same.
	python3 -c 'import sys, time
data = open("f.csv", "rb").read()
for i in range(0, len(data), 7001): sys.stdout.buffer.write(data[i:i + 7001]); sys.stdout.flush()' |
		ssource -s 'at timestamp(ms)' -t at -d 2s > piped.frames
	[ "$(frames --watermarks < piped.frames)" = "$(frames --watermarks < out.frames)" ]
	[ "$(frames < piped.frames)" = "$(frames < out.frames)" ]
}

@test "a recorded edge is an input" {
	printf 'at,n\n1000,1\n2000,2\n3000,3\n' > f.csv
	ssource -s '*, at timestamp(ms)' -t at -d 1s f.csv > one.frames
	ssource one.frames > two.frames
	[ "$(frames < two.frames)" = "$(frames < one.frames)" ]
	[ "$(frames --watermarks < two.frames)" = "$(frames --watermarks < one.frames)" ]
	[ "$(rows -s 'n' --limit 2 one.frames)" = '[1]
[2]' ]
	[ "$(rows -f frames < one.frames | wc -l)" -eq 3 ]
	head -c -10 one.frames > cut.frames
	fails 3 "cut.frames" cut.frames
	run bash -c "cat one.frames | ssource 2>&1 >/dev/null"
	[ "$status" -eq 2 ]
	[[ "$output" == *"is a frame stream already"* ]]
}

@test "nexmark: events without a file" {
	[ "$(rows 'nexmark:bid?events=1000' | wc -l)" -eq 920 ]
	[ "$(rows --limit 10 -s 'auction, price' nexmark:bid | wc -l)" -eq 10 ]
	fails 2 "nexmark" 'nexmark:bids'
	fails 2 "by itself" nexmark:bid a.csv
}

@test "--rate and --limit hold back and cut off" {
	start=$(date +%s%N)
	[ "$(rows --rate 100 --limit 31 'nexmark:bid?events=10000' | wc -l)" -eq 31 ]
	took=$((($(date +%s%N) - start) / 1000000))
	[ "$took" -ge 250 ]
}

@test "--progress tells rows and bytes on standard error" {
	run bash -c "ssource --progress a.csv 2>&1 >/dev/null"
	[ "$status" -eq 0 ]
	[[ "$output" == *"2 rows"* ]]
}

@test "a reader that goes away ends it quietly" {
	run bash -c "set -o pipefail; ssource 'nexmark:bid' 2>err | head -c 1000 > /dev/null"
	[ ! -s err ]
	[ "$status" -eq 0 ]
}

@test "a live input's records go on at once; interrupted it sends no END and exits 130" {
	mkfifo live
	ssource --header no < live > out.frames 2> err 3>&- &
	pid=$!
	exec 4> live
	echo 1,a >&4
	for _ in $(seq 100); do
		[ "$(frames < out.frames 2> /dev/null)" = '[1, "a"]' ] && break
		sleep 0.05
	done
	[ "$(frames < out.frames)" = '[1, "a"]' ]
	kill -INT "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 130 ]
	exec 4>&-
	[[ "$(frames --kinds < out.frames)" != *END* ]]
}

@test "Python's csv module reads the same" {
	python3 "$top/tests/csv_oracle.py" "$(command -v ssource)" 300
}

@test "a compressed recording reads back as the plain one" {
	cd "$BATS_TEST_TMPDIR"
	printf 'a,b\n1,x\n2,y\n' >a.csv
	ssource a.csv >a.frames
	ssource a.csv | zstd -q >a.frames.zst
	gzip -c a.frames >recorded
	ssource a.frames | ssink -f csv >plain
	ssource a.frames.zst | ssink -f csv | cmp plain -
	ssource -f frames recorded | ssink -f csv | cmp plain -
	head -c 60 recorded >cut.frames.gz
	run ssource cut.frames.gz
	[ "$status" -ne 0 ]
}
