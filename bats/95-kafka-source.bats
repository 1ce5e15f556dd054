#!/usr/bin/env bats
# A topic of Kafka as a source, from a real broker: where reading begins and ends, what messages give, and that nothing
# is lost or doubled when a job is killed.

bats_require_minimum_version 1.5.0

setup_file() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	export PEER="$top/tests/peers/kafka" BROKER_DIR="$BATS_FILE_TMPDIR/broker" B LEFT_OUT=
	export KAFKA_TOOL="${KAFKA_TOOL:-$top/build/release/tests/tools/kafka}"
	# A skip in here is a failure to older bats.
	command -v kcat >/dev/null || LEFT_OUT="no kcat"
	[ -x "$KAFKA_TOOL" ] || LEFT_OUT="no $KAFKA_TOOL: make test builds it"
	[ -n "$LEFT_OUT" ] || B=$("$PEER" start "$BROKER_DIR" 3>&-) || { [ $? = 77 ] && LEFT_OUT="no Kafka broker"; }
}

teardown_file() {
	[ -n "$LEFT_OUT" ] || "$PEER" stop "$BROKER_DIR" || true
}

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	export XDG_STATE_HOME="$BATS_TEST_TMPDIR/state" NO_COLOR=1 LC_ALL=C
	cd "$BATS_TEST_TMPDIR" || exit 1
	T=t$BATS_TEST_NUMBER
	started=
	[ -z "$LEFT_OUT" ] || skip "$LEFT_OUT"
}

teardown() {
	for p in $started; do
		kill -9 "$p" 2>/dev/null || true
		wait "$p" 2>/dev/null || true
	done
}

kafka() { "$KAFKA_TOOL" "$B" "$@"; }

# put [PARTITION]: lines of standard input are messages.
put() { kcat -b "$B" -P -t "$T" ${1:+-p $1} 2>>kcat.log; }

numbers() { seq "$1" "$2" | sed 's/.*/{"n":&}/'; }

# rows ARGUMENT...: of the topic as it is, as NDJSON.
rows() { ssource "kafka://$B/$T" --until end "$@" | ssink -f ndjson; }

fails() { # fails STATUS TEXT ARGUMENT...
	local want=$1 text=$2 status=0
	shift 2
	timeout 30 ssource "$@" >out.frames 2>messages || status=$?
	cat messages
	echo "status $status"
	[ "$status" -eq "$want" ] && grep -qF -- "$text" messages
}

within() { # within COMMAND...: until it succeeds, for 20 s at most
	local i
	for ((i = 0; i < 800; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.025
	done
	echo "never: $*"
	cat out messages log 2>/dev/null
	return 1
}

# follow ARGUMENT...: ssource of the topic in the background, its rows as NDJSON in out.
follow() {
	: >out
	: >messages
	rm -f edge
	mkfifo edge
	ssink -f ndjson <edge >out 2>>messages 3>&- &
	started="$started $!"
	ssource "kafka://$B/$T$query" "$@" >edge 2>>messages 3>&- &
	source=$!
	started="$started $source"
}

lines() { [ "$(wc -l <out)" -ge "$1" ]; }
says() { grep -qF -- "$1" "${2:-messages}"; }

@test "what makes no sense is refused, and says what would" {
	fails 2 "which topic?" "kafka://$B/"
	fails 2 "did you mean 'isolation.level'?" "kafka://$B/t?isolaton.level=read_committed"
	fails 2 "auto.offset.reset can't be set here" "kafka://$B/t?auto.offset.reset=latest"
	fails 2 "which group" --from committed "kafka://$B/t"
	fails 2 "--from 'sometime': earliest, latest, committed" --from sometime "kafka://$B/t"
	fails 2 "a message has no 'ofset'; it has key" --meta ofset "kafka://$B/t"
	fails 2 "--meta: offset is int, not string" --meta 'offset string' "kafka://$B/t"
	fails 2 "messages aren't frame streams" -f frames "kafka://$B/t"
	fails 2 "is an input by itself" "kafka://$B/t" "kafka://$B/u"
	fails 2 "--meta 'topic as f' adds" --filename f "kafka://$B/t"
	fails 2 "--until is for a broker" --until end none.csv
	kafka create "$T" 1
	fails 2 "did you mean '$T'?" "kafka://$B/${T}x" || fails 2 "there is no topic '${T}x'" "kafka://$B/${T}x"
}

@test "the outside: no broker, the wrong port; secrets are shown nowhere" {
	fails 5 "127.0.0.1:1: no broker answers" "kafka://127.0.0.1:1/t" &
	first=$!
	fails_secret() {
		cd "$BATS_TEST_TMPDIR" && mkdir -p secret && cd secret
		fails 5 "127.0.0.1:1" "kafka://me:hush-a@127.0.0.1:1/t?ssl.key.password=hush-b"
		! grep -q hush messages out.frames
	}
	fails_secret &
	second=$!
	printf '%s\n' "ssource 'kafka://me:hush-a@127.0.0.1:1/t?ssl.key.password=hush-b' | ssink null:" >job
	runnel --plan job >plan 2>&1
	grep -q 'goes back to an offset of each partition' plan
	! grep -q hush plan
	wait $first
	wait $second
}

@test "a wrong password, or none, is an error that doesn't show it" {
	local sasl="$BATS_TEST_TMPDIR/sasl" at status=0
	at=$(PEER_SASL=me:hush-a "$PEER" start "$sasl" 3>&-)
	asks() { fails 2 "$@"; }
	asks "Authentication failed" "kafka://me:hush-b@$at/t?security.protocol=sasl_plaintext" || status=1
	! grep -q hush messages || status=1
	asks "there is no topic 't'" "kafka://me:hush-a@$at/t?security.protocol=sasl_plaintext" || status=1
	fails 5 "SSL handshake failed" "kafka://me:hush-a@$at/t" || status=1
	"$PEER" stop "$sasl"
	return $status
}

@test "--until end: what is there, and then it is over" {
	kafka create "$T" 3
	fails 0 "no message to take columns from" --until end "kafka://$B/$T"
	for p in 0 1 2; do numbers $((p * 100 + 1)) $((p * 100 + 100)) | put $p; done
	rows >out
	[ "$(wc -l <out)" -eq 300 ]
	[ "$(grep -o '[0-9]*' out | awk '{s += $1} END {print s}')" -eq $((300 * 301 / 2)) ]
	[ "$(rows -s 'n int' --limit 7 | wc -l)" -eq 7 ]
}

@test "a message's key, headers, place and time are columns" {
	kafka create "$T" 2
	printf 'k1:{"a":1}\n' | kcat -b "$B" -P -t "$T" -p 1 -K: -H h=x -H i=y -H h=z
	printf '{"id":7,"b":{"c":"d"}}|{"a":2}\n' | kcat -b "$B" -P -t "$T" -p 0 '-K|'
	[ "$(rows --meta 'offset, topic, partition, key, headers, headers.h string as h' | sort)" = "$(cat <<-END
		{"offset":0,"topic":"$T","partition":0,"key":"{\"id\":7,\"b\":{\"c\":\"d\"}}","headers":null,"h":null,"a":2}
		{"offset":0,"topic":"$T","partition":1,"key":"k1","headers":{"i":"y","h":"z"},"h":"z","a":1}
	END
	)" ]
	[ "$(rows --meta 'key.id int, key.b.c string as c' --bad skip 2>messages)" = '{"key.id":7,"c":"d","a":2}' ]
	says "1 malformed record skipped"
	rows --meta 'timestamp as at' -t at | grep -q '"at":"20'
	# A tombstone is a row where the key is taken.
	printf 'k1:\n' | kcat -b "$B" -P -t "$T" -p 1 -K: -Z
	[ "$(rows --meta 'key, partition' | grep -c '{"key":"k1","partition":1,"a":null}')" -eq 1 ]
	[ "$(rows | wc -l)" -eq 2 ]
}

@test "a malformed message is told with topic, partition and offset" {
	kafka create "$T" 1
	printf '%s\n' '{"a":1}' '{"a":' '{"a":3}' '[]' '{"a":5}' | put 0
	fails 1 "$T[0]@1:1:" --until end -s 'a int' "kafka://$B/$T"
	[ "$(rows -s 'a int' --bad bad.ndjson 2>messages | tr -d '\n')" = '{"a":1}{"a":3}{"a":5}' ]
	[ "$(grep -o '"input":"[^"]*"' bad.ndjson | tr '\n' ' ')" = "\"input\":\"$T[0]@1\" \"input\":\"$T[0]@3\" " ]
	grep -qF '"record":"{\"a\":"' bad.ndjson
	# What no reader could go on behind, also while types are inferred, is one message's matter.
	T=${T}b
	kafka create "$T" 1
	printf '\x05\xc1\x81\xa1n' >m0
	printf '\x81\xa1n\x05' >m1
	kcat -b "$B" -P -t "$T" -p 0 m0 m1
	for schema in '*' 'n int'; do
		[ "$(rows -f msgpack -s "$schema" --bad skip 2>messages)" = '{"n":5}' ]
		says "1 malformed record skipped"
	done
	fails 1 "$T[0]@0: " -f msgpack "kafka://$B/$T" --until end
}

@test "csv, lines, several objects and lines in a message" {
	kafka create "$T" 1
	printf 'a,"b\nc",1\n' | kcat -b "$B" -P -t "$T" -p 0 -D '|'
	printf 'd,e,2\nf,g,3' | kcat -b "$B" -P -t "$T" -p 0 -D '|'
	[ "$(rows -f csv -s 'x string, y string, n int' --meta offset)" = "$(cat <<-'END'
		{"offset":0,"x":"a","y":"b\nc","n":1}
		{"offset":1,"x":"d","y":"e","n":2}
		{"offset":1,"x":"f","y":"g","n":3}
	END
	)" ]
	[ "$(rows -f lines --meta offset | tail -1)" = '{"offset":1,"line":"d,e,2\nf,g,3"}' ]
	T=${T}b
	kafka create "$T" 1
	printf '{"a":\n 1}\n{"a":2}\n' | kcat -b "$B" -P -t "$T" -p 0 -D '|'
	printf '{"a":"x\ny"}' | kcat -b "$B" -P -t "$T" -p 0 -D '|'
	[ "$(rows -s 'a int' --bad skip 2>messages | tr -d '\n')" = '{"a":1}{"a":2}' ]
	says "1 malformed record skipped"
}

@test "Avro as Confluent's serialisers write it, with schemas of a directory" {
	kafka create "$T" 1
	mkdir registry
	echo '{"type":"record","name":"r","fields":[{"name":"a","type":"int"},{"name":"s","type":"string"}]}' >registry/1.avsc
	printf '\0\0\0\0\1\x02\x04ab' >m1
	printf '\0\0\0\0\1\x04\x20c' >m2
	printf '\0\0\0\0\1\x04\x02c' >m3
	kcat -b "$B" -P -t "$T" -p 0 m1 m2 m3
	[ "$(rows -f avro --registry registry --meta offset --bad bad.ndjson 2>messages | tr -d '\n')" = \
		'{"offset":0,"a":1,"s":"ab"}{"offset":2,"a":2,"s":"c"}' ]
	grep -qF "\"input\":\"$T[0]@1\"" bad.ndjson
	fails 2 "-f avro --registry URL" "kafka://$B/$T" --until end
	fails 2 "avro messages need --registry" -f avro "kafka://$B/$T" --until end
}

@test "--from earliest, latest, a time, a while ago, and what the group has committed" {
	kafka create "$T" 1
	query='?group.id=group-'$T
	numbers 1 3 | put 0
	sleep 0.05
	now=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
	sleep 0.05
	numbers 4 6 | put 0
	[ "$(rows --from "$now" | head -1)" = '{"n":4}' ]
	[ "$(rows --from -1h | wc -l)" -eq 6 ]
	[ "$(rows --from latest -s 'n int' | wc -l)" -eq 0 ]
	follow --from latest -s 'n int'
	within kcat -b "$B" -L -t "$T"
	for i in $(seq 50); do
		numbers $((i + 6)) $((i + 6)) | put 0
		[ ! -s out ] || break
	done
	within lines 1
	! grep -qF '{"n":6}' out
	kill -INT $source
	wait $source
	last=$(tail -1 out | grep -o '[0-9]*')
	[ "$(kafka committed "group-$T" "$T")" = "0 $last" ]
	numbers 1000 1001 | put 0
	ssource "kafka://$B/$T$query" --from committed --until end | ssink -f ndjson >rest
	[ "$(tail -2 rest | tr -d '\n')" = '{"n":1000}{"n":1001}' ]
	[ "$(kafka committed "group-$T" "$T")" = "0 $(rows | wc -l)" ]
	[ "$(ssource "kafka://$B/$T?group.id=another" --from committed --until end | ssink -f ndjson | head -1)" = '{"n":1}' ]
}

@test "aborted transactions are unseen, an open one ends --until end before it" {
	kafka create "$T" 2
	mkfifo commands
	kafka transact "tx-$T" "$T" <commands >answers 3>&- &
	started="$started $!"
	exec 7>commands
	printf '%s\n' begin 'put 0 {"n":1}' 'put 1 {"n":2}' commit begin 'put 0 {"n":3}' flush abort >&7
	within grep -c ok answers
	printf '%s\n' begin 'put 0 {"n":4}' flush >&7
	answered() { [ "$(grep -c ok answers)" -eq "$1" ]; }
	within answered 7
	numbers 5 5 | put 0
	[ "$(rows | sort | tr -d '\n')" = '{"n":1}{"n":2}' ]
	[ "$(ssource "kafka://$B/$T?isolation.level=read_uncommitted" --until end | ssink -f ndjson | sort | tr -d '\n')" = \
		'{"n":1}{"n":2}{"n":3}{"n":4}{"n":5}' ]
	printf 'commit\n' >&7
	within answered 8
	exec 7>&-
	[ "$(rows | sort | tr -d '\n')" = '{"n":1}{"n":2}{"n":4}{"n":5}' ]
}

@test "the least of the partitions' watermarks counts; --idle lets go of an empty one" {
	kafka create "$T" 2
	: >closed
	mkfifo edge
	swindow --tumble 10s 'count(*) as n' <edge 2>>messages 3>&- | ssink -f ndjson >closed 3>&- &
	started="$started $!"
	ssource "kafka://$B/$T" -s 'at timestamp(ms)' -t at --idle 1s >edge 2>messages 3>&- &
	started="$started $!"
	printf '{"at":%s}\n' 1000 2000 11000 | put 0
	counted() { [ "$(wc -l <closed)" -ge "$1" ]; }
	within counted 1
	grep -q '"n":2' closed
	printf '{"at":%s}\n' 12000 | put 1
	printf '{"at":%s}\n' 31000 | put 0
	within counted 2
	grep -q '"n":2}' <(tail -1 closed)
}

@test "partitions that come are found, from their start" {
	kafka create "$T" 1
	query='?topic.metadata.refresh.interval.ms=100'
	numbers 1 2 | put 0
	follow -s 'n int' --meta partition --from latest
	sleep 0.3
	kafka grow "$T" 3
	numbers 3 4 | put 2
	within lines 2
	[ "$(sort out)" = '{"partition":2,"n":3}
{"partition":2,"n":4}' ]
}

@test "killed at any time under a supervisor, every message comes once, whatever the subtasks" {
	local subtasks=0
	kafka create "$T" 4
	for p in 0 1 2 3; do numbers $((p * 20000 + 1)) $((p * 20000 + 20000)) | put $p & done
	wait
	cat >job <<-END
		ssource 'kafka://$B/$T' --until end -s 'n int' --rate 40000 | ssink -f ndjson 'out/'
	END
	for pause in 0.5 0.3 0.6; do
		# Each time with another number of subtasks, the last without a partition for one of them.
		subtasks=$((subtasks + 1))
		runnel -p $subtasks --checkpoint 100ms --state s -q job >>log 2>&1 3>&- &
		job=$!
		started="$started $job"
		sleep "$pause"
		# The broker, once; one of its stages, then all of it.
		[ $subtasks -ne 2 ] || "$PEER" kill "$BROKER_DIR"
		pkill -9 -P $job -n || true
		sleep 0.3
		kill -9 $job 2>/dev/null || true
		wait $job 2>/dev/null || true
		"$PEER" start "$BROKER_DIR" 3>&-
	done
	runnel -p 5 --checkpoint 100ms --state s job >>log 2>&1
	cat log
	grep -q 'from checkpoint' log
	cat out/*.ndjson | grep -o '[0-9]*' | sort -n | cmp - <(seq 80000)
}

@test "retention that has removed what a checkpoint needs is an error with the numbers, never a gap" {
	kafka create "$T" 1
	numbers 1 100 | put 0
	printf "ssource 'kafka://%s/%s' -s 'n int' | ssink -f ndjson out/\n" "$B" "$T" >job
	runnel --checkpoint 100ms --state s -q job >log 2>&1 3>&- &
	job=$!
	started="$started $job"
	arrived() { [ "$(cat out/*.ndjson 2>/dev/null | wc -l)" -ge "$1" ]; }
	within arrived 100
	kill $job
	wait $job || true
	numbers 101 200 | put 0
	kafka trim "$T" 0 150
	status=0
	timeout 20 runnel --checkpoint 100ms --state s -q job >log 2>&1 || status=$?
	cat log
	[ "$status" -eq 4 ]
	grep -qF "$T[0]: offset 100 isn't there any more: $B has 150 to 200" log
	[ "$(cat out/*.ndjson | wc -l)" -eq 100 ]
}

@test "a broker that goes and comes back is waited for, with one warning" {
	kafka create "$T" 1
	query='?reconnect.backoff.max.ms=500'
	numbers 1 2 | put 0
	follow -s 'n int'
	within lines 2
	"$PEER" kill "$BROKER_DIR"
	within says "no broker can be reached"
	"$PEER" start "$BROKER_DIR" 3>&-
	numbers 3 4 | put 0
	within lines 4
	[ "$(grep -c 'no broker can be reached' messages)" -eq 1 ]
	[ "$(tr -d '\n' <out)" = '{"n":1}{"n":2}{"n":3}{"n":4}' ]
}

@test "Python's json module takes and refuses the same messages" {
	kafka create "$T" 1
	python3 "$top/tests/messages_kafka.py" "$B" "$T" "$(command -v ssource)" "$(command -v ssink)" 2
}
