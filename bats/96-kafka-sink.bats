#!/usr/bin/env bats
# ssink to Kafka, judged by kcat as a reader of committed transactions.

setup_file() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	export dir=$BATS_FILE_TMPDIR/broker
	status=0
	# Transactions expire when they should, not up to ten seconds later.
	brokers=$(PEER_KAFKA=transaction.abort.timed.out.transaction.cleanup.interval.ms=200 \
		"$root/tests/peers/kafka" start "$dir" 3>&-) || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 77 ]
	export brokers
	[ "$status" -eq 0 ] || export brokers=none
}

teardown_file() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	"$root/tests/peers/kafka" stop "$dir" >/dev/null 2>&1 || true
}

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	BIN=${BIN:-$root/build/bin}
	PATH="$BIN:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export NO_COLOR=1 LC_ALL=C XDG_STATE_HOME=$PWD/home
	[ "$brokers" != none ] || skip "no broker: Java or its jars are missing"
	tool=${KAFKA_TOOL:-$BIN/../release/tests/tools/kafka}
	[ -x "$tool" ] || tool=$BIN/../tests/tools/kafka
	topic=t$BATS_TEST_NUMBER
	"$tool" "$brokers" create $topic 3
	printf '%s\n' card,amount,who 1,2,x ,3,y 3,4,z 1,5, >a.csv
}

teardown() { # of a test that failed
	[ -z "${job:-}" ] || kill -9 "$job" 2>/dev/null || true
}

messages() { # messages TOPIC FORMAT: those that are committed
	kcat -q -b "$brokers" -C -t "$1" -e -X isolation.level=read_committed -f "$2"
}

@test "rows are messages with keys and headers, in the format that is said" {
	ssource a.csv | ssink --message-key card --message-headers who,amount kafka://$brokers/$topic
	[ "$(messages $topic '%k|%h|%s\n' | sort)" = "$(printf '%s\n' \
		'1|who=x,amount=2|{"card":1,"amount":2,"who":"x"}' '1|who=NULL,amount=5|{"card":1,"amount":5,"who":null}' \
		'3|who=z,amount=4|{"card":3,"amount":4,"who":"z"}' '|who=y,amount=3|{"card":null,"amount":3,"who":"y"}' |
		sort)" ] || { messages $topic '%k|%h|%s\n'; false; }
	"$tool" "$brokers" create csv$topic 1
	ssource a.csv | ssink -f csv --message-key card,who kafka://$brokers/csv$topic
	diff <(messages csv$topic '%k %s\n') - <<-'END'
	{"card":1,"who":"x"} 1,2,x
	{"card":null,"who":"y"} ,3,y
	{"card":3,"who":"z"} 3,4,z
	{"card":1,"who":null} 1,5,
	END
}

@test "keys go where Java's clients put them" {
	# murmur2 of Kafka's own tests: 21 -973932308, foobar -790332482, a-little-bit-long-string -985981536
	printf '%s\n' k 21 foobar a-little-bit-long-string >k.csv
	ssource -s 'k string' k.csv | ssink --message-key k kafka://$brokers/$topic
	diff <(messages $topic '%k %p\n' | sort) <(python3 -c '
for k, h in (("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)):
    print(k, (h & 0x7fffffff) % 3)' | sort)
}

@test "a changelog has its op, is Debezium's, or upserts a compacted topic" {
	changes() { ssource a.csv | swindow -k card --emit changes 'count(*) as n'; }
	changes | ssink kafka://$brokers/$topic
	[ "$(messages $topic '%s\n' | grep -c '"op":"+I"')" -ge 3 ]
	"$tool" "$brokers" create d$topic 1
	changes | ssink -f debezium-json kafka://$brokers/d$topic
	[ "$(messages d$topic '%s\n' | ssource -f debezium-json - | ssort -n 10 'card' | ssink -f csv | tail -n 3 |
		sort | tr '\n' ' ')" != "" ]
	"$tool" "$brokers" create u$topic 1 cleanup.policy=compact
	printf '%s\n' '{"op":"c","before":null,"after":{"a":1,"b":2}}' '{"op":"u","before":{"a":1,"b":2},"after":{"a":1,"b":3}}' \
		'{"op":"d","before":{"a":1,"b":3},"after":null}' |
		ssource -f debezium-json - | ssink --upsert a kafka://$brokers/u$topic
	diff <(messages u$topic '%k %S %s\n') - <<-'END'
	1 13 {"a":1,"b":2}
	1 13 {"a":1,"b":3}
	1 -1 
	END
	run bash -c "ssource a.csv | swindow -k card --emit changes 'count(*) as n' | ssink -f msgpack kafka://$brokers/$topic"
	[ "$status" -ne 0 ]
	[[ "$output" = *"a changelog (from swindow), and -f msgpack has no place for what a row does"* ]]
}

@test "what can't be is said, and secrets aren't" {
	while IFS='|' read -r status_wanted arguments message; do
		status=0
		ssource a.csv | ssink $arguments >out 2>errors || status=$?
		cat errors
		[ "$status" -eq "$status_wanted" ]
		grep -qF -- "$message" errors
		! grep -q hush errors
	done <<-END
	2|kafka://$brokers/nope|$brokers: there is no topic 'nope'
	2|kafka://$brokers|which topic? kafka://broker/topic
	2|kafka://$brokers/$topic?compression.typ=zstd|there is no property 'compression.typ' of Kafka's clients
	2|kafka://$brokers/$topic?transactional.id=x&sasl.password=hush|transactional.id can't be set here
	2|--message-key nope kafka://$brokers/$topic|--message-key: input has no column 'nope'
	2|--message-key card a.ndjson|--message-key is for kafka://broker/topic
	2|-f table kafka://$brokers/$topic|-f table is no format of messages
	END
	python3 -c 'print("s"); print("x" * 2000000)' >big.csv
	run bash -c "ssource big.csv | ssink kafka://$brokers/$topic"
	[ "$status" -eq 1 ]
	[[ "$output" = *"a row is 2000008 bytes as a message, too large for the topic"* ]]
	[[ "$output" = *"max.message.bytes, which is 1048588, says"* ]]
	run bash -c "ssource a.csv | timeout 60 ssink kafka://127.0.0.1:1/$topic"
	[ "$status" -eq 5 ]
	[[ "$output" = *"no broker answers"* ]]
}

@test "a topic's own limit counts: small rows go in batches that fit, a large one alone" {
	"$tool" "$brokers" create small$topic 1 max.message.bytes=20000
	ssource 'nexmark:bid?events=5000' | ssink kafka://$brokers/small$topic
	[ "$(messages small$topic '%s\n' | wc -l)" -eq 4600 ]
	"$tool" "$brokers" create large$topic 1 max.message.bytes=12000000
	python3 -c 'print("s"); print("x" * 10000000)' >big.csv
	ssource big.csv | ssink kafka://$brokers/large$topic
	[ "$(messages large$topic '%s' | wc -c)" -eq 10000008 ]
	[ "$(ssource --until end kafka://$brokers/large$topic | ssink -f ndjson | wc -c)" -eq 10000009 ]
	# Under a supervisor: one error, no restarts.
	echo "ssource big.csv | ssink kafka://$brokers/small$topic" >p.sh
	run timeout 20 runnel --state state p.sh
	[ "$status" -eq 1 ]
	[[ "$output" = *"a row is 10000008 bytes as a message"* ]]
	[[ "$output" != *restart* ]]
}

@test "under runnel every row is there once, whoever is killed, the broker too" {
	cat >p.sh <<-END
	ssource 'nexmark:bid?events=20000' --rate 4000 | smap 'auction, price, dateTime' |
	  ssink --message-key auction kafka://$brokers/$topic
	END
	python3 - "$root/tests/peers/kafka" <<-'END'
	import os, random, signal, subprocess, sys, time
	def start(p):
	    return subprocess.Popen(["runnel", "-q", "-p", str(p), "--state", "state", "--checkpoint", "200ms", "--restart",
	                             "50/10m", "p.sh"], stderr=open("log", "a"), start_new_session=True)
	def children(p):
	    return [int(x) for x in subprocess.run(["pgrep", "-P", str(p.pid)], capture_output=True,
	                                           text=True).stdout.split()]
	p = start(1)
	for round_ in range(6):
	    time.sleep(random.uniform(0.4, 0.9))
	    if p.poll() is not None:
	        break
	    if round_ == 2:
	        subprocess.run([sys.argv[1], "kill", os.environ["dir"]], check=True)
	        time.sleep(0.5)
	        subprocess.run([sys.argv[1], "start", os.environ["dir"]], check=True, stdout=subprocess.DEVNULL)
	    elif round_ % 2:
	        os.kill(p.pid, signal.SIGKILL)
	        p.wait()
	        p = start(2 if round_ == 3 else 1)
	    else:
	        stages = children(p)
	        if stages:
	            os.kill(random.choice(stages), signal.SIGKILL)
	assert p.wait(120) == 0, open("log").read()
	END
	cat log
	ssource 'nexmark:bid?events=20000' | smap 'auction, price, dateTime' | ssink -f ndjson | sort >wanted
	messages $topic '%s\n' | sort | diff -q - wanted
}

within() { # within COMMAND...: until it succeeds, for 20 s at most
	local i
	for ((i = 0; i < 400; i++)); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.05
	done
	"$@"
}

# Without --isolation kcat sees messages of open transactions, too.
has_any() { [ "$(kcat -q -b "$brokers" -C -t "$1" -e -X isolation.level=read_uncommitted | head -n 1)" ]; }

@test "transactions that are open when all are killed hold up nobody once the job is back, whatever -p" {
	printf '%s' "ssource 'nexmark:bid?events=20000' --rate 5000 | smap 'auction, price, dateTime' |
	  ssink kafka://$brokers/$topic" >p.sh
	runnel -q -p 3 --state state --checkpoint 1m p.sh 2>log 3>&- &
	job=$!
	within has_any $topic
	[ -z "$(messages $topic '%s\n')" ] # before the first checkpoint
	kill -9 $job
	wait $job || true
	runnel -q -p 1 --state state --checkpoint 1m p.sh
	ssource 'nexmark:bid?events=20000' | smap 'auction, price, dateTime' | ssink -f ndjson | sort >wanted
	messages $topic '%s\n' | sort | diff -q - wanted
}

@test "an epoch has to fit a transaction; one that has expired is sent again" {
	echo "ssource nexmark:bid --rate 1000 | ssink 'kafka://$brokers/$topic?transaction.timeout.ms=2000'" >p.sh
	run runnel --plan --checkpoint 2s p.sh
	[ "$status" -eq 2 ]
	[[ "$output" = *"an epoch of ssink has to be committed within 2s, and --checkpoint is 2s"* ]]
	printf '%s' "ssource 'nexmark:bid?events=6000' --rate 2000 | smap 'auction, price, dateTime' |
	  ssink 'kafka://$brokers/$topic?transaction.timeout.ms=2000'" >p.sh
	runnel -q --state state --checkpoint 1500ms --heartbeat 1m p.sh 2>log 3>&- &
	job=$!
	"$tool" "$brokers" create late$topic 1
	printf '%s' "ssource 'nexmark:bid?events=6000' --rate 1500 | smap 'auction, price, dateTime' |
	  ssink 'kafka://$brokers/late$topic?transaction.timeout.ms=2000'" >late.sh
	runnel -q --state late --checkpoint 0s late.sh 2>late.log 3>&- & # one epoch of four seconds
	late=$!
	within has_any $topic
	stage=$(pgrep -P $job ssink)
	kill -STOP $stage
	sleep 3
	kill -CONT $stage
	wait $job || { cat log; false; }
	wait $late || { cat late.log; false; }
	ssource 'nexmark:bid?events=6000' | smap 'auction, price, dateTime' | ssink -f ndjson | sort >wanted
	messages $topic '%s\n' | sort | diff -q - wanted
	messages late$topic '%s\n' | sort | diff -q - wanted
}

@test "best.job: the best bids of README's example, of windows that have ended" {
	"$tool" "$brokers" create bids 2
	"$tool" "$brokers" create best 2
	export brokers
	bids="nexmark:bid?events=3000&rate=100" # of half a minute
	ssource "$bids" | ssink --message-key auction kafka://$brokers/bids
	runnel -q --state state --checkpoint 200ms "$root/bats/examples/best.job" 2>log 3>&- &
	job=$!
	ssource "$bids" | swindow --tumble 10s -k auction 'count(*) as bids, max(price) as best' |
		smap -w "window_end <= '2026-01-01T00:00:20Z'" '*' | ssink -f ndjson | sort >wanted
	[ "$(wc -l <wanted)" -gt 100 ]
	ended() { messages best '%s\n' | sort | cmp -s - wanted; }
	within ended || { cat log; messages best '%s\n' | sort | diff - wanted | head; false; }
	sctl stop ./state
	wait $job
	ended
	[ "$(messages best '%k\n' | head -n 1)" = "$(messages best '%s\n' | head -n 1 | grep -o '[0-9]*' | head -n 1)" ]
}

@test "epochs that should be known and aren't are an error, not sent again" {
	cat >p.sh <<-END
	ssource nexmark:bid --rate 2000 | smap 'auction, price' | ssink 'kafka://$brokers/$topic?epochs=e$topic'
	END
	runnel -q --state state --checkpoint 100ms p.sh 2>log 3>&- &
	job=$!
	for _ in $(seq 100); do
		[ "$(messages $topic '%s\n' | wc -l)" -lt 100 ] || break
		sleep 0.1
	done
	sleep 0.5
	kill -9 $job
	wait $job || true
	sleep 0.5
	"$tool" "$brokers" delete e$topic
	sleep 1
	status=0
	timeout 60 runnel -q --state state p.sh 2>errors || status=$?
	cat errors
	[ "$status" -eq 4 ]
	grep -q "was committed, and e$topic doesn't know it" errors
}
