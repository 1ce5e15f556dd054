#!/usr/bin/env bats
# PostgreSQL as a source, on a real server: rows, changes, what is refused, and what is left of jobs that are killed.

setup_file() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	export PEER="$top/tests/peers/postgres" DB="$BATS_FILE_TMPDIR/db" URL LEFT_OUT=
	# A skip in here is a failure to older bats.
	URL=$("$PEER" start "$DB" 3>&-) || { [ $? = 77 ] && LEFT_OUT="no PostgreSQL server"; }
}

teardown_file() {
	[ -n "$LEFT_OUT" ] || "$PEER" stop "$DB" || true
}

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	export XDG_STATE_HOME="$BATS_TEST_TMPDIR/state"
	cd "$BATS_TEST_TMPDIR" || exit 1
	[ -z "$LEFT_OUT" ] || skip "$LEFT_OUT"
}

teardown() {
	for p in ${job:-} ${pipe:-}; do kill -9 "$p" 2>/dev/null || true; done
}

# q SQL...: what psql says.
q() { for one in "$@"; do set -- "$@" -c "$one"; shift; done; "$PEER" psql "$DB" "$@" 2>&1; }

# eventually COMMAND: until it succeeds, at most 30 seconds.
eventually() {
	for _ in $(seq 600); do
		if eval "$*"; then return 0; fi
		sleep 0.05
	done
	echo "never: $*"
	return 1
}

# streams SLOT: changes are being sent from it (it is active while it is being made, too).
streams() {
	[ "$(q "select count(*) from pg_replication_slots join pg_stat_replication on pid = active_pid where slot_name = '$1' and state = 'streaming'")" = 1 ]
}

# refuses STATUS TEXT ARGUMENT...: ssource ends with it, says the text, and no password.
refuses() {
	local wanted=$1 text=$2 status=0
	shift 2
	timeout 30 ssource "$@" >out 2>errors || status=$?
	cat errors
	[ "$status" -eq "$wanted" ]
	grep -qF -- "$text" errors
	! grep -q 'runnel@\|geheim' errors
	[ ! -s out ] || ! grep -q 'geheim' out
}

# ---- rows ----

@test "a table's rows, and those of a query, of types and names that -s chooses" {
	q 'create table "Odd name" (id int primary key, "a b" text, n numeric(6,2), big numeric)' \
		"insert into \"Odd name\" values (1, 'x', 1.5, 1e30), (2, null, -0.01, 0.10)"
	ssource "$URL?table=\"Odd name\"" | ssink -f ndjson >out
	diff out - <<-'END'
		{"id":1,"a b":"x","n":1.50,"big":"1000000000000000000000000000000"}
		{"id":2,"a b":null,"n":-0.01,"big":"0.10"}
	END
	ssource "$URL?query=select * from \"Odd name\" order by id desc;" -s 'big decimal(38,2), id string as key' | ssink -f csv >out
	diff out - <<-'END'
		big,key
		0.10,2
		1000000000000000000000000000000.00,1
	END
}

@test "rows with an event time go into windows, and a table of a million isn't held in memory" {
	q "create table clicks as select i as id, timestamptz '2026-01-01' + i * interval '1 s' as at, repeat('x', 100) as pad
		from generate_series(0, 499999) i"
	bash -c '[[ "${BIN:-}" = *san* ]] || ulimit -v 400000; exec ssource "$1" -t at' - "$URL?table=clicks" |
		swindow --tumble 1d 'count(*) as n' | ssink -f csv >out
	[ "$(tail -n +2 out | cut -d, -f3 | paste -sd+ | bc)" = 500000 ]
	[ "$(sed -n 2p out)" = "2026-01-01T00:00:00Z,2026-01-02T00:00:00Z,86400" ]
	[ "$(ssource "$URL?table=clicks" --limit 7 | ssink -f ndjson | wc -l)" = 7 ]
}

@test "what can't be read is said, with what helps and without secrets" {
	q 'create table known (id int, d date, n numeric(5,2))' "insert into known values (1, 'infinity', 'NaN'), (2, '2026-01-01', 1)"
	refuses 2 'what is to be read?' "$URL"
	refuses 2 'not both' "$URL?table=a&query=b"
	refuses 2 'did you mean known?' "$URL?table=knwon"
	refuses 2 "did you mean 'sslmode'?" "$URL?table=known&sslmod=disable"
	refuses 2 'password authentication failed for user "postgres" (28P01)' "${URL/runnel@/geheim@}?table=known"
	refuses 2 'database "nowhere" does not exist (3D000)' "${URL%/postgres}/nowhere?table=known"
	refuses 5 'Connection refused' "postgresql://postgres:geheim@127.0.0.1:1/postgres?table=known"
	refuses 2 'syntax error at or near "selec" (42601)' "$URL?query=selec"
	refuses 1 'division by zero (22012)' "$URL?query=select 1/0"
	refuses 1 'row 1, column d: infinity, which is no time' "$URL?table=known" -s d
	refuses 1 'row 1, column n: NaN, which a decimal can' "$URL?table=known" -s n
	refuses 1 'an interval with months' "$URL?query=select interval '1 month' as i"
	refuses 2 "did you mean 'id'" "$URL?table=known" -s 'idd'
	refuses 2 'the column id is int' "$URL?table=known" -s 'id float'
	refuses 2 '-f is not for a database' "$URL?table=known" -f csv
	refuses 2 '--meta is for the changes of a table' "$URL?table=known" --meta lsn
	refuses 2 '--snapshot is for the changes' a.csv --snapshot no
	refuses 2 'is an input by itself' "$URL?table=known" a.csv
	q 'create role reader login' "alter role reader password 'geheim'"
	refuses 2 'permission denied for table known (42501)' "${URL/postgres:runnel/reader:geheim}?table=known"
	q "alter role reader valid until '2020-01-01'"
	refuses 2 'password authentication failed for user "reader"' "${URL/postgres:runnel/reader:geheim}?table=known"
	[ "$(ssource "$URL?table=known" --bad skip | ssink -f csv | tail -n 1)" = 2,2026-01-01,1.00 ]
	ssource "$URL?table=known" --bad bad.ndjson | ssink -f csv >out
	grep -q '"line":1.*column d: infinity' bad.ndjson
	[ "$(ssource "$URL?table=known" -s 'id, d string, n string' | ssink -f csv | sed -n 2p)" = 1,infinity,NaN ]
}

# ---- changes ----

@test "the changes of a table: pairs, keys that change, large values that stay, transactions whole" {
	q 'create table items (id int primary key, name text, n numeric(9,2))' 'alter table items replica identity full' \
		"insert into items values (1, 'one', 1), (2, repeat('large', 4000), 2)"
	ssource "$URL?table=items&slot=items" >frames & pipe=$!
	eventually "[ \"\$(q \"select count(*) from pg_replication_slots where slot_name like 'items%' and active\")\" = 1 ]"
	q "update items set n = n + 0.5 where id = 2" \
		"begin; insert into items values (3, null, 3); delete from items where id = 1; rollback" \
		"begin; insert into items values (4, 'four', 4); update items set id = 5 where id = 4; commit" \
		"delete from items where id = 1"
	sleep 0.3
	kill -INT "$pipe"
	wait "$pipe"
	ssource frames | smap '*, length(name) as l' | smap '* except (name)' | ssink -f csv >out
	diff out - <<-'END'
		op,id,n,l
		+I,1,1.00,3
		+I,2,2.00,20000
		-U,2,2.00,20000
		+U,2,2.50,20000
		+I,4,4.00,4
		-D,4,4.00,4
		+I,5,4.00,4
		-D,1,1.00,3
	END
	# Interrupted, it goes on there.
	q "insert into items values (6, 'six', 6)"
	ssource "$URL?table=items&slot=items" --limit 1 | ssink -f csv --header no >out
	[ "$(cat out)" = +I,6,six,6.00 ]
}

@test "columns that are added come; one that is dropped, renamed or retyped, and TRUNCATE, are errors" {
	q 'create table grows (id int primary key, a text)' 'alter table grows replica identity full' "insert into grows values (1, 'x')"
	ssource "$URL?table=grows&slot=grows" --limit 0 | ssink
	q "insert into grows values (2, 'y')" 'alter table grows add column b int[]' "insert into grows values (3, 'z', '{1,null}')"
	ssource "$URL?table=grows&slot=grows" --limit 2 | ssink -f ndjson >out
	diff out - <<-'END'
		{"op":"+I","id":2,"a":"y","b":null}
		{"op":"+I","id":3,"a":"z","b":[1,null]}
	END
	ssource "$URL?table=grows&slot=grows" --limit 2 2>errors | ssink -f ndjson >out & pipe=$!
	eventually streams grows
	q "insert into grows (id) values (10)" 'alter table grows add column bb numeric' 'insert into grows values (11, null, null, 0.5)'
	wait "$pipe"
	cat errors
	diff out - <<-'END'
		{"op":"+I","id":10,"a":null,"b":null}
		{"op":"+I","id":11,"a":null,"b":null,"bb":"0.5"}
	END
	# What happens while it runs: STATUS TEXT SQL... -- ARGUMENT...
	meanwhile() {
		local wanted=$1 text=$2 status=0 sql=()
		shift 2
		while [ "$1" != -- ]; do sql+=("$1"); shift; done
		shift
		timeout 30 ssource "$URL?table=grows&slot=grows" "$@" 2>errors >out & pipe=$!
		eventually streams grows
		q "${sql[@]}"
		wait "$pipe" || status=$?
		pipe=
		cat errors
		[ "$status" -eq "$wanted" ]
		[ -z "$text" ] || grep -qF -- "$text" errors
		# Nothing was confirmed.
		q "select pg_replication_slot_advance('grows', pg_current_wal_lsn())"
	}
	meanwhile 1 'the column c was added with a default' 'alter table grows add column c int default 5' 'insert into grows values (12)' --
	meanwhile 1 'the column a was dropped or renamed' 'alter table grows rename column a to aa' 'insert into grows values (13)' --
	meanwhile 0 '' 'alter table grows rename column aa to a' 'insert into grows values (14)' -- -s id --limit 1
	meanwhile 1 'the column bb was dropped or renamed' 'alter table grows drop column bb' 'insert into grows values (15)' --
	meanwhile 1 'the column id has another type' 'alter table grows alter column id type bigint' 'insert into grows values (16)' -- -s id
	meanwhile 1 'the table was truncated' 'truncate grows' --
}

@test "the log of changes has their metadata and an event time; so has a publication of inserts only" {
	q 'create table log (id int primary key, at timestamptz)' 'alter table log replica identity full' \
		"create publication inserts for table log with (publish = 'insert')" \
		"insert into log select i, timestamptz '2026-01-01' + i * interval '1 min' from generate_series(0, 9) i"
	ssource "$URL?table=log&publication=inserts" --follow -t at --limit 10 | swindow --tumble 5m 'count(*) as n' | ssink -f csv --header no >out
	diff out - <<-'END'
		2026-01-01T00:00:00Z,2026-01-01T00:05:00Z,5
		2026-01-01T00:05:00Z,2026-01-01T00:10:00Z,5
	END
	ssource "$URL?table=log&slot=log" --snapshot no --limit 0 | ssink
	q "update log set at = null where id = 1" "delete from log where id = 2"
	ssource "$URL?table=log&slot=log" --meta 'op, lsn, commit_time as done, xid' -t done --limit 3 |
		smap 'op as o, id, lsn > 0 as l, xid > 0 as x, done > timestamp '\''2026-01-01'\'' as w' | ssink -f csv --header no >out
	diff out - <<-'END'
		-U,1,true,true,true
		+U,1,true,true,true
		-D,2,true,true,true
	END
	refuses 2 "rows of a changelog are taken back" "$URL?table=log&slot=log" -t at
}

@test "what a change stream needs is asked for, with the statement that gives it" {
	q 'create table needs (id int primary key)' 'create view seen as select 1 as id'
	refuses 2 'alter table "public"."needs" replica identity full' "$URL?table=needs&slot=needs"
	q 'alter table needs replica identity full' "create publication part for table needs with (publish = 'insert, update')"
	refuses 2 'leaves out some of the changes' "$URL?table=needs&slot=needs&publication=part"
	refuses 2 'create publication "nothing" for table "public"."needs"' "$URL?table=needs&slot=needs&publication=nothing"
	refuses 2 'is no table' "$URL?table=seen&slot=needs"
	refuses 2 'small letters' "$URL?table=needs&slot=Needs"
	refuses 2 "there are lsn, commit_time" "$URL?table=needs&slot=needs" --meta when
	[ "$(q "select count(*) from pg_replication_slots where slot_name like 'needs%'")" = 0 ]
	q "select 'made' from pg_create_physical_replication_slot('physical')"
	refuses 2 'the slot physical is physical' "$URL?table=needs&slot=physical"
	q "select pg_drop_replication_slot('physical')"
	q "select 'made' from pg_create_logical_replication_slot('needs', 'pgoutput')"
	refuses 2 "select pg_drop_replication_slot('needs')" "$URL?table=needs&slot=needs" --snapshot yes
	run runnel --state state -c "ssource '$URL?table=needs&slot=needs' | ssink new/"
	echo "$output"
	[ "$status" -eq 2 ]
	[[ "$output" == *"this job has no checkpoint of it"* ]]
	[[ "$output" != *runnel@* ]]
	run runnel --state state2 -c "ssource '$URL?table=needs' --follow | ssink new/"
	[ "$status" -eq 2 ]
	q "select pg_drop_replication_slot('needs')"
}

@test "a server that is restarted, and one that is killed, are connected to again: nothing doubled" {
	q 'create table lives (id int primary key)' 'alter table lives replica identity full' 'insert into lives values (1)'
	ssource "$URL?table=lives&slot=lives" --limit 0 | ssink
	ssource "$URL?table=lives&slot=lives" --limit 6 2>errors | ssink -f csv --header no >out & pipe=$!
	eventually streams lives
	q 'insert into lives values (2), (3)'
	"$PEER" halt "$DB"
	"$PEER" start "$DB" 3>&-
	eventually streams lives
	q 'insert into lives values (4), (5)'
	"$PEER" kill "$DB"
	"$PEER" start "$DB" 3>&-
	eventually "q 'insert into lives values (6)'"
	q 'insert into lives values (7)'
	wait "$pipe"
	[ "$(cat out)" = $'+I,2\n+I,3\n+I,4\n+I,5\n+I,6\n+I,7' ]
	grep -q 'trying again' errors
	! grep -q 'runnel@' errors
}

@test "a slot that is gone, moved on, lost or in use is said" {
	q 'create table slots (id int primary key)' 'alter table slots replica identity full'
	echo "ssource '$URL?table=slots&slot=slots' | ssink -f csv out/" >p.sh
	runnel -q --state state --checkpoint 50ms p.sh 3>&- & job=$!
	eventually streams slots
	ssource "$URL?table=slots&slot=slots" 2>errors >frames & pipe=$!
	eventually "grep -q 'slot \"slots\" is active for PID .*trying again' errors"
	kill -9 "$pipe" "$job"; wait "$pipe" "$job" || true; job= pipe=
	eventually "[ \"\$(q \"select active from pg_replication_slots where slot_name = 'slots'\")\" = f ]"
	q 'insert into slots values (1)' "select pg_replication_slot_advance('slots', pg_current_wal_lsn())"
	run runnel -q --state state p.sh
	echo "$output"
	[ "$status" -eq 4 ]
	[[ "$output" == *"has been moved on to "*" past the checkpoint"* ]]
	q "select pg_drop_replication_slot('slots')"
	run runnel -q --state state p.sh
	echo "$output"
	[ "$status" -eq 4 ]
	[[ "$output" == *"the slot slots is gone"* ]]
}

@test "a slot whose log the server has thrown away is said; so is a server without logical decoding" {
	q 'create table lost (id int primary key)' 'alter table lost replica identity full' \
		"alter system set max_slot_wal_keep_size = '1MB'" 'select pg_reload_conf()'
	ssource "$URL?table=lost&slot=lost" --limit 0 | ssink
	for _ in 1 2 3 4; do q "select pg_logical_emit_message(false, 'x', 'y')" 'select pg_switch_wal()'; done
	q checkpoint
	refuses 1 'the slot lost has lost its place' "$URL?table=lost&slot=lost"
	q 'alter system reset max_slot_wal_keep_size' 'select pg_drop_replication_slot(slot_name) from pg_replication_slots'
	"$PEER" halt "$DB"
	PEER_POSTGRES='-c wal_level=replica' "$PEER" start "$DB" 3>&-
	refuses 2 'alter system set wal_level = logical' "$URL?table=lost&slot=lost"
	"$PEER" halt "$DB"
	"$PEER" start "$DB" 3>&-
}

# ---- jobs ----

@test "a query whose job is killed before its end is read anew, after it no more" {
	q "create table slow as select i as id from generate_series(1, 60000) i"
	echo "ssource '$URL?table=slow' --rate 40000 | ssink -f csv --header no out/" >p.sh
	runnel -q --state state --checkpoint 100ms p.sh 3>&- & job=$!
	sleep 0.7
	pkill -9 -P "$job" ssource || true
	wait "$job"
	job=
	cat out/part-* | sort -n | diff - <(seq 60000)
	[ "$(ls -A out | grep -c '^\.')" = 0 ]
}

@test "a job that is killed before its first checkpoint begins anew, and leaves one slot" {
	q "create table first as select i as id, repeat('x', 50) as x from generate_series(1, 100000) i" \
		'alter table first replica identity full'
	echo "ssource '$URL?table=first&slot=first' | smap 'id' | ssink -f csv --header no out/" >p.sh
	for wait in 0.05 0.2 0.3; do
		runnel -q --state state --checkpoint 1h p.sh 3>&- & job=$!
		eventually "[ \"\$(q \"select count(*) from pg_replication_slots where slot_name like 'first_%'\")\" = 1 ]"
		sleep "$wait"
		kill -9 "$job"; wait "$job" || true
	done
	[ "$(q "select count(*) from pg_replication_slots where slot_name = 'first'")" = 0 ]
	runnel -q --state state --checkpoint 100ms p.sh 3>&- & job=$!
	eventually "[ \"\$(q \"select count(*) from pg_replication_slots where slot_name = 'first'\")\" = 1 ]"
	q 'insert into first values (100001)'
	sctl stop "$PWD/state" --drain
	wait "$job"
	job=
	cat out/part-* | cut -d, -f2 | sort -n | diff - <(seq 100001)
	[ "$(q "select count(*) from pg_replication_slots where slot_name like 'first%'")" = 1 ]
}

@test "a job that is killed in the middle of a large transaction goes on in its middle" {
	q 'create table large (id int primary key)' 'alter table large replica identity full'
	echo "ssource '$URL?table=large&slot=large' --rate 50000 | ssink -f csv --header no out/" >p.sh
	runnel -q --state state --checkpoint 50ms p.sh 3>&- & job=$!
	eventually streams large
	q 'insert into large select generate_series(1, 60000)'
	for rows in 10000 30000; do
		eventually "[ \"\$(cat out/part-* 2>/dev/null | wc -l)\" -gt $rows ]"
		pkill -9 -P "$job" ssource
	done
	eventually '[ "$(cat out/part-* | wc -l)" -ge 60000 ]'
	sctl stop "$PWD/state" --drain
	wait "$job"
	job=
	cat out/part-* | cut -d, -f2 | sort -n | diff - <(seq 60000)
}

@test "a job that ends before its first checkpoint leaves no slot behind" {
	q 'create table ends (id int primary key)' 'alter table ends replica identity full' 'insert into ends values (1), (2)'
	runnel -q --state state --checkpoint 1h -c "ssource '$URL?table=ends&slot=ends' --limit 2 | ssink -f csv --header no out/"
	[ "$(cat out/part-*)" = $'+I,1\n+I,2' ]
	[ "$(q "select count(*) from pg_replication_slots where slot_name like 'ends%'")" = 0 ]
}

@test "the slot stands still until a checkpoint, and moves on while others write" {
	q 'create table still (id int primary key)' 'alter table still replica identity full' 'create table noise (id int)'
	echo "ssource '$URL?table=still&slot=still' | ssink -f csv out/" >p.sh
	runnel -q --state state --checkpoint 0s p.sh 3>&- & job=$!
	eventually "[ \"\$(q \"select count(*) from pg_replication_slots where slot_name like 'still_%' and active\")\" = 1 ]"
	sctl checkpoint "$PWD/state"
	eventually streams still
	before=$(q "select confirmed_flush_lsn from pg_replication_slots where slot_name = 'still'")
	q 'insert into still values (1)' 'insert into noise select generate_series(1, 1000)'
	sleep 0.3
	[ "$(q "select confirmed_flush_lsn from pg_replication_slots where slot_name = 'still'")" = "$before" ]
	now=$(q 'select pg_current_wal_lsn()')
	sctl checkpoint "$PWD/state"
	eventually "[ \"\$(q \"select confirmed_flush_lsn >= '$now' from pg_replication_slots where slot_name = 'still'\")\" = t ]"
	sctl stop "$PWD/state"
	wait "$job"
	job=
}

@test "capture.job: orders that change, as the sums of what is open" {
	q 'create table orders (id int primary key, customer text, state text, total numeric(8,2))' \
		'alter table orders replica identity full' \
		"insert into orders select i, 'c' || i % 3, 'open', i from generate_series(1, 30) i"
	SHOP=$URL BOOKS=$URL runnel -q --state state --checkpoint 100ms "$top/bats/examples/capture.job" 3>&- & job=$!
	eventually "[ \"\$(q 'select count(*) from open_orders' 2>/dev/null)\" = 3 ]"
	q "update orders set state = 'paid' where id % 3 = 0 and id < 30" "delete from orders where customer = 'c1'" \
		"insert into orders values (31, 'c4', 'open', 0.10), (32, 'c4', 'paid', 5)" "update orders set total = total * 2 where id = 2"
	eventually "[ \"\$(q 'select customer, orders, total from open_orders order by 1' | paste -sd' ')\" = 'c0|1|30.00 c2|10|157.00 c4|1|0.10' ]"
	pkill -9 -P "$job" swindow
	q "insert into orders values (40, 'c0', 'open', 1)"
	eventually "[ \"\$(q \"select total from open_orders where customer = 'c0'\")\" = 31.00 ]"
	sctl stop "$PWD/state" --drain
	wait "$job"
	job=
}

@test "the plan tells the guarantee and no secret" {
	runnel --plan --state state -c "ssource '$URL?table=t&slot=s' | ssink out/" >out
	grep -q 'goes back to a log position; the slot moves on with the checkpoints' out
	! grep -q 'runnel@' out
}
