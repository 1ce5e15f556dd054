#!/usr/bin/env bats
# ssource on live inputs: files that grow and are rotated, directories, pipes that never end, merged
# inputs, the clock as event time, silence.  Waits on conditions, never for a time.

bats_require_minimum_version 1.5.0

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
	started=
}

teardown() {
	for p in $started; do
		kill -9 "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
}

within() { # within COMMAND...: until it succeeds, for 20 s at most
	local i
	for ((i = 0; i < 2000; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		read -rt 0.01 <> <(:) || true
	done
	echo "never: $*"
	cat out messages
	return 1
}

# follow ARGUMENT...: ssource with these in the background, its rows as ndjson in out.
follow() {
	: >out
	: >messages
	mkfifo edge 2>/dev/null || true
	ssink -f ndjson <edge >out 2>>messages 3>&- &
	sink=$!
	ssource "$@" >edge 2>>messages 3>&- &
	source=$!
	started="$started $source $sink"
}

watches() { # watches N: the source has come to watch so many files and directories
	[ "$(cat /proc/"$source"/fdinfo/* | grep -c '^inotify')" -eq "$1" ]
}

catches_interrupts() { # before that, one that a background child is sent is lost
	[[ "$(readlink "/proc/$source/exe")" = */ssource ]] || return
	((0x$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$source/status") & 2))
}

lines() { # lines N: there are as many
	[ "$(wc -l <out)" -eq "$1" ]
}

out_is() { # out_is LINE...
	printf '%s\n' "$@" >wanted
	diff wanted out
}

# drained: an interrupt ends both well.
drained() {
	local status=0
	kill -"${1:-INT}" "$source"
	wait "$source" || status=$?
	[ "$status" -eq 0 ] || { echo "ssource: $status"; cat messages; return 1; }
	wait "$sink" || status=$?
	[ "$status" -eq 0 ] || { echo "ssink: $status"; cat messages; return 1; }
}

fails() { # fails TEXT ARGUMENT...: a usage error that says so
	local text=$1
	shift
	run ssource "$@" </dev/null
	[ "$status" -eq 2 ] || { echo "status $status: $output"; return 1; }
	[[ "$output" == *"$text"* ]] || { echo "said: $output"; return 1; }
}

@test "what makes no sense is refused, and says what would" {
	printf 'at,n\n2024-01-01T00:00:00Z,1\n' >a.csv
	fails "--from is for --follow" --from end a.csv
	fails "--from end: standard input has no end" --follow --from end -
	fails "--follow is for inputs of records, not for nexmark:" --follow nexmark:bid
	fails "--merge is for inputs of records, not for nexmark:" --merge nexmark:bid
	fails "--idle: a time longer than none" --follow -t at --idle 0s a.csv
	fails "--idle: a time longer than none" --follow -t at --idle -1s a.csv
	fails "--idle needs the column of the event time" --follow --idle 1s a.csv
	fails "--idle needs watermarks" -t at --idle 1s a.csv
	fails "--max-ahead needs the column of the event time" --max-ahead 1s a.csv
	fails "--max-ahead: with -t now no time is ahead" -t now --max-ahead 1s a.csv
	fails "-t now adds a column now, but a.csv has one" -t now -s 'n int as now' a.csv
	fails "'middle' is none of" --follow --from middle a.csv
	ssource a.csv >a.frames
	fails "--follow is for inputs of records, not for a recorded stream" --follow a.frames
	mkdir d
	run ssource d
	[ "$status" -eq 5 ]
	[[ "$output" == *"ssource --follow d"* ]]
	run ssource --merge d a.csv
	[ "$status" -eq 5 ]
	run ssource --merge a.csv none.csv
	[ "$status" -eq 5 ]
	[[ "$output" == *"can't open none.csv"* ]]
}

@test "a file that grows: whole lines at once, half ones when they are whole or drained" {
	printf '{"id":1}\n{"id":2}\n' >a.ndjson
	follow --follow a.ndjson
	within lines 2
	printf '{"id":' >>a.ndjson
	printf '3}\n{"id":4}\n{"i' >>a.ndjson
	within lines 4
	printf 'd":5}' >>a.ndjson
	printf 'not json' >b
	drained
	out_is '{"id":1}' '{"id":2}' '{"id":3}' '{"id":4}' '{"id":5}'
	[ ! -s messages ]
}

@test "drained in the middle of a record: what can't be parsed is left out, and that is said" {
	printf '{"id":1}\n' >a.ndjson
	follow --follow a.ndjson
	within lines 1
	printf '{"id":2}\n{"i' >>a.ndjson
	within lines 2
	drained
	grep -q 'a.ndjson ends in the middle of a record, which is left out' messages
	printf 'x\n' >>a.ndjson # malformed, and whole
	follow --follow a.ndjson
	status=0
	wait "$source" || status=$?
	[ "$status" -eq 1 ]
	grep -q 'a.ndjson:3:' messages
}

@test "SIGTERM drains too; an interrupt before anything came is an empty stream" {
	follow --follow none.ndjson
	within watches 1
	drained TERM
	out_is_empty=$(wc -c <out)
	[ "$out_is_empty" -eq 0 ]
}

@test "a path that doesn't exist yet, in a directory that doesn't" {
	follow --follow logs/a.log -f lines
	mkdir logs
	printf 'one\n' >logs/a.log
	within lines 1
	drained
	out_is '{"line":"one"}'
}

@test "renamed: the old one to its end, generations between, then the new one" {
	printf 'a\n' >app.log
	follow --follow app.log
	within lines 1
	mv app.log app.log.1
	printf 'b\n' >>app.log.1
	within lines 2
	printf 'c' >>app.log.1 # held back, and with it what comes behind
	printf 'd\n' >app.log
	mv app.log.1 app.log.2
	mv app.log app.log.1
	printf 'e\n' >app.log
	within lines 5
	rm app.log.1 app.log.2
	printf 'f\n' >>app.log
	within lines 6
	drained
	out_is '{"line":"a"}' '{"line":"b"}' '{"line":"c"}' '{"line":"d"}' '{"line":"e"}' '{"line":"f"}'
}

@test "a writer who is slow to notice is still read" {
	printf 'a\n' >app.log
	exec 7>>app.log
	follow --follow app.log
	within lines 1
	mv app.log app.log.1
	printf 'b\n' >app.log
	within lines 2
	printf 'late\n' >&7
	within lines 3
	exec 7>&-
	drained
	out_is '{"line":"a"}' '{"line":"b"}' '{"line":"late"}'
}

@test "cut to nothing: from its start, also when it is longer by then" {
	printf 'a\nb\n' >app.log
	follow --follow app.log
	within lines 2
	: >app.log
	printf 'c\n' >>app.log
	within lines 3
	printf 'dddd\neeee\n' >app.log
	within lines 5
	drained
	out_is '{"line":"a"}' '{"line":"b"}' '{"line":"c"}' '{"line":"dddd"}' '{"line":"eeee"}'
}

@test "without inotify all the same" {
	printf 'a\n' >app.log
	follow --follow --poll app.log
	within lines 1
	printf 'b\n' >>app.log
	within lines 2
	mv app.log app.log.1
	printf 'c\n' >app.log
	within lines 3
	: >app.log
	printf 'd\n' >>app.log
	within lines 4
	drained
	out_is '{"line":"a"}' '{"line":"b"}' '{"line":"c"}' '{"line":"d"}'
}

@test "--from end: what is there is left out, but for a line that isn't whole" {
	printf 'id,x\n1,a\n2,' >a.csv
	mkdir sub
	follow --follow --from end a.csv sub/new.csv
	within watches 3
	printf 'b\n3,c\n' >>a.csv
	within lines 2
	printf 'id,x\n4,d\n' >sub/new.csv # came later: from its start
	within lines 3
	drained
	out_is '{"id":2,"x":"b"}' '{"id":3,"x":"c"}' '{"id":4,"x":"d"}'
}

@test "csv files that are rotated have a header each" {
	printf 'id,x\n1,a\n' >a.csv
	follow --follow a.csv
	within lines 1
	mv a.csv a.csv.1
	printf 'x,id\nb,2\n' >a.csv
	within lines 2
	drained
	out_is '{"id":1,"x":"a"}' '{"id":2,"x":"b"}'
	printf 'id,y\n3,a\n' >b.csv
	run ssource --merge a.csv b.csv
	[ "$status" -eq 1 ]
	[[ "$output" == *"b.csv has no column 'x', which a.csv has"* ]]
}

@test "a directory: files as they appear, grow, are renamed, are packed; not hidden and temporary ones" {
	mkdir in
	printf '{"n":1}\n' >in/b
	touch -d 2020-01-01 in/b
	printf '{"n":2}\n' >in/a
	follow --follow -f ndjson --filename f in
	within lines 2
	printf '{"n":9}\n' >in/.hidden
	printf '{"n":9}\n' >in/x.tmp
	printf '{"n":9}\n' >'in/x~'
	printf '{"n":3}\n' >in/c
	within lines 3
	printf '{"n":4}\n' >>in/a
	within lines 4
	mv in/a in/z
	printf '{"n":5}\n' >>in/z
	within lines 5
	mv in/x.tmp in/x
	within lines 6
	printf '{"n":6}\n{"n":7}\n' | gzip >packed
	mv packed in/p.gz
	within lines 8
	printf '{"n":8}\n' >d
	mv d in/
	within lines 9
	rm in/b in/z
	printf '{"n":10}\n' >in/b
	within lines 10
	drained
	out_is '{"n":1,"f":"in/b"}' '{"n":2,"f":"in/a"}' '{"n":3,"f":"in/c"}' '{"n":4,"f":"in/a"}' \
		'{"n":5,"f":"in/a"}' '{"n":9,"f":"in/x"}' '{"n":6,"f":"in/p.gz"}' '{"n":7,"f":"in/p.gz"}' \
		'{"n":8,"f":"in/d"}' '{"n":10,"f":"in/b"}'
}

@test "more files than are held open" {
	mkdir in
	echo 0 >in/f0
	follow --follow -f lines in
	within lines 1
	for ((i = 1; i < 150; i++)); do echo "$i" >"in/f$i"; done
	within lines 150
	for ((i = 0; i < 150; i++)); do echo "more $i" >>"in/f$i"; done
	within lines 300
	drained
	[ "$(sort -u out | wc -l)" -eq 300 ]
	# in the order in which they appeared
	head -150 out | diff - <(for ((i = 0; i < 150; i++)); do echo "{\"line\":\"$i\"}"; done)
}

@test "standard input that never ends, and one that does" {
	mkfifo pipe
	mkfifo edge
	ssink -f ndjson <edge >out 2>>messages 3>&- &
	sink=$!
	ssource --follow -f lines - <pipe >edge 2>>messages 3>&- &
	source=$!
	started="$started $source $sink"
	exec 7>pipe
	echo a >&7
	within lines 1
	printf b >&7
	drained
	exec 7>&-
	out_is '{"line":"a"}' '{"line":"b"}'
	run bash -c "printf 'x\ny' | ssource --follow -f lines - | ssink -f ndjson"
	[ "$status" -eq 0 ]
	[ "$output" = $'{"line":"x"}\n{"line":"y"}' ]
}

@test "a named pipe gets one writer after another" {
	mkfifo p
	follow --follow -f lines p
	echo a >p
	within lines 1
	printf b >p
	within lines 2
	drained
	out_is '{"line":"a"}' '{"line":"b"}'
}

@test "several files: the least watermark counts; --idle lets go of a silent one" {
	mkfifo edge
	printf '{"at":"2024-01-01T00:00:10Z"}\n' >a
	printf '{"at":"2024-01-01T00:01:10Z"}\n' >b
	swindow --tumble 10s 'count(*) as n' <edge 2>>messages 3>&- | ssink -f ndjson >out 2>>messages 3>&- &
	sink=$!
	ssource --follow -f ndjson -s 'at timestamp' -t at --idle 300ms a b >edge 2>>messages 3>&- &
	source=$!
	started="$started $source $sink"
	# Both fall silent; time goes on from the farthest, and the last window closes ten seconds
	# later: a row a minute on does that at once.
	printf '{"at":"2024-01-01T00:02:10Z"}\n' >>b
	within lines 2
	printf '{"at":"2024-01-01T00:00:11Z"}\n' >>a # late by now
	printf '{"at":"2024-01-01T00:03:10Z"}\n' >>b
	within lines 3
	drained
	grep -q '"window_start":"2024-01-01T00:00:10Z".*"n":1' out
	[ "$(wc -l <out)" -eq 4 ]
}

@test "the last minute of a quiet log shows" {
	printf '{"at":"2024-01-01T00:00:58.5Z"}\n' >a
	mkfifo edge
	swindow --tumble 1m 'count(*) as n' <edge 2>>messages 3>&- | ssink -f ndjson >out 2>>messages 3>&- &
	sink=$!
	ssource --follow -f ndjson -s 'at timestamp' -t at --idle 200ms a >edge 2>>messages 3>&- &
	source=$!
	started="$started $source $sink"
	within lines 1
	drained
	[ "$(wc -l <out)" -eq 1 ]
}

@test "-t now: windows close by the clock, without rows" {
	printf 'a\nb\n' >a.log
	mkfifo edge
	swindow --tumble 1s 'count(*) as n' <edge 2>>messages 3>&- | ssink -f ndjson >out 2>>messages 3>&- &
	sink=$!
	ssource --follow -t now a.log >edge 2>>messages 3>&- &
	source=$!
	started="$started $source $sink"
	within lines 1
	grep -q '"n":2' out
	drained
	run bash -c "printf 'a\nb\n' | ssource -f lines -t now | smap 'now is not null as has'  | ssink -f csv"
	[ "$output" = $'has\ntrue\ntrue' ]
}

@test "--max-ahead: a wrong clock is a malformed record, with its line" {
	printf 'at,n\n2024-01-01T00:00:01Z,1\n2224-01-01T00:00:00Z,2\n,3\n2024-01-01T00:00:02Z,4\n' >a.csv
	run ssource -t at --max-ahead 1h a.csv --bad skip
	[ "$status" -eq 0 ]
	run bash -c "ssource -t at --max-ahead 1h --bad bad.ndjson a.csv | ssink -f csv --header no"
	[ "$status" -eq 0 ]
	[[ "$output" == *"2 malformed records"* ]]
	[[ "$output" == *$'2024-01-01T00:00:01Z,1\n2024-01-01T00:00:02Z,4'* ]]
	grep -q '"line":3,.*2224-01-01T00:00:00Z is further ahead of the clock.*"record":"2224-01-01T00:00:00Z,2"' bad.ndjson
	run ssource -t at --max-ahead 1h a.csv
	[ "$status" -eq 1 ]
	[[ "$output" == *"a.csv:"* ]]
}

@test "--merge: nearly in order, each file its own watermark, names in a column" {
	seq 0 5 30000 | awk '{print "{\"at\":" $1 "}"}' >a.ndjson
	seq 1 10 30000 | awk '{print "{\"at\":" $1 "}"}' >b.ndjson
	tar cf c.tar b.ndjson
	ssource --merge -s 'at timestamp(ms)' -t at -d 0s --filename f a.ndjson b.ndjson c.tar >m.frames
	in_time() { # rows that aren't late
		swindow --tumble 1s 'count(*) as n' | swindow 'sum(n) as n' | ssink -f csv --header no
	}
	[ "$(ssource m.frames | in_time)" -eq 12001 ]
	[ "$(ssource m.frames | swindow -k f 'count(*) as n' | ssink -f csv --header no | sort)" = \
		$'a.ndjson,6001\nb.ndjson,3000\nc.tar:b.ndjson,3000' ]
	# one after another, the second would be late by half a minute
	[ "$(ssource -s 'at timestamp(ms)' -t at -d 0s a.ndjson b.ndjson | in_time)" -lt 9001 ]
	# the same each time
	ssource --merge -s 'at timestamp(ms)' -t at -d 0s --filename f a.ndjson b.ndjson c.tar |
		ssink -f ndjson | cmp - <(ssource m.frames | ssink -f ndjson)
}

@test "--merge reads pipes side by side: a slow one doesn't hold the others' rows" {
	mkfifo p q edge
	ssink -f ndjson <edge >out 2>>messages 3>&- &
	sink=$!
	ssource --merge -f lines p q >edge 2>>messages 3>&- &
	source=$!
	started="$started $source $sink"
	exec 7>p 8>q
	echo 'q1' >&8
	within lines 1
	echo 'p1' >&7
	within lines 2
	exec 8>&-
	echo 'p2' >&7
	within lines 3
	exec 7>&-
	wait "$source"
	wait "$sink"
	out_is '{"line":"q1"}' '{"line":"p1"}' '{"line":"p2"}'
}

@test "an interrupted merge of what is bounded sends no END" {
	mkfifo p
	ssource --merge -f lines p >out.frames 2>>messages 3>&- &
	source=$!
	started=$source
	exec 7>p
	within catches_interrupts
	kill -INT "$source"
	status=0
	wait "$source" || status=$?
	exec 7>&-
	[ "$status" -eq 130 ]
}

@test "--limit and --rate hold for live inputs" {
	seq 100 >a.log
	run bash -c "ssource --follow --limit 3 --rate 1000 a.log | ssink -f csv --header no"
	[ "$status" -eq 0 ]
	[ "$output" = $'1\n2\n3' ]
}

@test "supervised: exactly once across stops, kills and rotations" {
	export XDG_STATE_HOME=$PWD/state
	printf 'ssource --follow app.log | ssink -f csv --header no out/\n' >job.sh
	start() {
		runnel --state s --checkpoint 50ms job.sh >>messages 2>&1 3>&- &
		job=$!
		started="$started $job"
	}
	rows() { [ "$(cat out/part-* | wc -l)" -eq "$1" ]; }
	: >out.txt
	printf '1\n2\n' >app.log
	start
	within rows 2
	kill -INT "$job"
	wait "$job" || true
	printf '3\n' >>app.log
	mv app.log app.log.1
	printf '4\n' >app.log
	mv app.log.1 app.log.2
	mv app.log app.log.1
	printf '5\n6\n' >app.log
	start
	within rows 6
	pkill -9 -P "$job" ssource
	printf '7\n' >>app.log
	within rows 7
	kill -INT "$job"
	wait "$job" || true
	cat out/part-* >got
	seq 7 | diff - got
}

@test "the plan says what is followed, and why it is one subtask" {
	printf 'ssource --follow a.log b.log | ssink -f csv out/\n' >job.sh
	run runnel --plan -p 2 job.sh
	[ "$status" -eq 0 ]
	[[ "$output" == *"follows a.log, b.log: goes back to a byte, also of a file that was renamed"* ]]
	[[ "$output" == *"one subtask: types are inferred"* ]]
	[[ "$output" == *unbounded* ]]
	printf 'ssource --follow -f ndjson -s "a int" a.log b.log | ssink -f csv out/\n' >job.sh
	run runnel --plan -p 2 job.sh
	[[ "$output" != *"one subtask"* ]]
	printf 'ssource --follow - | ssink -f csv out/\n' >job.sh
	run runnel --plan job.sh
	[[ "$output" == *"can't be read again"* ]]
}
