#!/usr/bin/env bats
# sjoin of streams, of changelogs, and of more than fits in memory.  Streams without an end are scripts'
# frames that say so; rows are read back by tests/tools/frames.py, not by the project.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	PYTHONPATH="$root/tests/tools"
	export PYTHONPATH
	cd "$BATS_TEST_TMPDIR"
	printf '%s\n' id,k,v 1,a,1 2,b,2 3,,3 >left.csv
	printf '%s\n' b,w a,10 c,30 a,40 >right.csv
	# A right stream that says it has no end; and one of changes: +I a 10, +I c 30, a's 10 becomes 11.
	script right.endless '[("a",10),("c",30),("a",40)]' None False
	script right.changes '[("a",10),("c",30),("a",10),("a",11)]' '[0,0,1,2]' False
	script right.done '[("a",10),("c",30),("a",10),("a",11),("c",30)]' '[0,0,1,2,3]' True
	script left.changes '[(1,"a",1),(2,"b",2),(1,"a",1),(1,"a",5),(2,"b",2)]' '[0,0,1,2,3]' True \
		'["id","k","v"]' '["int","string","int"]'
}

# FILE ROWS OPS BOUNDED [NAMES TYPES [TIME]]: a frame stream.
script() {
	python3 -c '
import sys, frames
name, rows, ops, bounded, names, types, time = sys.argv[1:]
frames.write(open(name, "wb"), eval(names), eval(types), eval(rows), ops=eval(ops),
    bounded=eval(bounded), time=eval(time))' \
		"$1" "$2" "$3" "$4" "${5:-[\"b\",\"w\"]}" "${6:-[\"string\",\"int\"]}" "${7:-None}"
}

# Rows of a changelog as they come: op, values.
changes() {
	python3 -c '
import sys, frames
s = frames.read(sys.stdin.buffer)
assert s.end == len(s.rows)
for op, row in zip(s.ops, s.rows):
    print(("+I", "-U", "+U", "-D")[op], *row)'
}

# The table that is left.
table() {
	python3 -c '
import sys, frames
for row in frames.read(sys.stdin.buffer).table():
    print(*row)'
}

join() {
	ssource left.csv | sjoin -q -k 'k = b' "$@"
}

refused() {
	run bash -c 'ssource left.csv | sjoin -k "k = b" "$@" >out 2>errors' - "$@"
	echo "$* gives $status: $(cat errors)"
	grep -q '^sjoin: error: ' errors
	[ "$status" -eq 2 ]
}

@test "--ttl is for streams by keys alone, and takes some time" {
	for options in '--static' '--tumble 1s' '--hop 2s,1s' '--cumulate 2s,1s' '--within 0s,1s' '--as-of'; do
		# shellcheck disable=SC2086
		refused --ttl 1h $options right.endless
		grep -q -- '--ttl' errors
	done
	for ttl in -1s 0s 200y ten; do
		refused "--ttl=$ttl" right.endless
		grep -q -- '--ttl' errors
	done
}

@test "--static needs an end of RIGHT, and says what else there is" {
	refused --static right.endless
	grep -q 'RIGHT (from script) never ends, and --static reads it to its end first' errors
	grep -q -- '--ttl' errors
}

@test "joins over time refuse a changelog and name the stage it is from" {
	script timed '[(0,"a",1)]' '[0]' True '["at","b","w"]' '["timestamp","string","int"]' '"at"'
	for options in '--tumble 1s' '--within 0s,1s' '--as-of'; do
		run bash -c "sjoin -k b $options timed <timed >out 2>errors"
		echo "$options: $(cat errors)"
		[ "$status" -eq 2 ]
		grep -q '^sjoin: error: .* is a changelog (from script)' errors
		grep -q 'a join by keys alone' errors
	done
}

@test "a stream without --ttl is warned of, once" {
	run bash -c 'ssource left.csv | sjoin -k "k = b" right.endless 2>errors >out.frames'
	[ "$status" -eq 0 ]
	[ "$(grep -c 'sjoin: warning: RIGHT (from script) never ends' errors)" -eq 1 ]
	grep -q -- '--ttl' errors
	run bash -c 'ssource left.csv | sjoin -k "k = b" --ttl 1h right.endless 2>errors >out.frames'
	[ "$status" -eq 0 ]
	[ ! -s errors ]
}

@test "--ttl of a RIGHT that ends is of no use, and that is said" {
	run bash -c 'ssource left.csv | sjoin -k "k = b" --ttl 1h right.csv 2>errors >out.frames'
	[ "$status" -eq 0 ]
	grep -q 'sjoin: warning: --ttl: RIGHT (from .*) has an end' errors
}

@test "an inner join of streams of rows that stay is one" {
	run bash -c 'ssource left.csv | sjoin -q -k "k = b" right.endless |
		ssink -f csv | sort'
	[ "$status" -eq 0 ]
	[ "$output" = '1,a,1,10
1,a,1,40
id,k,v,w' ]
}

@test "the other kinds of streams give a changelog that ends as the join" {
	[ "$(join --kind left right.endless | table)" = "1 a 1 10
1 a 1 40
2 b 2 None
3 None 3 None" ]
	[ "$(join --kind right right.endless | table)" = "1 a 1 10
1 a 1 40
None c None 30" ]
	[ "$(join --kind full right.endless | table | wc -l)" -eq 5 ]
	[ "$(join --kind semi right.endless | table)" = "1 a 1" ]
	[ "$(join --kind anti right.endless | table)" = "2 b 2
3 None 3" ]
	for kind in left right full semi anti; do
		run bash -c "ssource left.csv | sjoin -q -k 'k = b' --kind $kind right.endless | ssink -f csv"
		[ "$status" -eq 0 ]
		[[ "${lines[0]}" == op,* ]]
	done
}

# A conversation with a join of two scripts: PROGRAM has left, right (frames.Writer) and until(what),
# which waits for an output row that starts so, with its op, and until_watermark(us).  The output's
# changes are printed.
talk() {
	local program="$1"

	shift
	cat >talk.py <<-EOF
		import os, subprocess, sys, time, frames

		def output():
		    while True:
		        try:
		            return frames.read(open("out.frames", "rb"))
		        except AssertionError:  # a frame that isn't there as a whole
		            time.sleep(0.01)

		def seen():
		    s = output()
		    return ["%s %s" % (("+I", "-U", "+U", "-D")[o], " ".join(map(str, r)))
		            for o, r in zip(s.ops, s.rows)]

		def until(*what):
		    end = time.monotonic() + 20
		    while not all(any(r.startswith(w) for r in seen()) for w in what):
		        assert time.monotonic() < end, (what, seen())
		        time.sleep(0.01)

		def until_watermark(us):
		    end = time.monotonic() + 20
		    while not any(w >= us for _, w in output().watermarks):
		        assert time.monotonic() < end, (us, output().watermarks)
		        time.sleep(0.01)

		os.mkfifo("right.fifo")
		join = subprocess.Popen(["sjoin", "-q"] + sys.argv[1:] + ["right.fifo"], stdin=subprocess.PIPE,
		                        stdout=open("out.frames", "wb"))
		names, types = ["k", "at", "v"], ["string", "timestamp", "int"]
		left = frames.Writer(join.stdin, names, types, bounded=False, time="at")
		right = frames.Writer(open("right.fifo", "wb"), names, types, ops=True, bounded=False, time="at")
	EOF
	printf '%s\n' "$program" >>talk.py
	cat >>talk.py <<-EOF
		left.end()
		right.end()
		assert join.wait(20) == 0
		print("\n".join(seen()))
	EOF
	python3 talk.py "$@"
}

@test "a left row that meets nobody goes out with nulls, until it meets somebody" {
	run talk '
left.rows([("a", 1, 1)])
until("+I a 1 1 None")
right.rows([("a", 2, 10, 0)])
until("+U a 1 1 2 10")
right.rows([("a", 3, 20, 0), ("a", 2, 10, 3), ("a", 3, 20, 1), ("a", 3, 21, 2)])
until("+U a 1 1 3 21")
right.rows([("a", 3, 21, 3)])' -k k --kind left
	[ "$status" -eq 0 ]
	[ "$output" = '+I a 1 1 None None
-U a 1 1 None None
+U a 1 1 2 10
+I a 1 1 3 20
-D a 1 1 2 10
-U a 1 1 3 20
+U a 1 1 3 21
-U a 1 1 3 21
+U a 1 1 None None' ]
}

@test "RIGHT's changes on a stream go through to the left rows" {
	[ "$(join --kind left right.changes | table)" = "1 a 1 11
2 b 2 None
3 None 3 None" ]
	[ "$(join --kind full right.changes | table)" = "1 a 1 11
2 b 2 None
3 None 3 None
None c None 30" ]
}

@test "a changelog that ends is worked off before LEFT comes" {
	[ "$(join right.done | changes)" = '+I 1 a 1 11' ]
	[ "$(join --kind full right.done | changes)" = '+I 1 a 1 11
+I 2 b 2 None
+I 3 None 3 None' ]
}

@test "a left changelog streams through with its ops" {
	run bash -c 'sjoin -k "k = b" --kind left right.done <left.changes >out.frames'
	[ "$status" -eq 0 ]
	[ "$(changes <out.frames)" = '+I 1 a 1 11
+I 2 b 2 None
-U 1 a 1 11
+U 1 a 5 11
-D 2 b 2 None' ]
	[ "$(sjoin -k 'k = b' --kind anti right.done <left.changes | changes)" = '+I 2 b 2
-D 2 b 2' ]
	# Two matches: an update is no pair any more.
	[ "$(sjoin -k 'k = b' right.csv <left.changes | changes)" = '+I 1 a 1 10
+I 1 a 1 40
-D 1 a 1 10
-D 1 a 1 40
+I 1 a 5 10
+I 1 a 5 40' ]
	# -w lets one half through.
	[ "$(sjoin -k 'k = b' -w 'v > 1' right.done <left.changes | changes)" = '+I 1 a 5 11' ]
}

@test "an update whose join key changes becomes a delete and an insert" {
	script moves '[(1,"a",1),(1,"a",1),(1,"c",1)]' '[0,1,2]' True '["id","k","v"]' \
		'["int","string","int"]'
	[ "$(sjoin -k 'k = b' right.csv <moves | changes)" = '+I 1 a 1 10
+I 1 a 1 40
-D 1 a 1 10
-D 1 a 1 40
+I 1 c 1 30' ]
	[ "$(sjoin -k 'k = b' --kind semi right.csv <moves | changes)" = '+I 1 a 1
-D 1 a 1
+I 1 c 1' ]
}

@test "what takes back a row that isn't there is bad data, with the row" {
	script broken '[("a",10),("a",99)]' '[0,3]' True
	run bash -c 'ssource left.csv | sjoin -k "k = b" broken >out 2>errors'
	[ "$status" -eq 1 ]
	grep -q "^sjoin: error: RIGHT (from script) takes back a row that isn't there: b=a, w=99" errors
	run frames_kinds out
	[[ "$output" != *END* ]]
}

frames_kinds() {
	python3 "$root/tests/tools/frames.py" --kinds <"$1"
}

@test "rows are forgotten after --ttl, and their results stay" {
	run talk '
left.rows([("a", 1, 1)])
until("+I a 1 1 None")
right.rows([("a", 5, 10, 0)])
until("+U a 1 1 5 10")
left.watermark(1000004)
right.watermark(1000004)
until_watermark(4)
left.rows([("a", 4002, 2)])
until("+I a 4002 2 5")
left.watermark(1000005)
right.watermark(1000005)
until_watermark(5)
left.rows([("a", 1000006, 3)])
until("+I a 1000006 3 None")
right.rows([("a", 5, 10, 3)])' -k k --kind left --ttl 1s
	[ "$status" -eq 0 ]
	[ "$output" = '+I a 1 1 None None
-U a 1 1 None None
+U a 1 1 5 10
+I a 4002 2 5 10
+I a 1000006 3 None None' ]
}

@test "with --ttl the watermark is held back by it, and the output keeps LEFT's event time" {
	run talk '
left.rows([("a", 5000000, 1)])
until("+I a 5000000")
left.watermark(7000000)
right.watermark(7000000)' -k k --kind left --ttl 1s
	[ "$status" -eq 0 ]
	run python3 "$root/tests/tools/frames.py" --watermarks <out.frames
	[ "${lines[0]}" = "1 6000000" ]
	run python3 -c 'import frames; print(frames.read(open("out.frames", "rb")).time)'
	[ "$output" = "['at', 0]" ]
}

@test "ten times --memory: the same bytes, in little memory" {
	seq 1 400000 | sed 's/.*/&,text of row number &, which takes some room/' |
		sed '1i b,w,x' >big.csv
	seq 1 3 1200000 | shuf --random-source=big.csv | sed '1i k' >probe.csv
	ssource big.csv >big.frames
	for kind in inner full anti; do
		ssource probe.csv | sjoin -k 'k = b' --kind $kind big.frames |
			ssink -f csv >memory.$kind
		ssource probe.csv >probe.frames
		mkdir -p temporary
		run bash -c "TMPDIR=$PWD/temporary python3 -c '
import os, resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdin=open(\"probe.frames\"),
                        stdout=open(\"out.frames\", \"wb\")).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)' sjoin --memory 3M -k 'k = b' --kind $kind big.frames"
		[ "$status" -eq 0 ]
		echo "$kind: $output KiB"
		[[ "${BIN:-}" == *san-* ]] || [ "$output" -lt 24576 ] # KiB, the program included
		ssource out.frames | ssink -f csv >disk.$kind
		cmp memory.$kind disk.$kind
	done
	[ -z "$(ls -A temporary)" ]
}

@test "one key that is larger than --memory is joined block by block" {
	seq 1 60000 | sed 's/.*/a,&/; 1i b,w' >hot.csv
	for kind in left full semi; do
		join --kind $kind -w 'w % 20000 = 0' hot.csv | ssink -f csv >memory
		join --kind $kind -w 'w % 20000 = 0' --memory 1k hot.csv | ssink -f csv >disk
		cmp memory disk
		[ "$(wc -l <disk)" -gt 1 ]
	done
}

@test "streams are not spilled: more than --memory is told" {
	seq 1 60000 | sed 's/.*/a&,&/; 1i b,w' >many.csv
	ssource many.csv >many.frames
	python3 -c '
import frames
s = frames.read(open("many.frames", "rb"))
frames.write(open("many.endless", "wb"), s.names, s.types, s.rows, bounded=False)'
	refused -q --memory 100k many.endless
	grep -q -- '--memory' errors
	grep -q -- 'shorter --ttl' errors
}

@test "no room for what doesn't fit in memory is told, with the directory" {
	seq 1 60000 | sed 's/.*/a&,&/; 1i b,w' >many.csv
	run bash -c 'ssource left.csv | TMPDIR=/nowhere/at/all sjoin -k "k = b" --memory 1k many.csv \
		2>errors >out'
	[ "$status" -eq 5 ]
	grep -q '^sjoin: error: /nowhere/at/all' errors
	grep -q 'TMPDIR' errors
}
