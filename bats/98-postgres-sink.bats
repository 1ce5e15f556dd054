#!/usr/bin/env bats
# PostgreSQL as a sink, on a real server: what arrives, what is refused, and what is left of a job that is killed.

setup_file() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	export PEER="$top/tests/peers/postgres" DB="$BATS_FILE_TMPDIR/db" URL
	URL=$("$PEER" start "$DB" 3>&-) || skip "no PostgreSQL server"
}

teardown_file() {
	"$PEER" stop "$DB" || true
}

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	export XDG_STATE_HOME="$BATS_TEST_TMPDIR/state"
	cd "$BATS_TEST_TMPDIR" || exit 1
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
