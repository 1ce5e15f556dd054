# What fails outside: stages that die, interrupts, full disks, refused memory.  Each gives the right
# status and one message, and leaves nothing half-written under a final name.

bats_require_minimum_version 1.5.0

setup() {
	BIN=${BIN:-$BATS_TEST_DIRNAME/../build/bin}
	BIN=$(cd "$BIN" && pwd)
	PATH=$BIN:$PATH
	FAULT_SO=$(realpath "${FAULT_SO:-$BATS_TEST_DIRNAME/../build/fault.so}")
	cd "$BATS_TEST_TMPDIR"
	ssource 'nexmark:bid?events=20000' >bids.frames
}

# Preloading a malloc and a sanitizer's don't go together.
need_fault() {
	[ -e "$FAULT_SO" ] || skip "no $FAULT_SO: make test builds it"
	! ldd "$BIN/ssink" | grep -q asan || skip "not under a sanitizer"
}

wait_for() { # wait_for COMMAND...: until it succeeds, for ten seconds at most
	local i
	for ((i = 0; i < 1000; i++)); do
		"$@" && return 0
		read -rt 0.01 <> <(:) || true
	done
	return 1
}

# Whether the process has come to run the program, its redirections done.
runs() { # runs PID PROGRAM
	[[ "$(readlink "/proc/$1/exe")" = */"$2" ]]
}

# Whether it catches SIGINT by now: before that, one sent to a background child is lost, because the
# shell starts it with SIGINT ignored.
catches_interrupts() { # catches_interrupts PID
	local caught
	caught=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status")
	((0x${caught:-0} & 2))
}

@test "a stage killed without END: the next exits 3 and commits nothing" {
	mkfifo edge
	ssource 'nexmark:bid' --rate 1000 >edge 2>/dev/null 3>&- &
	source=$!
	ssink out.csv <edge 2>messages 3>&- &
	sink=$!
	wait_for runs $source ssource
	kill -9 $source
	status=0
	wait $sink || status=$?
	[ "$status" -eq 3 ]
	grep -q 'failed' messages
	[ "$(wc -l <messages)" -eq 1 ]
	[ -z "$(ls -A | grep out)" ]
}

@test "an edge cut in the middle of a frame exits 3 and names frame and byte" {
	head -c 5000 bids.frames >cut.frames
	run --separate-stderr ssink out.csv <cut.frames
	[ "$status" -eq 3 ]
	[[ $stderr == *"ends in the middle of frame "*", at byte 5000"* ]]
	[ ! -e out.csv ]
}

@test "an interrupt in the middle of a bounded input exits 130, and nothing is committed" {
	mkfifo edge
	ssink out.csv <edge 2>messages 3>&- &
	sink=$!
	exec 4>edge
	ssource 'nexmark:bid?events=100000000' --rate 1000 >&4 2>source.messages 3>&- 4>&- &
	source=$!
	exec 4>&-
	wait_for runs $source ssource
	wait_for catches_interrupts $source
	kill -INT $source
	status=0
	wait $source || status=$?
	[ "$status" -eq 130 ]
	grep -q interrupted source.messages
	status=0
	wait $sink || status=$?
	[ "$status" -eq 3 ]
	[ ! -e out.csv ]
}

@test "an interrupt drains an unbounded source: END goes out and the rest is committed" {
	mkfifo edge
	ssink out.csv <edge 3>&- &
	sink=$!
	ssource nexmark:bid --rate 20000 >edge 3>&- &
	source=$!
	wait_for runs $source ssource
	wait_for catches_interrupts $source
	read -rt 0.2 <> <(:) || true
	kill -INT $source
	wait $source
	wait $sink
	[ "$(wc -l <out.csv)" -gt 1 ]
}

@test "the n-th write fails: status 5, one message, no file" {
	need_fault
	for n in $(seq 1 12); do
		run --separate-stderr env FAULT=write:$n:ENOSPC LD_PRELOAD="$FAULT_SO" \
			ssink out.csv <bids.frames
		[ "$status" -eq 5 ] || [ "$status" -eq 0 ]
		if [ "$status" -eq 5 ]; then
			[[ $stderr == "ssink: error: out.csv: can't write: No space left on device" ]]
			[ ! -e out.csv ]
		fi
		[ -z "$(ls -A | grep '\.part')" ]
		rm -f out.csv
	done
}

@test "short and interrupted writes change nothing" {
	need_fault
	ssink -f csv good.csv <bids.frames
	for how in short EINTR; do
		for n in 1 2 3 7; do
			FAULT=write:$n:$how LD_PRELOAD="$FAULT_SO" ssink out.csv <bids.frames
			cmp good.csv out.csv
			FAULT=write:$n:$how FAULT_STDOUT=1 LD_PRELOAD="$FAULT_SO" \
				smap '*' <bids.frames >out.frames
			ssink again.csv <out.frames
			cmp good.csv again.csv
		done
	done
}

@test "the n-th allocation fails: status 5 and one message, or it wasn't reached" {
	need_fault
	for program in "ssource bids.csv" "smap price*2" "swindow -k auction count(*)" "ssink out.csv"; do
		ssink bids.csv <bids.frames
		for n in 1 2 3 5 8 13 21 34 55 89; do
			run --separate-stderr sh -c "FAULT=malloc:$n LD_PRELOAD='$FAULT_SO' exec \"\$@\" <bids.frames >/dev/null" - $program
			[ "$status" -eq 0 ] || {
				[ "$status" -eq 5 ]
				[[ $stderr == *"out of memory"* ]]
				[ ! -e out.csv ]
			}
			rm -f out.csv
		done
	done
}

@test "a full disk: standard output on /dev/full is status 5" {
	run --separate-stderr sh -c 'ssink -f csv <bids.frames >/dev/full'
	[ "$status" -eq 5 ]
	[[ $stderr == "ssink: error: standard output: can't write: No space left on device" ]]
	run --separate-stderr sh -c 'smap "*" <bids.frames >/dev/full'
	[ "$status" -eq 5 ]
}

@test "a reader that leaves: ssink 141 silently, a stage 0" {
	run --separate-stderr bash -c 'ssink -f csv <bids.frames | head -n 1 >/dev/null; echo ${PIPESTATUS[0]}'
	[ "$output" = 141 ]
	[ -z "$stderr" ]
	run --separate-stderr bash -c 'ssource nexmark:bid?events=10000000 | head -c 100 >/dev/null; echo ${PIPESTATUS[0]}'
	[ "$output" = 0 ]
	[ -z "$stderr" ]
}

@test "a file that may not grow is an error like a full disk: said, status 5, nothing left" {
	seq 60000 | awk 'BEGIN { print "k,v" } { print $1 ",xxxxxxxxxxxxxxxxxxxxxxxxx" }' > big.csv
	run bash -c 'ulimit -f 64; ssource big.csv | ssink o.csv; echo "${PIPESTATUS[1]}"'
	[[ "$output" == *"File too large"* ]]
	[ "${lines[-1]}" = 5 ]
	[ ! -e o.csv ]
	run bash -c 'ulimit -f 64; ssource big.csv | ssort --memory 1M v > o.frames; echo "${PIPESTATUS[1]}"'
	[[ "$output" == *"File too large"* ]]
	[ "${lines[-1]}" = 5 ]
}
