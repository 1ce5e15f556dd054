#!/usr/bin/env bats
# Frames from one supervised job to another, and into a spool.  Under fire: tests/epochs_oracle.py.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export NO_COLOR=1 LC_ALL=C XDG_STATE_HOME=$PWD/home
	pids=
}

teardown() {
	for pid in $pids; do
		kill -9 $pid 2>/dev/null || true
	done
	wait 2>/dev/null || true
}

eventually() { # eventually COMMAND: until it succeeds, at most half a minute
	for _ in $(seq 600); do
		if eval "$1"; then return 0; fi
		sleep 0.05
	done
	echo "never: $1"
	cat *.log
	return 1
}

job() { # job NAME TEXT: runs it under a supervisor, its pid is $NAME
	echo "$2" >"$1.sh"
	runnel -q --state "$1.state" --checkpoint "${every:-100ms}" "$1.sh" 2>>"$1.log" 3>&- &
	eval "$1=$!"
	pids="$pids $!"
}

kill_source() { # kill_source SUPERVISOR: once it is there
	eventually "pgrep -P $1 ssource"
	kill -9 $(pgrep -P $1 ssource)
}

rows() { cat out/part-* 2>/dev/null | wc -l; }

@test "--plan tells what is promised, at both ends" {
	run runnel --plan -c 'ssource a.csv | ssink -f frames tcp://localhost:9'
	[[ "$output" = *"tcp://localhost:9: exactly once, at each checkpoint, for the job at the other end"* ]]
	run runnel --plan -c 'ssource a.csv | ssink -f csv tcp://localhost:9'
	[[ "$output" = *"at least once"* ]]
	run runnel -c 'ssource -f frames unix-listen:s | ssink out/'
	[ "$status" -eq 2 ]
	[[ "$output" = *"--spool"* ]]
}

@test "each row once, over TLS and packed, with windows; nothing is left in the spool" {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
		-out cert.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	job takes "ssource -f frames --spool kept --cert cert.pem --key key.pem tls-listen://:$port |
		swindow --tumble 1s -k auction 'count(*) as n' | ssink -f csv --header no out/"
	job sends "ssource 'nexmark:bid?events=50000' -d 0s |
		ssink -f frames --pack zstd --ca cert.pem tls://localhost:$port"
	wait $sends
	ssource 'nexmark:bid?events=50000' -d 0s | swindow --tumble 1s -k auction 'count(*) as n' |
		ssink -f csv --header no - | sort >wanted
	# The last second's windows are still open: another sender may come.
	eventually '[ "$(rows)" -gt 0 ] && [ -z "$(ls kept)" ]'
	sleep 0.3
	kill -TERM $takes
	wait $takes || true
	sort out/part-* >have
	[ -z "$(comm -13 wanted have)" ]
	[ "$(wc -l <have)" -gt "$(($(wc -l <wanted) / 2))" ]
}

@test "README's example: two machines' errors are collected, each once" {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
		-out cert.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	export collector=localhost:$port
	for machine in a b; do
		mkdir $machine
		cp cert.pem $machine/ca.pem
		touch $machine/access.log
		(cd $machine && exec runnel -q --state state --checkpoint 100ms "$root/bats/examples/edge.job") 2>$machine.log 3>&- &
		pids="$pids $!"
	done
	runnel -q --state state --checkpoint 100ms "$root/bats/examples/collect.job" 2>collect.log 3>&- &
	collect=$!
	pids="$pids $collect"
	for minute in 0 1 2 3; do
		for machine in a b; do
			for second in 10 20 30; do
				echo "2026-01-01T00:0$minute:$second $machine 50$((second / 10 - 1))"
				echo "2026-01-01T00:0$minute:$second $machine 200"
			done >>$machine/access.log
		done
		# A machine that comes later is late.
		[ $minute -ne 0 ] || eventually '[ "$(grep -c ssink kept/.epochs)" -eq 2 ]'
		[ $minute -ne 1 ] || kill_source $collect
	done
	eventually '[ "$(cat errors/part-* 2>/dev/null | wc -l)" -ge 6 ]'
	sleep 0.3
	[ "$(sed 's/.*"host":"\(.\)".*"errors":\(.*\)}/\1 \2/' errors/part-* | sort | uniq -c | tr -s ' ' | tr '\n' ,)" = " 3 a 3, 3 b 3," ]
}

@test "who receives may come later, or go and come again; epochs wait, and none is doubled" {
	job sends "ssource 'nexmark:bid?events=100000' --rate 40000 -d 0s | smap 'auction, price' | ssink -f frames unix:s"
	sleep 0.5
	[ -n "$(find sends.state -name 'socket-*')" ]
	receiver='ssource -f frames --spool kept unix-listen:s | ssink -f csv --header no out/'
	job takes "$receiver"
	eventually '[ "$(rows)" -gt 0 ]'
	kill -9 $takes
	wait $takes || true
	sleep 0.3
	job takes "$receiver"
	wait $sends
	eventually '[ "$(rows)" -eq 92000 ]'
	sleep 0.3
	[ "$(rows)" -eq 92000 ]
	[ "$(sort out/part-* | md5sum)" = "$(ssource 'nexmark:bid?events=100000' | smap 'auction, price' |
		ssink -f csv --header no - | sort | md5sum)" ]
}

@test "the sender may be the one that listens" {
	every=10ms # the end comes while an epoch before it is being committed
	job takes "ssource -f frames --spool kept unix:s | ssink -f csv --header no out/"
	job sends "ssource 'nexmark:bid?events=50000' --rate 40000 | smap auction | ssink -f frames unix-listen:s"
	wait $sends
	# That was all, so it ends, too.
	wait $takes
	[ "$(rows)" -eq 46000 ]
}

@test "a source without a spool, or with other columns, refuses; the rows wait" {
	ssource -f frames unix-listen:s >frames 2>takes.log 3>&- &
	pids=$!
	eventually '[ -S s ]'
	echo "ssource 'nexmark:bid?events=5000' | ssink -f frames unix:s" >sends.sh
	run timeout 20 runnel -q --restart 0/1s --state sends.state sends.sh
	echo "$output"
	[ "$status" -eq 1 ]
	[[ "$output" = *"unix:s: refused by ssource: the sink of a supervised job wants its epochs kept, and this ssource has no --spool DIR"* ]]
	[[ "$output" = *"the rows wait in"* ]]
	kill -9 $pids
	job takes "ssource -f frames --spool kept unix-listen:s | ssink -f csv --header no out/"
	eventually '[ -S s ]'
	runnel -q --state sends.state sends.sh
	eventually '[ "$(rows)" -eq 4600 ]'
	run timeout 20 runnel -q --restart 0/1s --state other -c "ssource 'nexmark:auction?events=5000' | ssink -f frames unix:s"
	echo "$output"
	[ "$status" -eq 1 ]
	[[ "$output" = *"refused by ssource: it has other columns than the streams before"* ]]
}

@test "a plain pipeline's frames are spooled, too; what was kept isn't lost with a process" {
	job takes "ssource -f frames --spool kept unix-listen:s | ssink -f csv --header no out/"
	eventually '[ -S s ]'
	for i in 1 2 3; do
		ssource 'nexmark:bid?events=50000' | smap 'auction, price' | ssink -f frames unix:s
		[ $i -ne 2 ] || { sleep 0.2; kill -9 $takes; wait $takes || true
			job takes "ssource -f frames --spool kept unix-listen:s | ssink -f csv --header no out/"; }
	done
	eventually '[ "$(rows)" -eq 138000 ]'
	kill -TERM $takes
	wait $takes || true
	[ "$(rows)" -eq 138000 ]
	[ "$(sort out/part-* | uniq -c | awk '{n[$1 % 3]++} END {print n[1] + n[2]}')" -eq 0 ]
}

@test "a client whose source was killed holds the watermark no more when another process has read what it sent" {
	local takes_text="ssource -f frames --spool kept unix-listen:s | swindow --tumble 1s 'count(*) as n' | ssink -f csv --header no out/"
	sends() { # sends EVENTS: bids of one client, 10 s of event time, that stays if it is the first
		ssource "nexmark:bid?events=$1" --rate 20000 -d 0s | smap 'auction, dateTime' | ssink -f frames unix:s
	}
	job takes "$takes_text"
	eventually '[ -S s ]'
	sends 1000000 2>first.log 3>&- &
	pids="$pids $!"
	eventually '[ "$(rows)" -gt 0 ]'
	kill -9 $takes; wait $takes || true
	eventually 'grep -q . first.log'
	before=$(rows)
	job takes "$takes_text"
	eventually '[ -S s ]'
	ssource 'nexmark:bid?events=200000' -d 0s | smap 'auction, dateTime' | ssink -f frames unix:s
	eventually '[ "$(rows)" -gt $((before + 10)) ]'
}

@test "a spool that isn't one, and one whose files have been taken away, are told of" {
	mkdir kept
	echo hello >kept/000000000001-x
	run timeout 20 ssource -f frames --spool kept unix-listen:s
	[ "$status" -eq 4 ]
	[[ "$output" = *"kept/000000000001-x is no kept epoch; move it out of the spool's directory"* ]]
	rm kept/*
	echo rubbish >kept/.epochs
	run timeout 20 ssource -f frames --spool kept unix-listen:s
	[ "$status" -eq 4 ]
	[[ "$output" = *"kept/.epochs is damaged"* ]]
}

@test "a spool that was emptied under a job that goes on with it is told of" {
	job takes "ssource -f frames --spool kept unix-listen:s | ssink -f csv --header no out/"
	eventually '[ -S s ]'
	for i in 1 2 3; do
		ssource 'nexmark:bid?events=1000' | smap auction | ssink -f frames unix:s
	done
	eventually '[ "$(rows)" -eq 2760 ]'
	eventually '[ -z "$(ls kept)" ]'
	kill -9 $takes
	wait $takes || true
	rm -r kept
	run timeout 20 runnel -q --restart 0/1s --state takes.state takes.sh
	echo "$output"
	[ "$status" -eq 4 ]
	[[ "$output" = *"kept has been emptied: it holds files up to 0, and "*" is to be read next"* ]]
}

@test "what isn't in order is the connection's end, and nothing of it is kept" {
	ssource -f frames --spool kept unix-listen:s >frames 2>takes.log 3>&- &
	pids=$!
	eventually '[ -S s ]'
	python3 - <<-'END'
	import msgpack, socket
	def frame(kind, body):
	    body = msgpack.packb(body)
	    return b"\xc9" + len(body).to_bytes(4, "big") + bytes([kind]) + body
	JOB, hello, schema = "0" * 31 + "1", frame(0, ["runnel", 1, {}]), frame(1, [1, [["a", "int"]], {}])
	def epoch(verb, number=0, count=0): return frame(12, [verb, JOB, "x", 0, number, count])
	def says(*frames):
	    s = socket.socket(socket.AF_UNIX)
	    s.settimeout(10)
	    s.connect("s")
	    s.sendall(hello + b"".join(frames))
	    s.shutdown(socket.SHUT_WR)
	    data = b""
	    try:
	        while x := s.recv(65536):
	            data += x
	    except ConnectionResetError:
	        pass
	    return data
	rows = frame(3, [1, [[1], [2]]])
	good = [epoch(2, 1, 1), schema, rows, epoch(3, 1, 2)]
	assert epoch(1, 0) in says(epoch(0))
	for wrong, why in [
	        ([epoch(0), schema], b"SCHEMA outside an epoch"),
	        ([epoch(2, 1, 1), rows], b"was not declared"),
	        ([epoch(3, 1, 0)], b"that didn't begin"),
	        ([epoch(2, 1, 1), schema, rows, epoch(3, 1, 3)], b"has 3 rows, but 2 came"),
	        ([epoch(2, 1, 1), schema, frame(3, [1, [["x"]]])], b"is no int"),
	        ([epoch(1, 7)], b"only a source says"),
	        ([epoch(9)], b"unknown verb"),
	        ([frame(12, [0, "x", "y", 0, 0, 0])], b"32 hex digits")]:
	    said = says(*wrong)
	    assert why in said, (why, said)
	for asks in (1, 20000):  # doesn't hear the answer
	    s = socket.socket(socket.AF_UNIX)
	    s.settimeout(0.5)
	    s.connect("s")
	    try:
	        s.sendall(hello + epoch(0) * asks)
	    except OSError:
	        pass
	    s.close()
	says(*good[:3])  # breaks off
	assert epoch(1, 0) in says(epoch(0))
	assert epoch(1, 1) in says(*good)
	assert epoch(1, 1) in says(*good)  # once more: kept once
	assert epoch(1, 1) in says(epoch(0))
	END
	kill -INT $pids
	wait $pids
	pids=
	[ "$(ssource frames | ssink -f csv --header no | tr '\n' ' ')" = "1 2 " ]
}

@test "a subtask that hasn't been heard of holds the watermark; a start in another width begins them anew" {
	ssource -f frames --spool kept unix-listen:s >frames 2>takes.log 3>&- &
	pids=$!
	eventually '[ -S s ]'
	sends() { # sends SUBTASK SUBTASKS EPOCH VALUE WATERMARK
		python3 - "$@" <<-'END'
		import msgpack, socket, sys
		subtask, subtasks, number, value, watermark = map(int, sys.argv[1:])
		def frame(kind, body):
		    body = msgpack.packb(body)
		    return b"\xc9" + len(body).to_bytes(4, "big") + bytes([kind]) + body
		def epoch(verb, count): return frame(12, [verb, "0" * 31 + "1", "x", subtask, number, count])
		s = socket.socket(socket.AF_UNIX)
		s.settimeout(10)
		s.connect("s")
		s.sendall(frame(0, ["runnel", 1, {}]) + epoch(2, subtasks) + frame(1, [1, [["a", "int"]], {}]) +
		          frame(3, [1, [[value]]]) + frame(4, watermark) + epoch(3, 1))
		while epoch(1, 0) not in s.recv(65536):
		    pass
		END
	}
	marks() { # each watermark so far with the number of rows before it
		python3 "$root/tests/tools/frames.py" --watermarks <frames 2>/dev/null | tr '\n' ';'
	}
	sends 0 2 1 10 100
	eventually '[ "$(python3 "$root/tests/tools/frames.py" <frames 2>/dev/null | wc -l)" -eq 1 ]'
	[ "$(marks)" = ";" ]
	sends 1 2 1 11 70
	eventually '[[ "$(marks)" == *"70;" ]]'
	sends 0 1 2 12 80 # not 100, which the wider start's subtask 0 had come to
	eventually '[[ "$(marks)" == *"80;" ]]'
	sends 1 3 3 13 500
	sends 0 3 3 14 90
	eventually '[ "$(python3 "$root/tests/tools/frames.py" <frames 2>/dev/null | wc -l)" -eq 5 ]'
	[[ "$(marks)" == *"80;" ]]
	sends 2 3 3 15 95
	eventually '[[ "$(marks)" == *"90;" ]]'
	kill -INT $pids
	wait $pids
	pids=
}
