#!/usr/bin/env bats
# Stages by key, one behind the other, under runnel at -p 2: what bash makes of the same text.

setup() {
	top=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	PATH="${BIN:-$top/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR" || exit 1
}

# The rows of a job stay in its subtasks then, and nothing but the HELLO ever passes between them.
@test "two exchanges by the same key, with more rows than a pipe holds" {
	ssource 'nexmark:bid?events=60000' | ssink bids.ndjson
	ssource 'nexmark:auction?events=60000' | ssink auctions.ndjson
	cat > job <<'JOB'
ssource bids.ndjson |
  sjoin -k 'auction = id' auctions.ndjson |
  ssort -k auction -n 1 'price desc, bidder' |
  ssink best.csv
JOB
	bash job
	sort best.csv > expected
	rm best.csv
	timeout 120 runnel -q -p 2 --state state job
	sort best.csv | diff expected -
}
