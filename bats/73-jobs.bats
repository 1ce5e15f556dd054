#!/usr/bin/env bats
# Jobs under the supervisor, end to end: what they give, what they promise, what survives what.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export XDG_STATE_HOME=$PWD/state NO_COLOR=1 LC_ALL=C
	started=
}

teardown() {
	for p in $started; do
		kill -9 "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
}

# write NAME EVENTS RATE SINK: a windowed pipeline as a file.
write() {
	printf 'ssource "nexmark:bid?events=%s" --rate %s -d 0s |\n  swindow --tumble 1s -k auction "count(*) as n, max(price) as top" |\n  ssink -f csv --header no %s\n' \
		"$2" "$3" "$4" >"$1.sh"
}

# undisturbed NAME: its rows, sorted, by bash, without waiting.
undisturbed() {
	mkdir -p calm
	(cd calm && sed 's/--rate [0-9]* //' "../$1.sh" >fast.sh && bash fast.sh)
	find calm/out calm/out.csv -type f -exec cat {} + 2>/dev/null | sort
}

# start NAME [options]: in the background.
start() {
	local name=$1
	shift
	runnel --checkpoint 100ms "$@" "$name.sh" >"$name.log" 2>&1 3>&- &
	job=$!
	started="$started $job"
}

checkpoints() { # the greatest number there is
	ls "state/runnel/$1/checkpoints" 2>/dev/null | sort -n | tail -1
}

reaches() { # reaches NAME N: waits for checkpoint N
	local i
	for ((i = 0; i < 600; i++)); do
		[ "$(checkpoints "$1")" -ge "$2" ] 2>/dev/null && return
		sleep 0.05
	done
	cat "$1.log"
	false
}

gone() { # gone PID STATUS: waits for it to end so
	local status=0
	wait "$1" 2>/dev/null || status=$?
	echo "it ended with $status"
	[ "$status" -eq "$2" ]
}

says() {
	status=0
	"$@" >out.txt 2>errors </dev/null || status=$?
	echo "$* gives $status"
	cat out.txt errors
}

@test "a bounded job gives what bash gives, and leaves nothing behind" {
	write a 20000 1000000 out.csv
	says runnel a.sh
	[ "$status" -eq 0 ]
	[ ! -s errors ]
	cmp out.csv <(cd "$(mktemp -d)" && bash "$BATS_TEST_TMPDIR/a.sh" && cat out.csv)
	[ -z "$(ls -A state/runnel)" ]
	[ -z "$(ls -A | grep '^\.out')" ]
}

@test "in several subtasks it gives the same rows" {
	write a 20000 1000000 out/
	says runnel -p 3 a.sh
	[ "$status" -eq 0 ]
	[ "$(ls out | wc -l)" -eq 3 ]
	cmp <(sort out/*) <(undisturbed a)
}

@test "in several subtasks sums of floats agree to 1e-12" {
	local text="ssource 'nexmark:bid?events=200000' | swindow -k channel 'count(*) as n, sum(price * 0.1) as total, avg(ln(price)) as mean' | ssink -f csv --header no"
	bash -c "$text one.csv"
	runnel -p 4 -c "$text four.csv"
	python3 - <<-'END'
	import csv
	one, four = ({r[0]: r[1:] for r in csv.reader(open(n))} for n in ("one.csv", "four.csv"))
	assert one.keys() == four.keys() and len(one) > 1000
	for key, a in one.items():
	    b = four[key]
	    assert a[0] == b[0]
	    assert all(abs(float(x) - float(y)) <= 1e-12 * abs(float(x)) for x, y in zip(a[1:], b[1:])), key
	END
}

@test "the plan is shown, and nothing runs" {
	write a 20000 1000000 out/
	says runnel --plan -p 2 a.sh
	[ "$status" -eq 0 ]
	diff out.txt - <<-'END'
	a: bounded, parallelism 2
	ssource          x2   bounded
	                      nexmark: goes back to an event
	swindow          x2   reads ssource, by auction
	                      keeps count(*) as n, max(price) as top per auction and window
	ssink            x2   reads swindow
	                      directory out/: exactly once, part files appear at each checkpoint
	END
	[ ! -e out ] && [ ! -e state ]
}

@test "a join's file and side outputs are stages of the plan" {
	printf 'k,v\n1,a\n' >right.csv
	printf 'k,w\n1,5\n2,6\nx,7\n' >left.csv
	printf '%s\n' "ssource -s 'k int, w int' --bad bad.ndjson left.csv |" \
		"smap -w 'w < 6' --else else.frames | sjoin -k k right.csv | ssink -f csv > out.csv" >j.sh
	says runnel --plan j.sh
	[ "$(grep -c '^[a-z]' out.txt)" -eq 8 ]
	says runnel j.sh
	[ "$status" -eq 0 ]
	diff out.csv - <<<$'k,w,v\n1,5,a'
	diff bad.ndjson - <<<'{"input":"left.csv","line":4,"column":1,"reason":"'"$(sed 's/.*"reason":"//; s/".*//' bad.ndjson)"'","record":"x,7"}'
	[ "$(ssource else.frames | ssink -f ndjson)" = '{"k":2,"w":6}' ]
}

@test "bad data ends it with status 1 and the stage's message, once, and leaves no state" {
	printf 'k\n1\nx\n' >bad.csv
	says runnel -c "ssource -s 'k int' bad.csv | ssink out.csv"
	[ "$status" -eq 1 ]
	[ "$(grep -c 'bad.csv:3:1' errors)" -ge 1 ]
	grep -q '^runnel: error: ssource: bad.csv:3:1: ' errors
	[ ! -e out.csv ]
	[ -z "$(ls -A state/runnel)" ]
}

@test "killed stages: started again, the rows are the same" {
	write a 60000 30000 out/
	start a -p 2
	for n in 2 5 8; do
		reaches a $n
		pkill -9 -P "$job" -x "$(shuf -n 1 -e ssource swindow ssink)"
	done
	gone "$job" 0
	grep -q 'killed by signal 9 (Killed); starting again in 0.1 s' a.log
	grep -q 'going on from checkpoint' a.log
	cmp <(sort out/*) <(undisturbed a)
}

@test "a killed supervisor takes its stages along; a new one goes on" {
	write a 60000 30000 out.csv
	start a
	reaches a 3
	stages=$(pgrep -P "$job")
	kill -9 "$job"
	gone "$job" 137
	says runnel --checkpoint 100ms a.sh
	[ "$status" -eq 0 ]
	grep -q '^runnel: going on from checkpoint' errors
	for p in $stages; do # dead, though init may take its time to hear of it
		[ ! -e "/proc/$p" ] || grep -q '^State:.*zombie' "/proc/$p/status" || [ ! -e "/proc/$p" ]
	done
	cmp <(sort out.csv) <(undisturbed a)
}

@test "SIGTERM: a checkpoint, its commit, status 143; started again at another parallelism it goes on" {
	write a 60000 30000 out/
	start a -p 2
	reaches a 3
	kill -TERM "$job"
	gone "$job" 143
	[ -n "$(ls out)" ] || [ "$(checkpoints a)" -gt 3 ]
	says runnel -p 3 --checkpoint 100ms a.sh
	[ "$status" -eq 0 ]
	cmp <(sort out/*) <(undisturbed a)
}

@test "an old savepoint into a directory that has gone on: each job's parts are its own" {
	write a 60000 30000 out/
	start a
	reaches a 2
	says sctl savepoint a "$PWD/a.sav"
	[ "$status" -eq 0 ]
	before=$(cat out/* 2>/dev/null | sort)
	gone "$job" 0
	mv out first
	mkdir out
	cp first/* out/
	says runnel --from a.sav --name again a.sh
	[ "$status" -eq 0 ]
	for f in first/*; do cmp "$f" "out/${f#first/}"; done
	# What the second gives is what came after the savepoint: with what came before it is all.
	for f in first/*; do rm "out/${f#first/}"; done
	[ "$(cat out/* | wc -l)" -gt 0 ]
	[ -z "$(sort out/* | comm -23 - <(sort first/*))" ]
}

@test "a changed pipeline: what is new starts empty, what is gone is named" {
	write a 60000 30000 out/
	start a
	reaches a 2
	says sctl stop a --savepoint "$PWD/a.sav"
	gone "$job" 0
	sed 's/max(price) as top/max(price) as top, min(price) as low/' a.sh >more.sh
	says runnel --plan --from a.sav more.sh
	[ "$status" -eq 0 ]
	grep -q 'min(price) is new' out.txt
	sed 's/, max(price) as top//' a.sh >less.sh
	says runnel --plan --from a.sav less.sh
	[ "$status" -eq 4 ]
	grep -qF -- "--drop-state 'swindow:max(price)'" errors
	says runnel --from a.sav --drop-state 'swindow:max(price)' less.sh
	[ "$status" -eq 0 ]
	sed 's/swindow/swindow --name other/' a.sh >renamed.sh
	says runnel --plan --from a.sav renamed.sh
	[ "$status" -eq 4 ]
	grep -q 'swindow: no stage has this name; it kept count' errors
	says runnel --plan --from a.sav --drop-state swindow renamed.sh
	[ "$status" -eq 0 ]
	grep -q '^other: new; it starts empty' out.txt
	says runnel --plan --from a.sav --drop-state swinow renamed.sh
	[ "$status" -eq 2 ]
}

@test "damaged state is refused with status 4, never stepped over" {
	write a 600000 30000 out/
	start a
	reaches a 3
	kill -9 "$job"
	gone "$job" 137
	newest=state/runnel/a/checkpoints/$(ls -d state/runnel/a/checkpoints/*/manifest-* | cut -d/ -f5 | sort -n | tail -1)
	cp -r "$newest" saved
	printf 'X' | dd of="$newest/swindow.0.frames" bs=1 seek=100 conv=notrunc status=none
	says runnel a.sh
	[ "$status" -eq 4 ]
	grep -q 'the state is damaged' errors
	rm -r "$newest" && cp -r saved "$newest"
	printf 'X' | dd of="$(echo "$newest"/manifest-*)" bs=1 seek=100 conv=notrunc status=none
	says runnel a.sh
	[ "$status" -eq 4 ]
	grep -q 'the manifest is damaged' errors
	# One that was never complete is none.
	rm -r "$newest" && cp -r saved "$newest"
	mkdir state/runnel/a/checkpoints/999999
	touch state/runnel/a/checkpoints/999999/swindow.0.frames
	start a
	for _ in $(seq 200); do [ "$(checkpoints a)" -gt 1000000 ] && break; sleep 0.05; done
	[ "$(checkpoints a)" -gt 1000000 ] # and its number isn't used again
}

@test "a stage that hangs is killed and started again; one whose reader rests isn't" {
	write a 60000 30000 out/
	start a --heartbeat 1s
	reaches a 2
	pkill -STOP -P "$job" -x swindow
	gone "$job" 0
	grep -q 'swindow: gave no sign of life' a.log
	cmp <(sort out/*) <(undisturbed a)
	runnel --heartbeat 1s -c "ssource 'nexmark:bid?events=300000' | ssink -f csv" 2>errors | (sleep 3; wc -l) >count
	[ ! -s errors ]
	[ "$(cat count)" -eq 276001 ]
}

@test "too many failures are the end: which stage, why, and where its log is" {
	write a 600000 30000 out/
	start a --restart 1/1m
	reaches a 1
	pkill -9 -P "$job" -x swindow
	reaches a $(($(checkpoints a) + 2))
	pkill -9 -P "$job" -x swindow
	gone "$job" 5
	grep -qF 'runnel: error: swindow failed too often (--restart 1/1m): killed by signal 9 (Killed)' a.log
	grep -q "its log: .*/logs/swindow.0.log" a.log
}

@test "a job runs once, and its directory is its own" {
	write a 600000 30000 out/
	start a
	reaches a 1
	says runnel a.sh
	[ "$status" -eq 2 ]
	grep -q 'the job is running already' errors
	mkdir other && cp a.sh other/
	says runnel --state state/runnel/a other/a.sh
	[ "$status" -eq 2 ]
	kill -9 "$job"
	gone "$job" 137
	says runnel --state state/runnel/a other/a.sh
	[ "$status" -eq 2 ]
	grep -q 'belongs to' errors
}

@test "two jobs on one file: the second is refused; on one directory both write" {
	write a 600000 20000 out.csv
	write b 600000 20000 out.csv
	start a
	reaches a 1
	says runnel b.sh
	[ "$status" -eq 2 ]
	grep -q 'another job is writing it' errors
	kill -9 "$job"
	gone "$job" 137
	write c 20000 1000000 dir/
	write d 20000 1000000 dir/
	runnel c.sh & runnel d.sh
	wait $!
	[ "$(cat dir/* | wc -l)" -eq $((2 * $(undisturbed c >/dev/null; cat calm/dir/* | wc -l))) ]
}

@test "README's second example" {
	says "$root/bats/examples/recovery"
	[ "$status" -eq 0 ]
	grep -qx 'the same' out.txt
}

@test "a file goes on as it was begun: another format is refused with status 4" {
	write a 60000 30000 rows.txt
	start a
	for _ in $(seq 200); do [ -s .rows.txt.*.part ] && break; sleep 0.05; done
	reaches a $(($(checkpoints a) + 2))
	kill -TERM "$job"
	gone "$job" 143
	sed -i 's/ssink -f csv/ssink -f ndjson/' a.sh
	says runnel a.sh
	[ "$status" -eq 4 ]
	grep -q 'rows.txt: begun as csv, and now it would go on as ndjson' errors
	sed -i 's/ssink -f ndjson/ssink -f csv/' a.sh
	says runnel --checkpoint 100ms a.sh
	[ "$status" -eq 0 ]
	cmp <(sort rows.txt) <(mkdir calm; cd calm; sed 's/--rate [0-9]* //' ../a.sh >fast.sh; bash fast.sh; sort rows.txt)
}
