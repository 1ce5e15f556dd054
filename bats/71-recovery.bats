#!/usr/bin/env bats
# What goes wrong around a job: full disks, directories of others, inputs that change, deaths between
# two lines.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	fault="${FAULT_SO:-$root/build/fault.so}"
	preload="$fault${LD_PRELOAD:+:$LD_PRELOAD}"
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

# start [VARIABLE=VALUE...] -- OPTIONS: job.sh in the background.
start() {
	local variables=()
	while [ "$1" != -- ]; do
		variables+=("$1")
		shift
	done
	shift
	env "${variables[@]}" runnel --state s --checkpoint 100ms "$@" job.sh >log 2>&1 3>&- &
	job=$!
	started="$started $job"
}

says() {
	status=0
	"$@" >out.txt 2>errors </dev/null || status=$?
	echo "$* gives $status"
	cat out.txt errors
}

ends() { # ends STATUS: the job in the background does
	local status=0
	wait "$job" || status=$?
	cat log
	echo "it ended with $status"
	[ "$status" -eq "$1" ]
}

within() { # within COMMAND...: true within 20 s
	local i
	for ((i = 0; i < 400; i++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.05
	done
	cat log
	false
}

complete() { # complete N: a checkpoint of at least that number is
	local m
	for m in s/checkpoints/*/manifest-*; do
		[ -e "$m" ] && [ "$(basename "$(dirname "$m")")" -ge "$1" ] && return
	done
	false
}

preloads() {
	[ -e "$fault" ] || skip "no fault.so"
	case $BIN in *san*) skip "sanitizers come before what is preloaded" ;; esac
}

@test "a directory with somebody's files is no state directory, and stays as it is" {
	mkdir -p d/spool d/checkpoints/7 d/restored
	for f in d/spool/a d/checkpoints/7/model d/restored/b; do echo mine >$f; done
	says runnel --state d -c "ssource 'nexmark:bid?events=1000' | ssink -f csv out.csv"
	[ "$status" -eq 2 ]
	diff errors - <<-'END'
	runnel: error: d is neither empty nor the state of a job
	give the state a directory of its own: --state DIR
	END
	[ "$(cat d/spool/a d/checkpoints/7/model d/restored/b)" = $'mine\nmine\nmine' ]
	[ ! -e d/lock ]
}

@test "it runs where the end of children is ignored" {
	(
		trap '' CHLD
		exec python3 -c 'import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execvp("runnel", ["runnel", "--state", "s", "-c",
	"ssource \"nexmark:bid?events=1000\" | ssink -f csv out.csv"])'
	)
	[ -s out.csv ]
}

@test "inputs that have come, gone or changed places are refused: positions go by their number" {
	for f in a b c; do
		(echo id,f && seq 1 20000 | sed "s/\$/,$f/") >$f.csv
	done
	write() { echo "ssource --rate $1 -s 'id int, f string' $2 | ssink -f csv --header no out/" >job.sh; }
	write 20000 "a.csv c.csv"
	start --
	within complete 2
	kill -TERM $job
	ends 143
	for inputs in "a.csv b.csv c.csv" "c.csv a.csv" "a.csv"; do
		write 0 "$inputs"
		says runnel --state s job.sh
		[ "$status" -eq 4 ]
		grep -q 'the inputs have changed' errors
	done
	mv a.csv moved.csv
	write 0 "moved.csv c.csv"
	says runnel -p 2 --state s job.sh
	[ "$status" -eq 0 ]
	cmp <(sort out/*) <(tail -qn +2 moved.csv c.csv | sort)
}

@test "a checkpoint that is given up leaves no files, and who waits for it is told" {
	preloads
	echo "ssource nexmark:bid --rate 10000 | swindow --tumble 1h -k bidder 'count(*)' | ssink -f csv out/" >job.sh
	start LD_PRELOAD="$preload" FAULT=fsync:1:EIO FAULT_PROGRAM=swindow --
	within grep -q 'is given up' log
	says timeout 20 sctl savepoint ./s sp.tar.zst
	[ "$status" -eq 5 ]
	grep -q 'sp.tar.zst: savepoint [0-9]* was given up: .*/swindow.0.frames: can.t sync' errors
	says timeout 20 sctl checkpoint ./s
	[ "$status" -eq 5 ]
	grep -q 'checkpoint [0-9]* was given up' errors
	newest=$(ls s/checkpoints | sort -n | tail -1)
	[ -z "$(find s/checkpoints -type f | grep -v "checkpoints/$newest/")" ]
}

@test "a savepoint that is waited for survives the death of a stage" {
	echo "ssource nexmark:bid --rate 10000 | swindow --tumble 1h -k bidder 'count(*)' | ssink -f csv out/" >job.sh
	start -- --checkpoint 0s
	within sctl checkpoint ./s
	stage=$(pgrep -P $job -x swindow)
	kill -STOP "$stage"
	timeout 30 sctl savepoint ./s sp.tar.zst >answer 2>&1 3>&- &
	asked=$!
	started="$started $asked"
	sleep 0.5
	kill -9 "$stage"
	wait $asked
	grep -q '^savepoint [0-9]* in ' answer
	tar -tf sp.tar.zst | grep -q swindow.0.frames
	kill -TERM $job
	ends 143
}

@test "--drop-state drops once, also when the supervisor dies right after the first manifest" {
	preloads
	echo "ssource nexmark:bid --rate 10000 | swindow --tumble 1h -k bidder 'count(*)' | ssink -f csv out/" >job.sh
	start --
	within complete 2
	kill -TERM $job
	ends 143
	start LD_PRELOAD="$preload" FAULT=after:1:manifest- FAULT_PROGRAM=runnel -- --drop-state swindow
	ends 137
	grep -q 'swindow: its state is dropped' log
	start -- --drop-state swindow
	within grep -q -- '--drop-state swindow: done at an earlier start' log
	! grep -q 'swindow: its state is dropped' log
	kill -TERM $job
	ends 143
}

@test "--drop-state is not done if the supervisor dies right before the first manifest" {
	preloads
	echo "ssource nexmark:bid --rate 10000 | swindow --tumble 1h -k bidder 'count(*)' | ssink -f csv out/" >job.sh
	start --
	within complete 2
	kill -TERM $job
	ends 143
	start LD_PRELOAD="$preload" FAULT=before:1:manifest- FAULT_PROGRAM=runnel -- --drop-state swindow
	ends 137
	start -- --drop-state swindow
	within grep -q 'swindow: its state is dropped' log
	kill -TERM $job
	ends 143
}

@test "a supervisor that dies while it removes the state of a job that has ended doesn't begin anew" {
	preloads
	echo "ssource 'nexmark:bid?events=20000' | ssink -f csv --header no out/" >job.sh
	start LD_PRELOAD="$preload" FAULT=after:1:/ended FAULT_PROGRAM=runnel --
	ends 137
	rows=$(cat out/part-* | wc -l)
	[ "$rows" -eq 18400 ]
	says runnel --state s job.sh
	[ "$status" -eq 0 ]
	[ "$(cat errors)" = 'runnel: the job had ended' ]
	[ "$(cat out/part-* | wc -l)" -eq "$rows" ]
	[ ! -e s ]
}
