#!/usr/bin/env bats
# A running job, seen and led from outside: sctl, the control socket, the metrics.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export XDG_STATE_HOME=$PWD/state NO_COLOR=1
	unset RUNNEL_SCTL_JSON RUNNEL_SCTL_SUBTASKS
	jobs_started=
}

teardown() {
	for p in $jobs_started; do
		kill -9 "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
}

# start NAME [options]: a job that counts for ever; returns when it runs.
start() {
	local name=$1
	shift
	mkdir -p "$name.out"
	runnel --name "$name" --checkpoint 0s "$@" -c \
		"ssource nexmark:bid --rate 2000 -t dateTime -d 0s | swindow --tumble 1s -k auction 'count(*) as n' | ssink -f csv $name.out/" \
		>"$name.log" 2>&1 3>&- &
	jobs_started="$jobs_started $!"
	for _ in $(seq 200); do
		[ "$(sctl status "$name" --json 2>/dev/null | state_of)" = running ] && return
		sleep 0.05
	done
	cat "$name.log"
	false
}

state_of() {
	python3 -c 'import json, sys; print(json.load(sys.stdin)["state"])' 2>/dev/null
}

says() {
	status=0
	"$@" >out 2>errors </dev/null || status=$?
	echo "$* gives $status"
	cat out errors
}

@test "wrong usage is told, with what was meant" {
	while IFS='|' read -r arguments message; do
		says sctl $arguments
		[ "$status" -eq 2 ]
		[ ! -s out ]
		grep -qF -- "sctl: error: $message" errors
	done <<-'END'
	|what shall be done? --help lists the commands
	lits|there is no command 'lits'
	list a|list: what is 'a'?
	status a b|status: what is 'b'?
	state|state needs a FILE
	savepoint|savepoint needs a FILE
	savepoint a b c|savepoint: what is 'c'?
	stop --json|--json is of list, status and state, not of stop
	list --drain|--drain is of stop, not of list
	stop --drain --savepoint x|--drain and --savepoint:
	top --savepoint x|--savepoint is of stop, not of top
	state --subtasks x|--subtasks is of status and top, not of state
	status|no job is running
	status bids|there is no job 'bids'
	status ./bids|there is no job './bids'
	END
	says sctl lits
	grep -qx 'did you mean list?' errors
}

@test "without jobs there is an empty list" {
	says sctl list
	[ "$status" -eq 0 ]
	[ "$(wc -l <out)" -eq 1 ]
	says sctl list --json
	[ "$status" -eq 0 ]
	[ "$(cat out)" = "[]" ]
}

@test "what is neither a savepoint nor a checkpoint is refused" {
	mkdir empty
	echo text >text
	tar -cf other.tar text
	for f in empty text other.tar; do
		says sctl state $f
		[ "$status" -eq 4 ]
		[ ! -s out ]
		grep -q "^sctl: error: $f: neither a savepoint nor a checkpoint's directory" errors
	done
	says sctl state nowhere
	[ "$status" -eq 5 ]
}

@test "a job is listed, shown, asked for checkpoints, stopped, and listed still" {
	start bids
	says sctl list
	[ "$status" -eq 0 ]
	grep -q '^bids  *running ' out
	says sctl status
	[ "$status" -eq 0 ]
	grep -q '^bids  running  up ' out
	grep -q '^swindow  *[#+.]\{10\} ' out
	says sctl top
	[ "$status" -eq 0 ]
	grep -q '^ssource ' out
	says sctl statsu
	[ "$status" -eq 2 ]
	says sctl status bid
	[ "$status" -eq 2 ]
	grep -qx 'did you mean bids?' errors

	says sctl checkpoint bids
	[ "$status" -eq 0 ]
	sctl status --json >status.json
	sctl list --json >list.json
	python3 - <<-'END'
	import json
	s, l = json.load(open("status.json")), json.load(open("list.json"))
	assert s["name"] == "bids" and s["checkpoint"]["id"] >= 1, s
	assert [t["stage"] for t in s["tasks"]] == ["ssource", "swindow", "ssink"], s
	assert len(l) == 1 and l[0]["pid"] == s["pid"], l
	END

	says sctl stop
	[ "$status" -eq 0 ]
	wait ${jobs_started##* } || true
	says sctl status bids
	[ "$status" -eq 5 ]
	[ "$(sed -n 1p errors)" = "sctl: error: bids isn't running" ]
	sed -n 2p errors | grep -q '^started again it goes on from checkpoint [0-9]'
	says sctl list
	grep -q '^bids  *not running ' out
	says sctl list --json
	python3 -c 'import json; l = json.load(open("out")); assert l[0]["state"] == "not running" and l[0]["restarts"] is None, l'
	says sctl state bids
	[ "$status" -eq 0 ]
	grep -q '^swindow  *0/1  swindow ' out
}

@test "a savepoint is what state shows and ssource reads" {
	start bids
	says sctl savepoint bids point.tar.zst
	[ "$status" -eq 0 ]
	says sctl state point.tar.zst
	[ "$status" -eq 0 ]
	head -n 1 out | grep -q '^savepoint [0-9]* of job [0-9a-f]\{32\}, '
	says sctl state --json point.tar.zst
	file=$(python3 -c 'import json; print([t["file"] for t in json.load(open("out"))["tasks"] if t["stage"] == "swindow"][0])')
	tar -xf point.tar.zst "$file"
	ssource "$file" | ssink -f ndjson >rows
	[ -s rows ]
	says sctl stop --savepoint last.tar.zst
	[ "$status" -eq 0 ]
	says sctl state last.tar.zst
	[ "$status" -eq 0 ]
	head -c 200 point.tar.zst >cut.tar.zst
	says sctl state cut.tar.zst
	[ "$status" -eq 4 ]
}

@test "which of two jobs is asked, and a directory is a job" {
	start bids
	start asks
	says sctl stop
	[ "$status" -eq 2 ]
	grep -q 'which job? these are running: asks, bids' errors
	says sctl stop "$XDG_STATE_HOME/runnel/asks/"
	[ "$status" -eq 0 ]
	wait ${jobs_started##* } || true
	says sctl status
	[ "$status" -eq 0 ]
	grep -q '^bids  running' out
}

@test "a drained job closes its windows and is gone" {
	start bids
	says sctl stop --drain
	[ "$status" -eq 0 ]
	wait ${jobs_started##* }
	says sctl list
	[ "$(wc -l <out)" -eq 1 ]
	[ "$(cat bids.out/* | wc -l)" -gt 1 ]
}

@test "a supervisor that hangs is told of, and the others are still listed" {
	start bids
	start hangs
	kill -STOP ${jobs_started##* }
	says sctl list
	kill -CONT ${jobs_started##* }
	[ "$status" -eq 5 ]
	grep -q '^bids  *running' out
	grep -qx "sctl: error: hangs: the supervisor doesn't answer" errors
}

@test "a closed standard output ends it without a word" {
	start bids
	says python3 -c 'import os, subprocess; r, w = os.pipe(); os.close(r); print(subprocess.call(["sctl", "status", "bids"], stdout=w))'
	[ "$(cat out)" = 141 ]
	[ ! -s errors ]
	status=0
	sctl list >/dev/full 2>errors || status=$?
	[ "$status" -eq 5 ]
	grep -q 'No space left' errors
}

@test "metrics are served over HTTP, every family once, on loopback" {
	start bids --metrics 0 -p 2
	sctl checkpoint
	port=$(sed -n 's/^runnel: metrics at port \([0-9]*\)$/\1/p' bids.log)
	python3 - "$port" <<-'END'
	import re, sys, urllib.error, urllib.request
	url = f"http://127.0.0.1:{sys.argv[1]}"
	answer = urllib.request.urlopen(url + "/metrics")
	assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
	types, last = {}, None
	for line in answer.read().decode().splitlines():
	    if m := re.fullmatch(r"# TYPE (runnel_[a-z_]+) (counter|gauge)", line):
	        last = m[1]
	        assert last not in types, line
	        types[last] = m[2]
	        assert last.endswith("_total") == (m[2] == "counter"), line
	    elif not line.startswith("# HELP "):
	        m = re.fullmatch(r'(runnel_[a-z_]+)\{job="bids"(,[a-z]+="[^"]*")*\} (\S+)', line)
	        assert m and m[1] == last, line
	        float(m[3])
	assert len(types) >= 25, types
	try:
	    urllib.request.urlopen(url + "/")
	    assert False
	except urllib.error.HTTPError as e:
	    assert e.code == 404 and b"/metrics" in e.read()
	END
}

@test "top shows the job on the other screen, takes keys, and leaves the terminal as it was" {
	start bids -p 2
	python3 - <<-'END'
	import fcntl, os, pty, select, struct, termios, time
	pid, fd = pty.fork()
	if pid == 0:
	    os.execvp("sctl", ["sctl", "top"])
	fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
	out, before = "", termios.tcgetattr(fd)
	def wait_for(text):
	    global out
	    until = time.time() + 20
	    while text not in out:
	        assert time.time() < until, (text, out)
	        if select.select([fd], [], [], 0.1)[0]:
	            out += os.read(fd, 65536).decode()
	    out = out[out.index(text):]
	wait_for("\033[?1049h")
	wait_for("swindow x2")
	wait_for("q quits")
	os.write(fd, b"s")
	wait_for("swindow.1")
	os.write(fd, b"s")
	wait_for("swindow x2")
	os.write(fd, b"\003")
	wait_for("\033[?1049l")
	assert os.waitpid(pid, 0)[1] == 0
	assert termios.tcgetattr(fd)[3] == before[3] | termios.ICANON | termios.ECHO | termios.ISIG
	END
}

@test "top stays with a job until it ends, and shows its last table" {
	start bids
	python3 - <<-'END'
	import os, pty, subprocess, sys
	pid, fd = pty.fork()
	if pid == 0:
	    os.execvp("sctl", ["sctl", "top", "bids"])
	out = ""
	while "ssink" not in out:
	    out += os.read(fd, 65536).decode()
	subprocess.check_call(["sctl", "stop", "bids"], stdout=subprocess.DEVNULL)
	try:
	    while more := os.read(fd, 65536).decode():
	        out += more
	except OSError:
	    pass
	assert os.waitpid(pid, 0)[1] == 0
	last = out[out.index("\033[?1049l"):]
	assert "bids" in last and "ssink" in last and last.endswith("bids has ended\r\n"), last
	END
}
