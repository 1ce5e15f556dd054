#!/usr/bin/env bats
# A job as a user meets it: what it would do, what it refuses, what stops it, where it goes on.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export XDG_STATE_HOME=$PWD/home NO_COLOR=1
	job=
	# Two seconds of bids; what is counted stays in the state until the end.
	cat >count.sh <<-'END'
		ssource "nexmark:bid?events=${events:-40000}" --rate 20000 |
		  swindow -k 'auction % 10 as k' 'count(*) as n, max(price) as best' |
		  ssink -f csv --header no ${out:-out/}
	END
}

teardown() {
	[ -z "$job" ] || kill -9 "$job" 2>/dev/null || true
	wait 2>/dev/null || true
}

says() { # says COMMAND...: standard output to out.txt, standard error to errors, the status to $status
	status=0
	"$@" >out.txt 2>errors </dev/null 3>&- || status=$?
	echo "$* gives $status"
	cat out.txt errors
}

start() { # start OPTIONS...: a job with its state in state/, in the background, until it runs
	runnel --state state "$@" >out.txt 2>errors </dev/null 3>&- &
	job=$!
	eventually '[ "$(state_of)" = running ]'
}

state_of() {
	sctl status ./state --json 2>/dev/null | python3 -c 'import json, sys; print(json.load(sys.stdin)["state"])' 2>/dev/null
}

eventually() { # eventually COMMAND: until it succeeds, at most half a minute
	for _ in $(seq 600); do
		if eval "$1"; then return 0; fi
		sleep 0.05
	done
	echo "never: $1"
	cat errors
	return 1
}

ends() { # ends STATUS: how the job in the background does
	status=0
	wait "$job" || status=$?
	job=
	cat errors
	[ "$status" -eq "$1" ]
}

as_bash() { # as_bash FILE: what the job has put into out/ is what bash puts there
	out=by_bash/ bash "$1" 3>&-
	cat by_bash/* | sort >wanted
	[ -s wanted ]
	cat out/part-* | sort | diff -q wanted -
	[ -z "$(find out -name '.*')" ]
}

@test "--plan shows stages, exchanges, state and promises, and runs nothing" {
	cat >p.sh <<-'END'
		ssource orders.csv -t at | smap 'id, customer, at' |
		  sjoin -k customer --tumble 1m --late late.frames <(ssource customers.csv -t at) |
		  swindow --hop 10m,1m -k name 'count(*) as n' | ssink -f csv out/
	END
	echo 'id,customer,at' >orders.csv
	echo 'customer,name,at' >customers.csv
	says runnel --plan -p 2 p.sh
	[ "$status" -eq 0 ]
	[ ! -s errors ]
	diff - out.txt <<-'END'
		p: bounded, parallelism 2
		ssource          x2   bounded
		                      file orders.csv: goes back to a byte
		smap             x2   reads ssource
		sjoin            x2   reads smap, by "customer" and ssource2, by "customer"
		                      keeps both sides' rows until their window closes
		swindow          x2   reads sjoin, by name
		                      keeps count(*) as n per name and window
		ssink            x2   reads swindow
		                      directory out/: exactly once, part files appear at each checkpoint
		ssource2         x2   bounded
		                      file customers.csv: goes back to a byte
		sjoin-side1      x1   reads sjoin (side output 1), merged
		                      file late.frames: exactly once, appears at the end
	END
	[ ! -e out ]
	[ -z "$(ls home/runnel 2>/dev/null)" ]
}

@test "what can't be exactly once is refused, or said" {
	says runnel -c 'ssource - | ssink out/'
	[ "$status" -eq 2 ]
	diff - errors <<-'END'
		runnel: error: -c:1:1: ssource can't go back: standard input: can't be read again
		  ssource - | ssink out/
		  ^
		a job reads again where its last checkpoint was: name a file
	END
	says runnel -c 'ssource nexmark:bid | ssink out.csv'
	[ "$status" -eq 2 ]
	grep -q 'part files appear with each checkpoint: name a directory, out/' errors
	says runnel --plan -c 'ssource nexmark:bid | ssink'
	[ "$status" -eq 0 ]
	grep -q 'standard output: at least once' out.txt
}

@test "SIGTERM and SIGINT commit a checkpoint, no half-filled window fires, and the job goes on" {
	start --checkpoint 0s count.sh
	eventually 'sctl checkpoint ./state | grep -q "^checkpoint "'
	kill -TERM "$job"
	ends 143
	grep -q 'stopped; started again, it goes on from checkpoint [0-9]' errors
	[ -z "$(ls out)" ]
	start --checkpoint 0s count.sh
	kill -INT "$job"
	ends 130
	[ -z "$(ls out)" ]
	says runnel --state state count.sh
	[ "$status" -eq 0 ]
	[ "$(grep -c 'going on from checkpoint' errors)" -eq 1 ]
	as_bash count.sh
}

@test "a second signal stops at once" {
	start --checkpoint 0s --heartbeat 0s count.sh
	pkill -STOP -P "$job" -x swindow
	kill -INT "$job"
	eventually 'grep -q "stopping: a checkpoint first" errors'
	kill -INT "$job"
	ends 130
	grep -q 'stopped at once; started again, it begins anew' errors
}

@test "a malformed record ends the job: said once, with where the log is; mended, it goes on" {
	{ seq 12000; echo oops; } >numbers.csv
	echo "ssource --header no -s 'n int' --rate 10000 numbers.csv | ssink -f csv --header no out/" >p.sh
	start --checkpoint 200ms p.sh
	ends 1
	[ "$(grep -c oops errors)" -eq 1 ]
	grep -qx "runnel: error: ssource: numbers.csv:12001:1: 'oops' is not an int (column n)" errors
	log=$(sed -n 's/^its log: //p' errors)
	grep -q "'oops' is not an int" "$log"
	{ seq 12000; echo 1200; } >numbers.csv
	says runnel --state state p.sh
	[ "$status" -eq 0 ]
	cat out/part-* | diff numbers.csv -
}

@test "a job goes on where it was started: elsewhere its paths would be other files" {
	start --checkpoint 0s count.sh
	eventually 'sctl checkpoint ./state | grep -q "^checkpoint "'
	kill -TERM "$job"
	ends 143
	mkdir elsewhere
	cd elsewhere
	says runnel --state ../state ../count.sh
	[ "$status" -eq 2 ]
	grep -qx "runnel: error: the job was started in $BATS_TEST_TMPDIR: here its paths would be other files" errors
	[ ! -e out ]
}

@test "a reader that has enough ends the job, without a word; of a named pipe another one is waited for" {
	status=0
	timeout 60 bash -c 'runnel --state state --checkpoint 100ms -c "ssource nexmark:bid --rate 10000 | ssink" 2>errors | head -n 1 >row
		exit ${PIPESTATUS[0]}' 3>&- || status=$?
	cat errors
	[ "$status" -eq 141 ]
	[ ! -s errors ]
	[ "$(wc -l <row)" -eq 1 ]
	mkfifo pipe
	runnel --state other --checkpoint 100ms -c 'ssource nexmark:bid --rate 10000 | ssink pipe' 2>errors 3>&- &
	job=$!
	timeout 60 head -n 1 pipe >row
	eventually 'grep -q "pipe: its reader has gone; starting again" errors'
	timeout 60 head -n 1 pipe | grep -q auction
}

@test "--checkpoint 0s: none but the last" {
	says runnel --verbose --checkpoint 0s --state state count.sh
	[ "$status" -eq 0 ]
	[ "$(grep -c '^runnel: .* bytes in .* ms$' errors)" -eq 1 ]
	grep -q '^runnel: final 1: ' errors
	[ "$(ls out | wc -l)" -eq 1 ]
}

@test "a savepoint starts another job at another parallelism, while the first runs on" {
	start --checkpoint 0s count.sh
	eventually 'sctl savepoint ./state point.sav >/dev/null 2>&1'
	says runnel --plan --from point.sav -p 3 count.sh
	[ "$status" -eq 0 ]
	grep -q '^goes on from savepoint [0-9]' out.txt
	out=other/ runnel --quiet --name other --from point.sav -p 3 count.sh 3>&-
	ends 0
	as_bash count.sh
	cat other/part-* | sort | diff wanted -
}

@test "systemd hears when all stages run, and when the job stops" {
	cat >listen.py <<-'END'
	import os, socket, subprocess, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind("notify")
	s.settimeout(30)
	job = subprocess.Popen(["runnel", "--state", "state", "count.sh"], stderr=subprocess.DEVNULL,
	                       env=dict(os.environ, NOTIFY_SOCKET=os.path.abspath("notify")))
	heard = []
	while "STOPPING=1" not in heard:
	    heard += s.recv(4096).decode().split("\n")
	    if "READY=1" in heard and "WATCHDOG=1" in heard:
	        job.terminate()
	print(job.wait(), *sorted(set(heard) & {"READY=1", "WATCHDOG=1", "STOPPING=1"}))
	END
	export events=10000000
	[ "$(python3 listen.py)" = "143 READY=1 STOPPING=1 WATCHDOG=1" ]
}

@test "the manual's file gives the plan that the manual shows" {
	mandoc -Tascii -O width=100 "$root/man/runnel.1" | col -bx >page
	sed -n '/A file that is a shell script as well/,/What would run/p' page | sed '1,2d;$d' |
		sed 's/^ *\(#!.*\)/\1/' >bids.sh
	says runnel --plan -p 4 bids.sh
	[ "$status" -eq 0 ]
	sed 's/^ *//' out.txt >told
	[ "$(wc -l <told)" -ge 6 ]
	sed -n '/\$ runnel --plan -p 4 bids.sh/,/^$/p' page | sed '1d;$d;s/^ *//' | diff - told
}
