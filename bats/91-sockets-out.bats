#!/usr/bin/env bats
# ssink on sockets: peers are Python's, over TCP, Unix sockets and TLS.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export NO_COLOR=1 LC_ALL=C
	printf '%s\n' a,b 1,x 2,y >a.csv
	ssource a.csv >a.frames
	job=
}

teardown() {
	[ -z "$job" ] || kill -9 $job 2>/dev/null || true
	wait 2>/dev/null || true
}

# A server for one client, which keeps what it gets in `got`; its address to `where`.
server() { # server tcp|unix|tls [read|reset|hang|garbage]
	python3 - "$@" >server.log 2>&1 3>&- <<-'END' &
	import os, socket, ssl, struct, sys, time
	kind, how = sys.argv[1], (sys.argv + ["read"])[2]
	if kind == "unix":
	    s = socket.socket(socket.AF_UNIX)
	    s.bind("sock")
	    where = "unix:sock"
	else:
	    s = socket.socket()
	    s.bind(("127.0.0.1", 0))
	    where = "%s://localhost:%d" % (kind, s.getsockname()[1])
	s.listen()
	open("where.part", "w").write(where)
	os.rename("where.part", "where")
	c, _ = s.accept()
	if how == "garbage":
	    c.sendall(b"220 smtp.example.org ready\r\n")
	    time.sleep(5)
	if kind == "tls":
	    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
	    context.load_cert_chain("cert.pem", "key.pem")
	    if os.path.exists("clients.pem"):
	        context.verify_mode = ssl.CERT_REQUIRED
	        context.load_verify_locations("clients.pem")
	    c = context.wrap_socket(c, server_side=True)
	if how == "reset":
	    c.recv(1)
	    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	    c.close()
	    sys.exit()
	if how == "hang":
	    time.sleep(60)
	data = b""
	while True:
	    x = c.recv(65536)
	    if not x:
	        break
	    data += x
	open("got.part", "wb").write(data)
	os.rename("got.part", "got")
	END
	job=$!
	for _ in $(seq 100); do
		[ ! -e where ] || break
		sleep 0.05
	done
	where=$(cat where)
}

arrives() { # got is there, and as wanted
	for _ in $(seq 100); do
		[ ! -e got ] || break
		sleep 0.05
	done
	diff got "$1"
}

certificate() { # certificate NAME HOST
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1-key.pem" \
		-out "$1.pem" -days 2 -subj "/CN=$2" -addext "subjectAltName=DNS:$2" 2>/dev/null
}

@test "text goes to a TCP socket, a Unix socket and a TLS socket" {
	ssource a.csv | ssink -f csv wanted
	certificate c localhost
	mv c.pem cert.pem
	mv c-key.pem key.pem
	for kind in tcp unix tls; do
		rm -f where got
		server $kind
		ca=
		[ $kind != tls ] || ca="--ca cert.pem"
		ssink -f csv $ca "$where" <a.frames 2>errors
		[ ! -s errors ]
		arrives wanted
		wait $job
	done
}

@test "frames go out as they are, or packed" {
	for pack in none lz4 zstd; do
		rm -f where got
		server tcp
		ssink -f frames --pack $pack "$where" <a.frames
		wait $job
		[ "$(ssource -f frames got | ssink -f csv)" = "$(cat a.csv)" ]
	done
	run ssink -f csv --pack lz4 tcp://localhost:1 <a.frames
	[ "$status" -eq 2 ]
	[ "$output" = "ssink: error: --pack compresses frames: -f frames" ]
}

@test "a listening sink serves the client that comes" {
	for kind in tcp-listen://:0 unix-listen:s; do
		ssink -f csv $kind <a.frames 2>errors 3>&- &
		job=$!
		python3 - $kind <<-'END' >got
		import re, socket, sys, time
		for _ in range(200):
		    try:
		        if sys.argv[1].startswith("unix"):
		            s = socket.socket(socket.AF_UNIX)
		            s.connect("s")
		        else:
		            port = re.search(r"127.0.0.1:(\d+)", open("errors").read()).group(1)
		            s = socket.create_connection(("127.0.0.1", int(port)))
		        break
		    except (OSError, AttributeError):
		        time.sleep(0.05)
		data = b""
		while True:
		    x = s.recv(4096)
		    if not x:
		        break
		    data += x
		sys.stdout.write(data.decode())
		END
		wait $job
		diff got a.csv
		[ ! -e s ]
	done
}

@test "a peer that resets, speaks no TLS, isn't whom it should be, or isn't there is an error, with why" {
	server tcp reset
	yes "$(cat a.csv)" | head -n 3000000 | ssource --header no -s 'c1 string' - |
		ssink "$where" 2>errors && status=0 || status=$?
	cat errors
	[ "$status" -eq 5 ]
	grep -qE "^ssink: error: $where: (the peer closed the connection before the end|.*Connection reset by peer)" errors
	wait $job || true
	rm where
	server tcp garbage
	status=0
	ssink "${where/tcp/tls}" <a.frames 2>errors || status=$?
	[ "$status" -eq 5 ]
	grep -qx "ssink: error: ${where/tcp/tls}: TLS handshake: the peer doesn't speak TLS" errors
	kill $job
	wait $job || true
	certificate c other
	mv c.pem cert.pem
	mv c-key.pem key.pem
	while read -r ca message; do
		rm -f where
		server tls
		status=0
		ssink $ca "$where" <a.frames 2>errors || status=$?
		cat errors
		[ "$status" -eq 5 ]
		grep -qx "ssink: error: $where: TLS handshake: the peer's certificate: $message" errors
		wait $job || true
	done <<-'END'
	--ca=cert.pem hostname mismatch
	-v self-signed certificate
	END
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out c.csr \
		-subj /CN=localhost 2>/dev/null
	openssl x509 -req -in c.csr -signkey key.pem -days -1 -out cert.pem 2>/dev/null \
		-extfile <(echo subjectAltName=DNS:localhost)
	rm -f where
	server tls
	status=0
	ssink --ca cert.pem "$where" <a.frames 2>errors || status=$?
	cat errors
	[ "$status" -eq 5 ]
	grep -q "TLS handshake: the peer's certificate: certificate has expired" errors
	wait $job || true
}

@test "a server may ask for a certificate, which --cert and --key show" {
	certificate c localhost
	cp c.pem cert.pem
	mv c-key.pem key.pem
	certificate me client
	cp me.pem clients.pem
	server tls
	ssink -f csv --ca cert.pem --cert me.pem --key me-key.pem "$where" <a.frames
	arrives a.csv
	wait $job
	rm -f where got
	server tls
	run ssink -f csv --ca cert.pem "$where" <a.frames
	[ "$status" -eq 5 ]
	[[ "$output" = *"$where: "* ]]
	wait $job || true
}

@test "a reader that doesn't read is waited for, and memory doesn't grow" {
	server tcp hang
	ssource nexmark:bid | ssink "$where" 2>errors 3>&- &
	sink=$!
	sleep 2
	kill -0 $sink
	[ "$(awk '/VmRSS/ {print $2}' /proc/$sink/status)" -lt 60000 ] || [ -n "${ASAN_OPTIONS:-}" ]
	kill -9 $job
	wait $job || true
	wait $sink || true
	job=
}

@test "wrong addresses and options are said before anything is opened" {
	while IFS='|' read -r arguments message; do
		run ssink $arguments <a.frames
		echo "$output"
		[ "$status" -eq 2 ]
		[ "${lines[0]}" = "ssink: error: $message" ]
	done <<-'END'
	tcp://localhost|tcp://localhost: an address is a host and a port
	tcp://:9000|tcp://:9000: whom to connect to is missing
	tcp://localhost:99999|tcp://localhost:99999: port '99999': a number up to 65535
	tcp://localhost:9/x|tcp://localhost:9/x: an address is a host and a port
	unix:|unix:: a path is missing
	tls-listen://:9|tls-listen:// needs --cert and --key, who it is
	--cert=x tls://localhost:9|--cert and --key belong together
	--ca=x a.ndjson|--cert, --key and --ca are for tls:// and tls-listen://
	--ca=x tcp://localhost:9|--ca is for tls:// and tls-listen://
	END
	run ssink tls-listen://:0 --cert none.pem --key none.pem <a.frames
	[ "$status" -eq 5 ]
	[[ "$output" = *"tls-listen://:0: none.pem: No such file or directory" ]]
	ssink -f csv unix-listen:s <a.frames 3>&- &
	job=$!
	for _ in $(seq 100); do
		[ ! -S s ] || break
		sleep 0.05
	done
	run timeout 20 ssink unix-listen:s <a.frames
	[ "$status" -eq 5 ]
	[ "$output" = "ssink: error: unix-listen:s: can't listen: Address already in use" ]
	kill $job # nobody has come for its rows
	status=0
	wait $job || status=$?
	[ "$status" -eq 130 ]
	[ ! -e s ]
}

@test "much goes over TLS as little does" {
	certificate c localhost
	mv c.pem cert.pem
	mv c-key.pem key.pem
	server tls
	ssource 'nexmark:bid?events=30000' >many.frames
	timeout 30 ssink -f csv --ca cert.pem "$where" <many.frames
	wait $job
	ssink -f csv <many.frames | cmp - got
}

@test "whoever waits for somebody who doesn't answer ends with a signal" {
	python3 - >port 3>&- <<-'END' &
	import socket, sys, time
	s = socket.socket()
	s.bind(("127.0.0.1", 0))
	s.listen(50)
	print(s.getsockname()[1], flush=True)
	time.sleep(60)
	END
	job=$!
	for _ in $(seq 200); do
		[ ! -s port ] || break
		sleep 0.05
	done
	mute=127.0.0.1:$(cat port)
	while read -r command; do
		eval "exec_it() { exec $command; }"
		(exec_it >out 2>errors <a.frames 3>&-) &
		waits=$!
		# It has caught signals once it has opened a socket.
		for _ in $(seq 200); do
			! ls -l /proc/$waits/fd 2>/dev/null | grep -q socket: || break
			sleep 0.02
		done
		kill $waits
		status=0
		timeout 20 tail --pid=$waits -f /dev/null
		wait $waits || status=$?
		echo "$command: $status"
		cat errors
		[ "$status" -eq 130 ]
		grep -q "interrupted" errors
	done <<-END
	ssink -f csv tcp-listen://:0
	ssink -f csv tls://$mute
	ssource -f csv tls://$mute
	ssource 'postgresql://$mute/db?table=t'
	ssink 'postgresql://$mute/db?table=t'
	ssource kafka://$mute/t
	ssink kafka://$mute/t
	sjoin --lookup 'postgresql://$mute/db?table=t' -k a
	END
	kill $job
	wait $job || true
	job=
}
