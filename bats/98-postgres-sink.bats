#!/usr/bin/env bats
# PostgreSQL as a sink, on a real server: what arrives, what is refused, and what is left of a job that is killed.

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
	[ -z "${job:-}" ] || kill -9 "$job" 2>/dev/null || true
}

# q SQL: what psql says.
q() { "$PEER" psql "$DB" -c "$1"; }

# eventually COMMAND: until it succeeds, at most 20 seconds.
eventually() {
	for _ in $(seq 400); do
		if eval "$1"; then return 0; fi
		sleep 0.05
	done
	echo "never: $1"
	return 1
}

@test "rows go into a table that is made for them" {
	printf 'id,name,price,at,day\n1,a b,1.5,2013-01-01T10:00:00Z,2013-01-01\n2,,-3,2013-01-01T10:00:00.123Z,\n' > a.csv
	ssource a.csv | ssink --create "$URL?table=a"
	[ "$(q 'select id, name, price, at, day from a order by id')" = "$(cat <<-'END'
		1|a b|1.5|2013-01-01 10:00:00+00|2013-01-01
		2||-3|2013-01-01 10:00:00.123+00|
	END
	)" ]
	[ "$(q "select string_agg(format_type(atttypid, atttypmod), ', ' order by attnum) from pg_attribute
		where attrelid = 'a'::regclass and attnum > 0")" = \
		"bigint, text, double precision, timestamp with time zone, date" ]
}

@test "nothing appears of a pipeline that failed" {
	printf 'id\n1\n2\nx\n' > a.csv
	q 'create table failed (id int)'
	run bash -c "ssource -s 'id int' a.csv | ssink '$URL?table=failed'"
	[ "$status" -eq 3 ]
	[ "$(q 'select count(*) from failed')" = 0 ]
}

@test "by key: the last row counts, deletes delete" {
	q 'create table totals (k int primary key, n int, note text default $$kept$$)'
	q "insert into totals values (7, 7)"
	ssource 'nexmark:bid?events=20000' |
		swindow --emit changes -k 'auction % 50 as k' 'count(*) as n' | ssink --upsert k "$URL?table=totals"
	ssource 'nexmark:bid?events=20000' | swindow -k 'auction % 50 as k' 'count(*) as n' |
		ssink -f csv --header no | sort > wanted
	q 'select k, n from totals' | tr '|' , | sort | cmp - wanted
	[ "$(q 'select distinct note from totals')" = kept ]
}

@test "under a supervisor an epoch comes in one transaction, and nothing is left over" {
	runnel --checkpoint 100ms -p 2 -c \
		"ssource 'nexmark:bid?events=40000' --rate 20000 | ssink --create '$URL?table=epochs'"
	ssource 'nexmark:bid?events=40000' | smap 'auction, bidder, price' | ssink -f csv --header no | sort > wanted
	q 'select auction, bidder, price from epochs' | tr '|' , | sort | cmp - wanted
	[ "$(q "select count(*) from runnel_epochs where stage = 'ssink'")" -ge 2 ]
	[ -z "$(find state -name 'postgres-*')" ]
}

# refused STATUS TEXT COMMAND: a pipeline that ends so, and says that.
refused() {
	run bash -o pipefail -c "$3"
	[ "$status" -eq "$1" ] || { echo "status $status, not $1: $3"; echo "$output"; return 1; }
	[[ "$output" == *"$2"* ]] || { echo "no '$2': $3"; echo "$output"; return 1; }
	[[ "$output" != *runnel@* ]] && [[ "$output" != *:runnel* ]] || { echo "the password shows: $output"; return 1; }
}

@test "columns that don't fit the table are refused before the first row, with both lists" {
	q 'create table fits (id smallint not null, amount numeric(7,2), at timestamptz, note text,
		double int generated always as (2) stored, loose varchar(20) collate "C" unique)'
	echo id > in.csv
	s="ssource in.csv -s 'id int'"
	refused 2 "smap '* rename (nots as note)'" "$s | smap \"id, '' as nots\" | ssink '$URL?table=fits'"
	[[ "$output" == *"the stream has id int, nots string"*"the table has id smallint, amount numeric(7,2), at timestamp"* ]]
	refused 2 "column 'id' is string, and table \"fits\" has it as smallint" "$s | smap \"'' as id\" | ssink '$URL?table=fits'"
	refused 2 "cast(amount as decimal(7,2))" "$s | smap 'id, 1::decimal(9,3) as amount' | ssink '$URL?table=fits'"
	refused 2 "needs a value for its column 'id'" "$s | smap \"'' as note\" | ssink '$URL?table=fits'"
	refused 2 "computes its column 'double' itself" "$s | smap 'id, 1 as double' | ssink '$URL?table=fits'"
	refused 2 'has no unique index on exactly ("id")' "$s | ssink --upsert id '$URL?table=fits'"
	refused 2 "no column 'ix'" "$s | ssink --upsert ix '$URL?table=fits'"
	refused 2 'there is no table "none"' "$s | ssink '$URL?table=none'"
	[[ "$output" == *'--create makes it: create table if not exists "none" ("id" bigint)'* ]]
	refused 2 'a changelog (from swindow) takes rows back' \
		"$s | swindow -k id --emit changes 'count(*) as n' | ssink --create '$URL?table=none'"
	[ -z "$(q "select to_regclass('none')")" ]
	# Domains are what they are made of, and what has a default may be left out.
	q 'create domain cents as numeric(9,2) check (value >= 0); create type mood as enum ($$sad$$, $$happy$$);
		create table odd (id serial, c cents, m mood, u uuid, j jsonb, a int[], i inet, x char(3))'
	echo 'c,m,u,j,a,i,x
1.5,happy,A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11,"{""a"": [1, 2]}","{1,2}",10.0.0.1,ab' > odd.csv
	ssource odd.csv -s 'c decimal(9,2), m string, u string, j string, a string, i string, x string' | ssink "$URL?table=odd"
	[ "$(q 'select * from odd')" = '1|1.50|happy|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|{"a": [1, 2]}|{1,2}|10.0.0.1|ab ' ]
}

@test "values that the table doesn't take are bad data, with the row, and nothing of it is there" {
	q 'create table takes (id smallint primary key, u uuid, at timestamp(0), note text, n int check (n > 0))'
	printf 'id\n1\n2\n' > in.csv
	s="ssource in.csv -s 'id int'"
	refused 1 "column 'id' (there smallint): 40000, which is an int too large" "$s | smap 'id * 20000 as id' | ssink '$URL?table=takes'"
	[[ "$output" == *"the row: id=40000"* ]]
	refused 1 "which is text that is no uuid" "$s | smap \"id, 'x' as u\" | ssink '$URL?table=takes'"
	refused 1 "more digits of a second" "$s | smap \"id, timestamp '2013-01-01 10:00:00.5' as at\" | ssink '$URL?table=takes'"
	refused 1 'violates check constraint "takes_n_check": Failing row contains (2' "$s | smap '*, 2 - id as n' | ssink '$URL?table=takes'"
	refused 1 'Key (id)=(1) already exists: COPY takes, line 2' "$s | smap '1 as id' | ssink '$URL?table=takes'"
	refused 1 "a key is null" "$s | smap 'nullif(id, 2) as id' | ssink --upsert id '$URL?table=takes'"
	[ "$(q 'select count(*) from takes')" = 0 ]
	refused 1 'Key (id)=(7) already exists' "runnel -c \"$s | smap '7 as id' | ssink '$URL?table=takes'\""
	[ "$(q 'select count(*) from takes')" = 0 ]
}

@test "a server that can't be reached, or doesn't let one in, is told without the password" {
	place=${URL#*@}
	echo id > in.csv
	s="ssource in.csv -s 'id int'"
	refused 2 'password authentication failed for user "postgres" (28P01)' "$s | ssink 'postgresql://postgres:wrong@$place?table=a'"
	refused 2 'no password supplied' "$s | ssink 'postgresql://postgres@$place?table=a'"
	refused 2 'database "none" does not exist' "$s | ssink '${URL%/*}/none?table=a'"
	refused 5 'Connection refused' "$s | ssink 'postgresql://postgres:runnel@127.0.0.1:1/x?table=a'"
	refused 2 "there is no property 'tabel'" "$s | ssink '$URL?table=a&tabel=b'"
	refused 2 'which table?' "$s | ssink '$URL'"
	q 'create role reader login password $$secret$$; create table closed (id int); grant select on closed to reader'
	refused 2 'permission denied for table closed' "$s | ssink 'postgresql://reader:secret@$place?table=closed'"
	[[ "$output" != *secret* ]]
	q 'grant insert on closed to reader'
	refused 2 'permission denied for' \
		"echo 1 >> in.csv; runnel -c \"$s | ssink 'postgresql://reader:secret@$place?table=closed'\""
	[[ "$output" == *'&epochs=schema.table'* ]]
	q 'create schema mine authorization reader'
	runnel -c "$s | ssink 'postgresql://reader:secret@$place?table=closed&epochs=mine.epochs'"
	[ "$(q 'select count(*) from closed')" = 1 ]
	[ "$(q 'select stage, subtask, epoch > 0 from mine.epochs')" = 'ssink|0|t' ]
}

@test "random rows of every type come back, random changelogs leave the table they describe" {
	PSQL="$PEER psql $DB" ROUNDS=4 python3 "$BATS_TEST_DIRNAME/../tests/postgres_oracle.py" types changes
}

S="ssource 'nexmark:bid?events=60000' --rate 30000 | smap 'auction, bidder, price'"

# whole TABLE: it has every row once.
whole() {
	[ -e wanted ] || ssource 'nexmark:bid?events=60000' | smap 'auction, bidder, price' | ssink -f csv --header no | sort > wanted
	q "select auction, bidder, price from $1" | tr '|' , | sort | cmp - wanted
}

@test "stages, the supervisor and the server are killed, at any parallelism: every row once" {
	log=$PWD/log
	for n in 1 3 2; do
		runnel -p $n --name killed --checkpoint 100ms --restart 100/1m -c "$S | ssink --create '$URL?table=killed'" 2>> "$log" 3>&- & job=$!
		eventually '[ -n "$(pgrep -P $job ssink)" ]'
		sleep 0.4
		kill -9 "$(pgrep -P "$job" ssink | head -1)" || true
		sleep 0.3
		[ $n != 3 ] || { "$PEER" kill "$DB"; "$PEER" start "$DB" > /dev/null 3>&-; }
		kill -9 "$job"
		wait "$job" || true
	done
	job=
	runnel -p 2 --name killed --checkpoint 100ms -c "$S | ssink --create '$URL?table=killed'"
	whole killed
	[ -z "$(find state -name 'postgres-*')" ]
}

@test "a server that goes away is waited for, and said once; alone it is an error and nothing is there" {
	q 'create table away (auction bigint, bidder bigint, price bigint)'
	"$PEER" kill "$DB"
	runnel --name away --checkpoint 100ms -c "$S | ssink '$URL?table=away'" 2> log 3>&- & job=$!
	eventually 'grep -q "tried again until it works" log state/runnel/away/logs/ssink.0.log 2>/dev/null'
	sleep 1
	ps -o args= --pid "$job" --ppid "$job" > processes
	grep -q 'ssink postgresql://postgres:\*\*\*\*\*\*@127' processes
	if grep ':runnel@' processes; then return 1; fi
	"$PEER" start "$DB" > /dev/null 3>&-
	wait "$job"
	job=
	[ "$(cat log state/runnel/away/logs/ssink.0.log 2>/dev/null | grep -c 'tried again')" -le 2 ]
	whole away
	q 'truncate away'
	{ ssource 'nexmark:bid?events=60000' --rate 30000 | smap 'auction, bidder, price'; } > pipe.frames
	mkfifo pipe
	ssink "$URL?table=away" < pipe 2> err 3>&- & job=$!
	exec 4> pipe
	head -c 500000 pipe.frames >&4
	eventually '[ "$(q "select count(*) from pg_stat_activity where application_name = \$\$ssink\$\$")" = 1 ]'
	"$PEER" kill "$DB"
	tail -c +500001 pipe.frames >&4 || true
	exec 4>&-
	status=0
	wait "$job" || status=$?
	job=
	[ "$status" -eq 5 ] || { echo "status $status"; cat err; return 1; }
	"$PEER" start "$DB" > /dev/null 3>&-
	[ "$(q 'select count(*) from away')" = 0 ]
}

@test "a table whose columns change in between: an error, nothing lost, and it goes on once they fit" {
	q 'create table altered (auction bigint, bidder bigint, price bigint)'
	runnel --name altered --checkpoint 100ms -c "$S | ssink '$URL?table=altered'" 2> log 3>&- & job=$!
	eventually '[ "$(q "select count(*) from altered")" -gt 0 ]'
	q 'alter table altered rename price to cost'
	status=0
	wait "$job" || status=$?
	job=
	[ "$status" -eq 2 ]
	grep -q "has no column 'price'" log
	waiting=$(sed -n 's/^nothing is lost: the rows wait in //p' log)
	[ -s "$waiting" ]
	ssource -f frames "$waiting" | ssink -f csv | head -1 | grep -qx 'auction,bidder,price'
	q 'alter table altered rename cost to price; alter table altered alter price type numeric(20)'
	runnel --name altered --checkpoint 100ms -c "$S | ssink '$URL?table=altered'"
	whole altered
}

@test "a table that others have locked: the stage waits and isn't taken for hung" {
	q 'create table locked (auction bigint, bidder bigint, price bigint)'
	"$PEER" psql "$DB" -c 'begin; lock table locked; select pg_sleep(3); commit' > /dev/null 3>&- & locker=$!
	eventually '[ "$(q "select count(*) from pg_locks where mode = \$\$AccessExclusiveLock\$\$ and relation = \$\$locked\$\$::regclass")" = 1 ]'
	runnel --name locked --heartbeat 1s --restart 0/1m --checkpoint 100ms -c "$S | ssink '$URL?table=locked'"
	wait "$locker"
	whole locked
}

@test "a commit that takes much longer than the heartbeat isn't taken for a hung stage" {
	q 'create table long (auction bigint)'
	runnel --name long --heartbeat 200ms --restart 0/1m --checkpoint 1h -c \
		"ssource 'nexmark:bid?events=2000000' | smap auction | ssink '$URL?table=long'"
	[ "$(q 'select count(*) from long')" = 1840000 ]
}

@test "--plan tells what is promised, without the password; two upserting sinks to one table are refused" {
	runnel --plan -p 3 -c "ssource 'nexmark:bid?events=9' | ssink --upsert 'a, \"b c\"' '$URL?table=t'" > plan
	grep -q 'ssink            x3   reads ssource, by "a", "b c"' plan
	grep -q 'postgresql://postgres:\*\*\*@127.*?table=t by key: exactly once, each epoch in one transaction' plan
	run runnel --plan -c "ssource 'nexmark:bid?events=9' | stee \"ssink --upsert a '$URL?table=t'\" | ssink --upsert a '$URL?table=t'"
	[ "$status" -eq 2 ]
	[[ "$output" == *"both write to"* ]] && [[ "$output" != *runnel@* ]]
}

@test "a database that was set back is noticed; a savepoint starts another job beside" {
	q 'create table back (auction bigint, bidder bigint, price bigint)'
	runnel --name back --checkpoint 100ms -c "$S | ssink '$URL?table=back'" 3>&- & job=$!
	eventually '[ "$(q "select count(*) from back")" -gt 5000 ]'
	sctl savepoint back back.tar.zst
	# A kill that leaves a prepared epoch behind, and a table of epochs without its rows.
	q 'begin; lock table back; select pg_sleep(1); commit' & locker=$!
	sleep 0.5
	kill -9 "$job"
	wait "$job" || true
	job=
	wait "$locker"
	state=$(ls state/runnel/back/spool | head -1)
	[ -n "$state" ]
	q 'alter table runnel_epochs rename to hidden'
	run runnel --name back --checkpoint 100ms -c "$S | ssink '$URL?table=back'"
	[ "$status" -eq 4 ] || { echo "$status: $output"; return 1; }
	[[ "$output" == *"was committed, and the table of epochs knows only up to 0"*"--drop-state ssink"* ]]
	q 'drop table runnel_epochs; alter table hidden rename to runnel_epochs'
	runnel --name back --checkpoint 100ms -c "$S | ssink '$URL?table=back'"
	whole back
	q 'create table beside (like back); insert into beside select * from back limit 0'
	runnel --name beside --from back.tar.zst -c "$S | ssink '$URL?table=beside'"
	[ "$(q 'select count(*) > 0 and count(*) < 55200 from beside')" = t ]
	[ "$(q 'select count(*) from (select * from back except select * from beside) x')" -gt 0 ]
	[ "$(q 'select count(*) from (select * from beside except select * from back) x')" -eq 0 ]
}

@test "a table is copied into another: numerics of any size, arrays, enums, domains, addresses" {
	q "create type fruit as enum ('a b', 'c\"d'); create domain five as varchar(5)[];
		create table from_t (i int, n numeric, big numeric(60,30), ints int[], t text[], f float8[], b bool[], ns numeric(5,2)[],
			ts timestamptz[], j jsonb[], bytes bytea[], m fruit[], inets inet[], boxes box[], mm int[][], v int2vector,
			x xml, ip cidr, dom five, c char(4), r real, o oid, e fruit, u uuid, d interval);
		insert into from_t values (1, 1e-20, 123456789012345678901234567890.5, '{1,null,3}',
			array['a,b','"q"','null',null,'\\x','{}','', E'tab\\t\\n'], '{1.5,nan,inf}', '{t,f}', '{1.25,-3}', '{2013-01-01 10:00+00}',
			array['{\"a\":[1,2]}','[1,[2]]','\"s\"']::jsonb[], array['\\x00ff'::bytea], '{\"a b\",\"c\\\"d\"}', '{10.0.0.1}',
			'{(1,1),(0,0);(2,2),(1,1)}', '{{1,2},{3,4}}', '1 2 3', '<a/>', '10.0.0.0/8', '{ab}', 'ab', 0.1, 7, 'a b',
			'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '1 day 02:00'); insert into from_t (i) values (2);
		create table to_t (like from_t)" 2> err || { cat err; return 1; }
	ssource "$URL?table=from_t" | ssink "$URL?table=to_t"
	[ "$(q 'select to_t::text from to_t order by i')" = "$(q 'select from_t::text from from_t order by i' | sed 's/"1 day 02:00:00"/26:00:00/')" ] || {
		q 'select * from to_t'; q 'select * from from_t'; return 1; }
}

@test "partitioned tables, odd names, and a schema of one's own" {
	q 'create schema "Odd s"; create table "Odd s"."T.1" ("a ""b" int, "C" text, primary key ("a ""b")) partition by hash ("a ""b");
		create table p0 partition of "Odd s"."T.1" for values with (modulus 2, remainder 0);
		create table p1 partition of "Odd s"."T.1" for values with (modulus 2, remainder 1)'
	printf 'x,C\n1,a\n2,b\n' > in.csv
	for text in one two; do
		ssource in.csv | smap "x as \"a \"\"b\", '$text' as \"C\"" |
			ssink --upsert '"a ""b"' "$URL?table=%22Odd s%22.%22T.1%22"
	done
	[ "$(q 'select * from "Odd s"."T.1" order by 1')" = "$(printf '1|two\n2|two')" ]
	runnel -p 2 -c "ssource in.csv | smap 'x + 2 as \"a \"\"b\", \"C\"' | ssink '$URL?table=%22Odd s%22.%22T.1%22'"
	[ "$(q 'select count(*) from "Odd s"."T.1"')" = 4 ]
	[ "$(q 'select count(*) > 0 from "Odd s".runnel_epochs')" = t ]
}

@test "a full disk of the server's, said once, is waited out; alone it is an error to try again after" {
	q "create table full_t (auction bigint, bidder bigint, price bigint);
		create function full_f() returns trigger language plpgsql as
			\$f\$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end \$f\$;
		create trigger full_g before insert on full_t execute function full_f()"
	refused 5 "No space left on device" "$S | ssink '$URL?table=full_t'"
	runnel --name full --checkpoint 100ms --restart 0/1m -c "$S | ssink '$URL?table=full_t'" 2> log 3>&- & job=$!
	eventually 'cat log state/runnel/full/logs/* 2>/dev/null | grep -q "No space left on device.*tried again"'
	sleep 0.5
	q 'drop trigger full_g on full_t'
	wait "$job"
	job=
	whole full_t
}

@test "an interrupted pipeline of bounded input leaves nothing, one that follows commits" {
	q 'create table cut (n int); create table followed (n int)'
	ssource 'nexmark:bid?events=100000000' | smap '1 as n' | ssink "$URL?table=cut" 2> err 3>&- & job=$!
	eventually '[ "$(q "select count(*) from pg_stat_activity where query like \$\$copy%cut%\$\$")" -gt 0 ]'
	kill -INT "$(pgrep -x -P $$ ssource)" "$(pgrep -x -P $$ ssink)"
	status=0
	wait "$job" || status=$?
	[ "$status" -eq 3 ] || { echo "$status"; cat err; return 1; }
	[ "$(q 'select count(*) from cut')" = 0 ]
	printf 'n\n1\n' > log.csv
	ssource --follow log.csv -s 'n int' 3>&- | ssink "$URL?table=followed" 3>&- & job=$!
	eventually '[ "$(q "select count(*) from pg_stat_activity where query like \$\$copy%followed%\$\$")" -gt 0 ]'
	echo 2 >> log.csv
	[ "$(q 'select count(*) from followed')" = 0 ]
	sleep 0.3
	kill -INT "$(pgrep -x -P $$ ssource)"
	wait "$job"
	job=
	[ "$(q 'select n from followed order by 1')" = "$(printf '1\n2')" ]
}

@test "a connection that breaks in the middle of a commit: the server is asked what became of it" {
	q "create table broken (auction bigint, bidder bigint, price bigint);
		create function broken_f() returns trigger language plpgsql as
			\$f\$ begin perform pg_terminate_backend(pg_backend_pid()); return null; end \$f\$;
		create constraint trigger broken_g after insert on broken deferrable initially deferred
			for each row execute function broken_f()"
	refused 5 "nothing of the rows has been committed" \
		"ssource 'nexmark:bid?events=100' | smap 'auction, bidder, price' | ssink '$URL?table=broken'"
	[ "$(q 'select count(*) from broken')" = 0 ]
}
