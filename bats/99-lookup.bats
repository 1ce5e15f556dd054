#!/usr/bin/env bats
# sjoin --lookup on a real PostgreSQL server.

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
