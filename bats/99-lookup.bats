#!/usr/bin/env bats
# sjoin --lookup on a real PostgreSQL server.

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

# q SQL: what psql says.
q() { "$PEER" psql "$DB" -c "$1"; }

@test "rows are found as a join with the whole table finds them, at any size of the cache" {
	q 'create table auctions (id bigint, seller int, category int)'
	ssource 'nexmark:auction?events=20000' | smap 'id, seller, category' > auctions
	ssink "$URL?table=auctions" < auctions
	# Some have several rows, some have none.
	ssource auctions | smap -w 'id % 3 = 0' 'id, -seller as seller, category' | ssink "$URL?table=auctions"
	q 'delete from auctions where id % 7 = 0'
	ssource "$URL?table=auctions" > auctions
	for kind in inner left semi anti; do
		ssource 'nexmark:bid?events=20000' | smap 'auction, bidder, price' | tee bids |
			sjoin -k 'auction = id' --kind $kind --static auctions | ssink -f csv | sort > wanted
		for cache in 0 10 100000; do
			sjoin -k 'auction = id' --kind $kind --lookup-cache $cache --lookup "$URL?table=auctions" < bids |
				ssink -f csv | sort | cmp - wanted || { echo "$kind, $cache"; return 1; }
		done
	done
}

@test "keys of every type, several at once, with nulls among them: as a join with the table" {
	PSQL="$PEER psql $DB" ROUNDS=6 python3 "$BATS_TEST_DIRNAME/../tests/postgres_oracle.py" lookups
}

# refused STATUS TEXT COMMAND: a pipeline that ends so, and says that.
refused() {
	run bash -o pipefail -c "$3"
	[ "$status" -eq "$1" ] || { echo "status $status, not $1: $3"; echo "$output"; return 1; }
	[[ "$output" == *"$2"* ]] || { echo "no '$2': $3"; echo "$output"; return 1; }
	[[ "$output" != *:runnel* ]] || { echo "the password shows: $output"; return 1; }
}

@test "what makes no sense is refused" {
	q 'create table names (id int, name text, code uuid)'
	printf 'k\n1\n' > in.csv
	s="ssource in.csv | sjoin --lookup '$URL?table=names'"
	refused 2 "no -k: which columns have to be equal?" "$s"
	refused 2 "RIGHT has no column 'ids'" "$s -k 'k = ids'"
	refused 2 "'k' is int, but 'name' is string" "$s -k 'k = name'"
	refused 2 "takes no RIGHT: 'x.csv'" "$s -k 'k = id' x.csv"
	refused 2 "--kind inner, left, semi or anti" "$s -k 'k = id' --kind full"
	refused 2 "only one of --static" "$s -k 'k = id' --tumble 1s"
	refused 2 "goes by key" "$s --cross"
	refused 2 "which table?" "ssource in.csv | sjoin -k k --lookup '$URL'"
	refused 2 'relation "none" does not exist' "ssource in.csv | sjoin -k k --lookup '$URL?table=none'"
	refused 2 'column "nam" does not exist' "ssource in.csv | sjoin -k 'k = id' --lookup '$URL?table=names&columns=id,nam'"
	refused 2 "takes a URL of a database" "ssource in.csv | sjoin -k k --lookup names.csv"
	refused 2 "belongs to --lookup" "ssource in.csv | sjoin -k k --lookup-ttl 1s names.csv"
	refused 2 "LEFT is a changelog (from swindow)" "ssource in.csv | swindow -k k --emit changes 'count(*) as n' |
		sjoin -k 'k = id' --lookup '$URL?table=names'"
	refused 5 "Connection refused" "ssource in.csv | sjoin -k 'k = id' --lookup 'postgresql://postgres:runnel@127.0.0.1:1/x?table=t'"
	refused 2 "password authentication failed" "ssource in.csv | sjoin -k 'k = id' --lookup 'postgresql://postgres:no@${URL#*@}?table=t'"
	q 'create table nan as select 1 as id, $$NaN$$::numeric(5,2) as n'
	refused 1 "column 'n' holds" "ssource in.csv | sjoin -k 'k = id' --lookup '$URL?table=nan'"
}

@test "a query, some columns, text that is no uuid, kinds of equal that the server knows" {
	q "create table odd (id uuid, name char(5), mood text, list int[])"
	q "insert into odd values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'ab', 'x', '{1,2}')"
	printf 'u,n\na0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,ab\nnone,ab\n,cd\n' > in.csv
	ssource in.csv | sjoin -k 'u = id' --kind left --lookup "$URL?table=odd" | ssink > out
	[ "$(cat out)" = "$(cat <<-'END'
		{"u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","n":"ab","name":"ab   ","mood":"x","list":[1,2]}
		{"u":"none","n":"ab","name":null,"mood":null,"list":null}
		{"u":null,"n":"cd","name":null,"mood":null,"list":null}
	END
	)" ] || { cat out; return 1; }
	[ "$(ssource in.csv | sjoin -k 'n = name' --lookup "$URL?table=odd&columns=name,mood" | ssink -f csv)" = "$(cat <<-'END'
		u,n,mood
		a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,ab,x
		none,ab,x
	END
	)" ]
	[ "$(ssource in.csv | sjoin -k 'n = k' --lookup "$URL?query=select trim(name) as k, count(*) as n from odd group by 1" |
		ssink -f csv | tail -1)" = 'none,ab,1' ]
}

@test "an answer is kept for --lookup-ttl, and then asked for again" {
	q 'create table rates (c text, rate int); insert into rates values ($$a$$, 1)'
	for ttl in 0s 200ms; do
		q 'update rates set rate = 1'
		mkfifo pipe
		sjoin -k c --lookup-ttl $ttl --lookup "$URL?table=rates" < pipe | ssink -f csv > out 3>&- & job=$!
		PYTHONPATH="$BATS_TEST_DIRNAME/../tests/tools" python3 - <<-END 3> pipe
			import frames, os, subprocess, time
			w = frames.Writer(os.fdopen(3, "wb"), ["i", "c"], ["int", "string"])
			w.rows([[1, "a"], [2, "a"]])
			deadline = time.time() + 20
			while "2,a,1" not in open("out").read() and time.time() < deadline:
			    time.sleep(0.02)
			subprocess.run(["$PEER", "psql", "$DB", "-c", "update rates set rate = 2"], check=True)
			time.sleep(0.3)
			w.rows([[3, "a"]])
			w.end()
		END
		wait "$job"
		rm pipe
		tail -1 out >> said
	done
	[ "$(cat said)" = "$(printf '3,a,1\n3,a,2')" ] || { cat said; return 1; }
}

@test "in a supervised job, at any parallelism, while stages and the server die" {
	q 'create table side as select id, id % 7 as category from generate_series(1000, 4000) id where id % 5 <> 0'
	ssource "$URL?table=side" > side.frames
	S="ssource 'nexmark:bid?events=60000' --rate 30000 | smap 'auction, bidder, price'"
	ssource 'nexmark:bid?events=60000' | smap 'auction, bidder, price' |
		sjoin -k 'auction = id' --kind left --static side.frames | ssink -f csv --header no | sort > wanted
	runnel -p 3 --name looked --checkpoint 100ms -c \
		"$S | sjoin -k 'auction = id' --kind left --lookup-cache 300 --lookup '$URL?table=side' | ssink -f csv --header no out/" 2> log 3>&- & job=$!
	for _ in $(seq 200); do [ -n "$(ls out 2>/dev/null)" ] && break; sleep 0.05; done
	kill -9 "$(pgrep -P "$job" sjoin | head -1)"
	"$PEER" kill "$DB"
	sleep 0.5
	"$PEER" start "$DB" > /dev/null 3>&-
	wait "$job"
	cat out/part-* | sort | cmp - wanted
	runnel --plan -p 2 -c "$S | sjoin -k 'auction = id' --lookup '$URL?table=side' | ssink null:" | grep -q '^sjoin *x2'
}

@test "keys of different types meet as they do in a join" {
	q "create table meet (n numeric(10,0), ts timestamptz, t timestamp, i2 smallint, f real, v varchar(10), o oid, tag text);
		insert into meet values (5, '2013-01-01', '2013-01-01 00:00', 5, 0.5, 'x', 5, 'hit')"
	printf 'i,d,f,s\n5,2013-01-01,0.5,x\n6,2013-01-02,0.25,y\n' > in.csv
	for key in 'i = n' 'd = ts' 'd = t' 'i = i2' 'f = f' 's = v' 'i = o' 'i = n, d = t, s = v'; do
		got=$(ssource in.csv | sjoin -k "$key" --kind left --lookup "$URL?table=meet" | smap tag | ssink -f csv --header no)
		[ "$got" = hit ] || { echo "$key: $got"; return 1; }
	done
}
