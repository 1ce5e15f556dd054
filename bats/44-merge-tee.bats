#!/usr/bin/env bats
# smerge and stee as a user types them, in a shell and under runnel.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export XDG_STATE_HOME=$PWD/home NO_COLOR=1 LC_ALL=C
	printf '%s\n' a,b,at 1,x,2024-01-01T00:00:01Z 2,y,2024-01-01T00:00:12Z >a.csv
	printf '%s\n' b,at,a z,2024-01-01T00:00:03Z,1.5 ,2024-01-01T00:00:20Z,7 >b.csv
	printf '%s\n' a,c 1,2 >c.csv
	started=
}

teardown() {
	for p in $started; do
		kill -9 "$p" 2>/dev/null || true
	done
	wait 2>/dev/null || true
}

# says TEXT: a pipeline of bash's; standard output to out, standard error to errors.
says() {
	status=0
	timeout 60 bash -c "set -o pipefail; $1" >out 2>errors </dev/null 3>&- || status=$?
	echo "$1 gives $status"
	cat out errors
}

# supervised TEXT [OPTIONS]: the same under runnel.
supervised() {
	status=0
	timeout 60 runnel -q --state state "${@:2}" -c "$1" >out 2>errors </dev/null 3>&- || status=$?
	echo "runnel $1 gives $status"
	cat out errors
}

eventually() { # eventually COMMAND: until it succeeds, at most half a minute
	for _ in $(seq 600); do
		if eval "$1"; then return 0; fi
		sleep 0.05
	done
	echo "never: $1"
	return 1
}

# Frames behind HELLO, which every stage writes itself.
behind_hello() {
	python3 -c '
import sys
d = open(sys.argv[1], "rb").read()
sys.stdout.buffer.write(d[6 + int.from_bytes(d[1:5], "big"):])' "$1"
}

kinds() {
	python3 "$root/tests/tools/frames.py" --kinds <"$1"
}

# ---- smerge ----

@test "columns are found by name, in the first stream's order; int widens to float" {
	says "smerge <(ssource a.csv) <(ssource b.csv) | ssink -f csv --header yes"
	[ "$status" -eq 0 ]
	[ ! -s errors ]
	[ "$(head -n 1 out)" = a,b,at ]
	sed 1d out | sort | diff - <(printf '%s\n' 1.0,x,2024-01-01T00:00:01Z 1.5,z,2024-01-01T00:00:03Z \
		2.0,y,2024-01-01T00:00:12Z 7.0,,2024-01-01T00:00:20Z)
	says "ssource b.csv | smerge <(ssource a.csv) | ssink -f csv"
	[ "$status" -eq 0 ]
	[ "$(head -n 1 out)" = b,at,a ]
	[ "$(wc -l <out)" -eq 5 ]
	for p in 1 3; do
		supervised "smerge <(ssource a.csv) <(ssource b.csv) | ssink -f csv" -p $p
		[ "$status" -eq 0 ]
		[ ! -s errors ]
		[ "$(head -n 1 out)" = a,b,at ]
		[ "$(wc -l <out)" -eq 5 ]
	done
}

@test "files are opened as ssource opens them; a recorded stream is one" {
	ssource b.csv | ssink b.frames
	gzip -k a.csv
	says "smerge a.csv.gz b.frames a.csv | ssink -f csv --header no"
	[ "$status" -eq 0 ]
	[ "$(wc -l <out)" -eq 6 ]
	says "ssource a.csv | smerge - b.frames a.csv.gz | ssink -f csv --header no"
	[ "$status" -eq 0 ]
	[ "$(wc -l <out)" -eq 6 ]
	supervised "smerge a.csv.gz b.frames a.csv | ssink -f csv --header no" -p 2
	[ "$status" -eq 0 ]
	[ "$(wc -l <out)" -eq 6 ]
}

@test "twenty streams are one" {
	says "smerge $(printf '<(ssource a.csv) %.0s' {1..20}) | ssink -f csv --header no"
	[ "$status" -eq 0 ]
	[ "$(wc -l <out)" -eq 40 ]
	supervised "smerge $(printf '<(ssource a.csv) %.0s' {1..20}) | ssink -f csv --header no"
	[ "$status" -eq 0 ]
	[ "$(wc -l <out)" -eq 40 ]
	says "smerge $(printf 'a.csv %.0s' {1..32}) | ssink"
	[ "$status" -eq 3 ]
	grep -qx 'smerge: error: 32 streams; one smerge reads up to 31' errors
}

@test "what doesn't belong together is refused, with both streams and the column" {
	while IFS='|' read -r text message; do
		says "${text//!/|} | ssink -f csv"
		[ "$status" -eq 3 ]
		[ ! -s out ]
		grep -qxF "smerge: error: $message" errors
		grep -qxF "ssink: error: smerge failed: $message" errors
		[ "$(wc -l <errors)" -eq 3 ] # a hint
	done <<-'END'
	smerge a.csv c.csv|a.csv has a column 'b', which c.csv lacks
	smerge <(ssource c.csv) <(ssource a.csv ! smap a)|argument 1 (ssource) has a column 'c', which argument 2 (smap) lacks
	ssource a.csv ! smerge <(ssource -s 'a string, b string, at timestamp' a.csv)|the column 'a' is int in the stage in front (ssource) and string in argument 1 (ssource)
	smerge <(ssource -t at a.csv) b.csv|argument 1 (ssource) has the event time 'at', and b.csv has none
	smerge <(ssource -t at a.csv ! swindow --tumble 1s -k a ! smap 'a, window_end') <(ssource -t at a.csv ! smap 'a, at as window_end')|'window_end' is the end of a window in one of argument 1 (smap) and argument 2 (smap), and a row's own time in the other
	smerge <(ssource -t at a.csv ! smap '*, at as t') <(ssource -t at a.csv ! smap --assign-time t '*, at as t')|the event time of argument 1 (smap) is 'at', that of argument 2 (smap) is 't'
	END
}

@test "wrong usage of smerge is said" {
	while IFS='|' read -r arguments message hint; do
		status=0
		smerge $arguments >out 2>errors </dev/null || status=$?
		cat errors
		[ "$status" -eq 2 ]
		[ ! -s out ]
		[ "$(sed -n 1p errors)" = "smerge: error: $message" ]
		[ -z "$hint" ] || [ "$(sed -n 2p errors)" = "$hint" ]
	done <<-'END'
	|nothing to merge with|for example: smerge <(ssource a.csv) <(ssource b.csv) | ssink
	-|nothing to merge with|
	a.csv - b.csv|- stands first: the stage in front is the first stream|
	END
	supervised 'smerge a.csv | ssink'
	[ "$status" -eq 2 ]
	grep -q 'smerge has no input' errors
}

@test "the watermark is the least: windows of both streams close whole" {
	for i in 1 2 3; do
		python3 -c "
import random, sys
r = random.Random($i)
print('at,v')
for n in range(3000): print('%d,%d' % (n * 1000 + r.randrange(3000), n))" >s$i.csv
	done
	source() { echo "ssource -s 'at timestamp(ms), v int' -t at -d 5s s$1.csv"; }
	text="$(source 1) | smerge <($(source 2)) <($(source 3)) |
		swindow --tumble 10s 'count(*) as n, sum(v) as s' | ssink -f csv --header no"
	says "$text"
	[ "$status" -eq 0 ]
	[ ! -s errors ]
	python3 - >wanted <<-'END'
	import csv, collections, datetime
	n, s = collections.Counter(), collections.Counter()
	for i in (1, 2, 3):
	    for row in csv.DictReader(open("s%d.csv" % i)):
	        w = int(row["at"]) // 10000
	        n[w] += 1
	        s[w] += int(row["v"])
	t = lambda w: datetime.datetime.fromtimestamp(w * 10, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
	for w in sorted(n):
	    print("%s,%s,%d,%d" % (t(w), t(w + 1), n[w], s[w]))
	END
	diff wanted out
	supervised "$text" -p 2
	[ "$status" -eq 0 ]
	diff wanted out
}

@test "a union with a changelog is one: the others insert, keys are dropped" {
	python3 - <<-'END'
	import msgpack
	frame = lambda kind, body: b"\xc9" + len(body).to_bytes(4, "big") + bytes([kind]) + body
	pack = msgpack.packb
	open("log.frames", "wb").write(
	    frame(0, pack(["runnel", 1, {"endian": "little", "stage": "x", "bounded": True}])) +
	    frame(1, pack([1, [["a", "int"], ["b", "string"]], {"key": ["a"], "changelog": True}])) +
	    frame(3, pack([1, [[1, "p", 0], [1, "p", 1], [1, "q", 2], [2, "r", 0], [2, "r", 3]]])) +
	    frame(6, pack([5])))
	END
	says "ssource a.csv | smap 'b, a' | smerge log.frames | ssink merged.frames"
	[ "$status" -eq 0 ]
	python3 - <<-'END'
	import msgpack
	data, at, schema = open("merged.frames", "rb").read(), 0, None
	while at < len(data):
	    n, kind = int.from_bytes(data[at + 1:at + 5], "big"), data[at + 5]
	    if kind == 1:
	        schema = msgpack.unpackb(data[at + 6:at + 6 + n])
	    at += 6 + n
	assert schema[1] == [["b", "string"], ["a", "int"]], schema
	assert schema[2].get("changelog") and not schema[2].get("key"), schema
	END
	ssource merged.frames | ssink -f csv --header no | sort >got
	printf '%s\n' +I,p,1 +I,r,2 +I,x,1 +I,y,2 +U,q,1 -D,r,2 -U,p,1 | sort | diff - got
}

@test "a stream that fails takes the union with it" {
	head -c 100 <(ssource a.csv) >half.frames
	says "ssource a.csv | smerge half.frames <(ssource a.csv) | ssink x.csv"
	[ "$status" -eq 3 ]
	[ ! -e x.csv ]
	grep -q '^smerge: error: half.frames' errors
	grep -q '^ssink: error: smerge failed: ' errors
}

# ---- stee ----

@test "every pipeline gets all rows, and so does standard output, frame by frame" {
	ssource 'nexmark:bid?events=30000' >bids.frames
	says "stee 'ssink a.frames' 'smap -w \"price > 1000\" \"auction, price\" | ssink dear.csv' <bids.frames >main.frames"
	[ "$status" -eq 0 ]
	[ ! -s errors ]
	[ ! -s out ]
	cmp <(behind_hello bids.frames) <(behind_hello main.frames)
	diff <(ssource bids.frames | ssink) <(ssource a.frames | ssink)
	diff <(ssource bids.frames | smap -w 'price > 1000' 'auction, price' | ssink -f csv) dear.csv
	[ -z "$(find . -name '.*.part')" ]
}

@test "variables, substitutions, redirections and a stee within mean the same in a shell and under runnel" {
	cat >p.sh <<-'END'
	set -euo pipefail
	export least=2
	name='in put'
	cp=plain
	ssource a.csv | stee 'smap -w "a >= $least" | ssink -f csv > env.out' \
	  "smap \"a, '$name' as n\" | ssink $cp.csv" \
	  'more=9
	   smap "a + $more as a" | stee "smap a | ssink inner.csv" | ssink nine.csv' \
	  'sjoin -k a <(ssource c.csv |
	     smap "*, ${unset:-5} as five") | ssink join.csv' |
	  smap b | ssink rest.csv
	END
	files="env.out plain.csv inner.csv nine.csv join.csv rest.csv"
	bash p.sh >out 2>errors 3>&-
	[ ! -s out ]
	[ ! -s errors ]
	diff - <(cat $files) <<-'END'
	a,b,at
	2,y,2024-01-01T00:00:12Z
	a,n
	1,in put
	2,in put
	a
	10
	11
	a
	10
	11
	a,b,at,c,five
	1,x,2024-01-01T00:00:01Z,2,5
	b
	x
	y
	END
	cat $files >by_bash
	for p in 1 3; do
		rm $files
		runnel -q -p $p --state state p.sh >out 2>errors 3>&-
		[ ! -s out ]
		[ ! -s errors ]
		diff <(sort by_bash) <(cat $files | sort)
	done
}

@test "random tables merged and teed are what SQLite says, in a shell and under runnel" {
	python3 "$root/tests/merge_oracle.py"
}

@test "the plan has the pipelines' stages, their names and what they write" {
	says "runnel --plan -p 2 -c \"ssource a.csv | stee 'smap a | ssink one/' 'smap --name second b | ssink two.csv' | ssink null:\" | sed 1d"
	[ "$status" -eq 0 ]
	diff - out <<-'END'
	ssource          x2   bounded
	                      file a.csv: goes back to a byte
	stee             x2   reads ssource
	ssink            x2   reads stee
	                      null: nothing is kept
	smap             x2   reads stee (pipeline 1)
	ssink2           x2   reads smap
	                      directory one/: exactly once, part files appear at each checkpoint
	second           x2   reads stee (pipeline 2)
	ssink3           x1   reads second, merged
	                      file two.csv: exactly once, appears at the end
	END
	[ ! -e one ]
}

@test "a wrong pipeline is shown with a caret before anything runs, in a shell and under runnel" {
	while IFS='@' read -r argument place message; do
		says "ssource a.csv | stee 'ssink first.csv' '$argument' | ssink x.csv"
		[ "$status" -eq 3 ]
		grep -qxF "stee: error: pipeline 2:$place: $message" errors
		grep -qx ' *^' errors
		[ -z "$(ls -A | grep -E 'first|x.csv')" ]
		supervised "ssource a.csv | stee 'ssink first.csv' '$argument' | ssink x.csv"
		[ "$status" -eq 2 ]
		grep -qF "runnel: error: -c:1:40: pipeline 2:$place: ${message/foo is/\'foo\' is}" errors
		grep -qx ' *^' errors
		[ ! -e state ]
	done <<-'END'
	smap a | ssink "x@1:16@this " has no end
	smap a | foo | ssink y.csv@1:10@foo is no stage
	smap a | tee b | ssink y.csv@1:10@tee can't be used in a pipeline file
	smap a * | ssink y.csv@1:8@a shell would match * with file names
	smap a | ssink@1:10@ssink has no OUTPUT: standard output belongs to the pipeline around this one
	smap a | ssink -@1:10@ssink has no OUTPUT: standard output belongs to the pipeline around this one
	ssource b.csv | ssink y.csv@1:1@ssource is a source: it reads nothing from a pipe
	smap a | ssource b.csv | ssink y.csv@1:10@ssource is a source: it reads nothing from a pipe
	smap a | smap "a +" | ssink y.csv@1:10@smap: select list:1:4: expected a value, but the text ends here
	smap a | ssink --fromat csv y.csv@1:10@ssink: unknown option --fromat
	ssink y.csv; ssink z.csv@1:12@; can't be used in a pipeline file
	smap a < a.csv | ssink y.csv@1:8@< can't be used here: the rows come from the stage around
	END
}

@test "wrong usage of stee is said" {
	says "ssource a.csv | stee >x"
	[ "$status" -eq 2 ]
	grep -qx 'stee: error: no pipeline to pass rows to' errors
	says "ssource a.csv | stee $(printf "'ssink f%d.csv' " {1..17}) >x"
	[ "$status" -eq 2 ]
	grep -qx 'stee: error: 17 pipelines; one stee has up to 16' errors
	says "ssource a.csv | stee 'ssink y.csv' 'smap a | ssink y.csv' >x"
	[ "$status" -eq 2 ]
	grep -qx 'stee: error: pipeline 2:1:10: y.csv is written to twice' errors
	says "ssource a.csv | stee 'ssink y.csv' >&-"
	[ "$status" -eq 2 ]
	grep -qx 'stee: error: standard output is closed' errors
	supervised "ssource a.csv | stee 'ssink y.csv'"
	[ "$status" -eq 2 ]
	grep -q 'the pipeline ends with stee: its rows go nowhere' errors
	supervised "ssource a.csv | stee 'ssink y.csv' | ssink y.csv"
	[ "$status" -eq 2 ]
	grep -q 'ssink and ssink2 both write to y.csv' errors
	[ ! -e y.csv ]
}

@test "sixteen pipelines" {
	says "ssource a.csv | stee $(for i in {1..16}; do echo "'ssink f$i.csv'"; done | tr '\n' ' ') | ssink null:"
	[ "$status" -eq 0 ]
	[ "$(cat f*.csv | wc -l)" -eq 48 ]
	rm f*.csv
	supervised "ssource a.csv | stee $(for i in {1..16}; do echo "'ssink f$i.csv'"; done | tr '\n' ' ') | ssink null:" -p 2
	[ "$status" -eq 0 ]
	[ "$(cat f*.csv | wc -l)" -eq 48 ]
}

@test "a pipeline that fails makes stee fail, with its name and status, and nothing behind is whole" {
	says "ssource a.csv | stee 'smap \"a / 0 as x\" | ssink y.csv' 'ssink z.csv' | ssink x.csv"
	[ "$status" -eq 3 ]
	[ ! -s out ]
	grep -qx "stee: error: pipeline 1 failed: smap ended with status 1" errors
	grep -qxF '  smap "a / 0 as x" | ssink y.csv' errors
	grep -qx "ssink: error: stee failed: pipeline 1 failed: smap ended with status 1" errors
	[ ! -e x.csv ]
	[ ! -e y.csv ]
	status=0
	ssource a.csv | stee 'ssink /nowhere/y.csv' >x.frames 2>errors || status=$?
	[ "$status" -eq 5 ]
	grep -qx "stee: error: pipeline 1 failed: ssink ended with status 5" errors
	[[ "$(kinds x.frames)" = *ERROR* ]]
	[[ "$(kinds x.frames)" != *END* ]]
	# A stream without an end fails as soon.
	says "ssource nexmark:bid --rate 1000 | stee 'smap \"auction / 0 as x\" | ssink y/' | ssink z/"
	[ "$status" -eq 3 ]
	grep -qx "stee: error: pipeline 1 failed: smap ended with status 1" errors
	supervised "ssource a.csv | stee 'smap \"a / 0 as x\" | ssink y.csv' | ssink x.csv"
	[ "$status" -eq 1 ]
	grep -q "division by zero in 'a / 0'" errors
	[ ! -e x.csv ]
	[ ! -e y.csv ]
}

@test "a stage in front that fails is told once, and no pipeline writes its file" {
	ssource a.csv | head -c 150 >half.frames
	says "stee 'ssink y.csv' 'smap a | ssink z.csv' <half.frames | ssink x.csv"
	[ "$status" -eq 3 ]
	[ "$(grep -c error: errors)" -eq 2 ]
	grep -q '^stee: error: standard input ends in the middle of frame' errors
	grep -q '^ssink: error: stee failed: standard input ends in the middle of frame' errors
	[ -z "$(ls -A | grep -E '[xyz].csv')" ]
}

@test "a process of a pipeline that is killed is a failure" {
	shell=$BASHPID
	ssource nexmark:bid --rate 1000 2>source.err | stee 'smap auction | ssink y/' 2>errors | ssink null: 2>sink.err 3>&- &
	job=$!
	started=$job
	eventually '[ -d y ]' # before that, stee only asks its stages what they are
	eventually 'victim=$(pgrep -x smap -P "$(pgrep -x stee -P $shell)")'
	kill -9 "$victim"
	status=0
	wait $job || status=$?
	started=
	cat errors sink.err
	[ "$status" -eq 3 ]
	grep -qx 'stee: error: pipeline 1 failed: smap ended with status 137' errors
	grep -qx 'ssink: error: stee failed: pipeline 1 failed: smap ended with status 137' sink.err
}

@test "the one behind may leave early: the pipelines get all" {
	says "ssource 'nexmark:bid?events=200000' | stee 'swindow \"count(*) as n\" | ssink n.csv' | head -c 100 | wc -c"
	[ "$status" -eq 0 ]
	[ ! -s errors ]
	[ "$(tr -d ' ' <out)" = 100 ]
	[ "$(sed 1d n.csv)" = "$(ssource 'nexmark:bid?events=200000' | swindow 'count(*) as n' | ssink -f csv --header no)" ]
}

@test "a stage of a pipeline may leave early, having read enough: the others get all" {
	says "ssource 'nexmark:bid?events=200000' | stee 'ssort -n 3 | ssink three.csv' | swindow 'count(*) as n' | ssink -f csv --header no"
	[ "$status" -eq 0 ]
	[ ! -s errors ]
	[ "$(wc -l <three.csv)" -eq 4 ]
	[ "$(cat out)" -eq "$(ssource 'nexmark:bid?events=200000' | swindow 'count(*) as n' | ssink -f csv --header no)" ]
}

@test "a slow pipeline holds up the others; nothing is held back without bound" {
	mkfifo slow
	ssource 'nexmark:bid?events=400000' | stee 'ssink -f csv slow' 2>errors >main.frames 3>&- &
	job=$!
	started=$job
	exec 9<slow # opened, not read
	eventually '[ "$(stat -c %s main.frames)" -gt 0 ]'
	last=-1
	until [ "$(stat -c %s main.frames)" = "$last" ]; do
		last=$(stat -c %s main.frames)
		sleep 0.5
	done
	echo "stands still at $last bytes"
	[ "$last" -lt 20000000 ]
	cat <&9 >slow.csv
	exec 9<&-
	wait $job
	started=
	[ "$(wc -l <slow.csv)" -eq "$(($(ssource main.frames | swindow 'count(*)' | ssink -f csv --header no) + 1))" ]
}

@test "an interrupt drains: all pipelines come to their end" {
	cat >p.sh <<-'END'
	ssource nexmark:bid --rate 20000 |
	  stee 'smap auction | ssink one.csv' 'smap -w "price > 1000" price | ssink two.csv' | ssink -f csv >three.csv
	END
	python3 - <<-'END'
	import os, signal, subprocess, time
	p = subprocess.Popen(["bash", "-o", "pipefail", "p.sh"], preexec_fn=os.setsid)
	for _ in range(600):
	    if os.path.exists("three.csv") and os.path.getsize("three.csv"):
	        break
	    time.sleep(0.05)
	os.killpg(p.pid, signal.SIGINT)
	assert p.wait() == 0, p.returncode
	END
	[ "$(wc -l <one.csv)" -gt 1 ]
	[ "$(wc -l <one.csv)" -eq "$(wc -l <three.csv)" ]
	diff two.csv <(ssource three.csv | smap -w 'price > 1000' price | ssink -f csv)
}

@test "killed under runnel, every sink behind stee has every row once" {
	cat >p.sh <<-'END'
	ssource 'nexmark:bid?events=60000' --rate 20000 |
	  stee 'smap "auction, price" | ssink -f csv --header no one/' \
	       'swindow -k "auction % 10 as k" "count(*) as n, sum(price) as s" | ssink -f csv two.csv' |
	  smerge <(ssource 'nexmark:bid?events=60000' --rate 20000) |
	  smap bidder | ssink -f csv --header no three/
	END
	mkdir calm
	(cd calm && sed 's/--rate 20000//' ../p.sh >p.sh && bash p.sh)
	for pause in 0.3 0.5 0.1 0.3; do
		runnel -q -p 2 --state state --checkpoint 50ms p.sh 2>>log 3>&- &
		job=$!
		started=$job
		eventually '[ -n "$(ls state/checkpoints 2>/dev/null)" ]'
		sleep $pause
		kill -9 $job
		wait $job || true
	done
	started=
	runnel -q -p 2 --state state --checkpoint 50ms p.sh 3>&-
	for sink in one two.csv three; do
		diff <(find calm/$sink -type f -exec cat {} + | sort) <(find $sink -type f -exec cat {} + | sort)
	done
	[ -z "$(find one three . -maxdepth 1 -name '.*.csv*')" ]
	[ ! -e state ]
}
