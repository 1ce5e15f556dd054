#!/usr/bin/env bats
# ssource on sockets: clients are Python's; with a spool also under runnel, with kill -9.

setup() {
	root="$(cd "$BATS_TEST_DIRNAME/.." && pwd)"
	PATH="${BIN:-$root/build/bin}:$PATH"
	cd "$BATS_TEST_TMPDIR"
	export NO_COLOR=1 LC_ALL=C XDG_STATE_HOME=$PWD/home
	source=
}

teardown() {
	[ -z "$source" ] || kill -9 $source 2>/dev/null || true
	wait 2>/dev/null || true
}

eventually() { # eventually COMMAND: until it succeeds, at most half a minute
	for _ in $(seq 600); do
		if eval "$1"; then return 0; fi
		sleep 0.05
	done
	echo "never: $1"
	cat log
	return 1
}

# listens OPTIONS...: at a port of its own, $port, or at unix-listen:s; rows to out.
listens() {
	rm -f log
	ssource "$@" >frames 2>log 3>&- &
	source=$!
	if [[ "$*" = *unix-listen* ]]; then
		eventually '[ -S s ]'
	else
		eventually 'grep -q "listening at" log'
		port=$(grep -oE '[0-9]+$' <(head -n 1 log))
	fi
}

# The source drains: what has come goes out.
ends() {
	kill -INT $source
	wait $source
	source=
	ssource frames | ssink -f csv out
}

marks() { # the watermarks so far, each after how many rows
	python3 "$root/tests/tools/frames.py" --watermarks <frames >marks 2>/dev/null || true
}

client() { # client: connects; script on standard input has c, connect()
	python3 -c '
import socket, ssl, sys, time
def connect():
    if sys.argv[1] == "s":
        c = socket.socket(socket.AF_UNIX)
        c.connect("s")
        return c
    return socket.create_connection(("127.0.0.1", int(sys.argv[1])))
exec(sys.stdin.read())' "${1:-$port}"
}

@test "several clients, each with a header of its own, are one stream" {
	listens -f csv tcp-listen://:0
	client <<-'END'
	a, b = connect(), connect()
	a.sendall(b"a,b\n1,x\n")
	time.sleep(0.4)
	b.sendall(b"b,a\nfoo,7\nbar,8")
	a.sendall(b"2,y\n3,")
	b.close()
	time.sleep(0.2)
	a.sendall(b"z\n")
	a.close()
	time.sleep(0.3)
	END
	ends
	[ "$(sort out)" = "$(printf '%s\n' 1,x 2,y 3,z 7,foo 8,bar a,b)" ]
	[ "$(wc -l <log)" -eq 1 ]
}

@test "each client has its own watermark; one that is silent holds it, but for --idle" {
	listens -f ndjson -s 'at timestamp(s), a int' -t at -d 0s --idle 3s unix-listen:s
	client s <<-'END' 3>&- &
	a, b = connect(), connect()
	a.sendall(b'{"at":1,"a":1}\n')
	time.sleep(0.2)
	b.sendall(b'{"at":100,"a":2}\n')
	time.sleep(0.2)
	a.sendall(b'{"at":2,"a":3}\n')
	time.sleep(60)
	END
	clients=$!
	# 100 s came before 2 s, which isn't late for it; and 2 s is all there is until a is idle.
	eventually 'marks && awk "\$2 > 50000000 {found = 1} END {exit !found}" marks'
	[ "$(awk '$2 < 50000000' marks | tail -n 1)" = "3 1999999" ]
	kill $clients
	kill -INT $source
	wait $source
	source=
	[ "$(ssource frames | swindow --tumble 10s 'count(*) as n' | ssink -f csv --header no | tail -n 2 |
		cut -d, -f 3 | tr '\n' ' ')" = "2 1 " ]
}

@test "a record that is malformed is told of with its client; --bad keeps the others going" {
	listens -f ndjson -s 'a int' --bad bad.ndjson tcp-listen://:0
	client <<-'END'
	a, b = connect(), connect()
	a.sendall(b'{"a":1}\nGET / HTTP/1.1\r\n{"a":2}\n')
	b.sendall(b'{"a":3}\n')
	time.sleep(0.3)
	END
	ends
	[ "$(sort out | tr '\n' ' ')" = "1 2 3 a " ]
	grep -q '"input":"127.0.0.1:[0-9]*","line":2' bad.ndjson
	listens -f ndjson -s 'a int' tcp-listen://:0
	client <<-'END'
	a = connect()
	a.sendall(b'rubbish\n')
	time.sleep(0.3)
	END
	status=0
	wait $source || status=$?
	source=
	[ "$status" -eq 1 ]
	grep -q '^ssource: error: 127.0.0.1:[0-9]*:1:1: a record must be an object' log
}

@test "a connection that breaks is told of; what came whole counts" {
	listens -f ndjson -s 'a int' tcp-listen://:0
	client <<-'END'
	import struct
	a = connect()
	a.sendall(b'{"a":1}\n{"a":')
	time.sleep(0.3)
	a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	a.close()
	b = connect()
	b.sendall(b'{"a":2}\n')
	b.close()
	time.sleep(0.3)
	END
	ends
	[ "$(sort out | tr '\n' ' ')" = "1 2 a " ]
	grep -qE '^ssource: warning: 127.0.0.1:[0-9]+: .*Connection reset by peer' log
}

@test "over TLS: strangers are told of, and others go on; a stream that is cut off isn't whole" {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
		-out cert.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
	listens -f csv --cert cert.pem --key key.pem tls-listen://:0
	client <<-'END'
	context = ssl.create_default_context(cafile="cert.pem")
	def wrapped():
	    return context.wrap_socket(connect(), server_hostname="localhost")
	t = wrapped()
	t.sendall(b"a\n1\n")
	g = connect()
	g.sendall(b"GET / HTTP/1.0\r\n\r\n")
	time.sleep(0.4)
	t.unwrap()
	old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
	old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
	old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
	old.set_ciphers("ALL:@SECLEVEL=0")
	try:
	    old.wrap_socket(connect())
	    sys.exit("TLS 1.1 is spoken")
	except ssl.SSLError:
	    pass
	t = wrapped()
	t.sendall(b"a\n2\n")
	time.sleep(0.3)
	t.shutdown(socket.SHUT_RDWR)
	t.close()
	time.sleep(0.3)
	END
	ends
	[ "$(tr '\n' ' ' <out)" = "a 1 2 " ]
	grep -q "TLS handshake: the peer speaks HTTP, not TLS" log
	grep -q "TLS handshake: the peer speaks no TLS from 1.2 on" log
	grep -q "the connection was cut off: TLS didn't end it" log
}

@test "a connecting source reads to the end that its peer makes, and connects again when it breaks" {
	python3 - >port <<-'END' 3>&- &
	import socket, struct, sys, time
	s = socket.socket()
	s.bind(("127.0.0.1", 0))
	s.listen()
	print(s.getsockname()[1], flush=True)
	c, _ = s.accept()
	c.sendall(b'{"a":1}\n')
	time.sleep(0.3)
	c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
	c.close()
	c, _ = s.accept()
	c.sendall(b'{"a":2}\n{"a":3}')
	c.close()
	END
	eventually '[ -s port ]'
	ssource -f ndjson -s 'a int' "tcp://127.0.0.1:$(cat port)" 2>log | ssink -f csv out
	[ "$(tr '\n' ' ' <out)" = "a 1 2 3 " ]
	grep -q 'Connection reset by peer' log
	run timeout 60 ssource -f ndjson unix:nobody
	[ "$status" -eq 5 ]
	[[ "$output" = *"ssource: error: unix:nobody: can't connect: No such file or directory" ]]
}

@test "a full spool lets clients wait, and gives back what was read" {
	listens -f ndjson -s 'a string' --spool kept --spool-size 1M tcp-listen://:0
	client <<-'END'
	c = connect()
	line = b'{"a":"%s"}\n' % (b"x" * 1000)
	for i in range(30):
	    c.sendall(line * 1000)
	c.close()
	time.sleep(1)
	END
	[ "$(du -sk kept | cut -f 1)" -lt 6000 ]
	ends
	[ "$(wc -l <out)" -eq 30001 ]
	[ -z "$(ls kept)" ]
}

@test "a spool smaller than a line of each of its clients together goes on" {
	listens -f ndjson -s 'a string' --spool kept --spool-size 1M tcp-listen://:0
	timeout 60 python3 - "$port" <<-'END'
	import socket, sys, threading
	def client():
	    c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	    for i in range(20):
	        c.sendall(b'{"a":"%s"}\n' % (b"x" * 60000))
	    c.shutdown(socket.SHUT_WR)
	    c.recv(1)  # until all has been taken
	threads = [threading.Thread(target=client) for _ in range(20)]
	for t in threads: t.start()
	for t in threads: t.join()
	END
	ends
	[ "$(wc -l <out)" -eq 401 ]
}

@test "under runnel what was spooled counts exactly once, whoever is killed" {
	run runnel --state state -c 'ssource -f ndjson unix-listen:s | ssink out/'
	[ "$status" -eq 2 ]
	[[ "$output" = *"--spool"* ]]
	cat >p.sh <<-'END'
	ssource -f ndjson -s 'a int' --spool kept unix-listen:s | smap a | ssink -f csv --header no out/
	END
	python3 - <<-'END'
	import os, random, signal, socket, subprocess, time
	def start():
	    return subprocess.Popen(["runnel", "-q", "--state", "state", "--checkpoint", "100ms", "p.sh"],
	                            stderr=open("log", "a"), start_new_session=True)
	def connect():
	    for _ in range(400):
	        try:
	            c = socket.socket(socket.AF_UNIX)
	            c.connect("s")
	            return c
	        except OSError:
	            time.sleep(0.05)
	def children(p):
	    return [int(x) for x in subprocess.run(["pgrep", "-P", str(p.pid)], capture_output=True,
	                                           text=True).stdout.split()]
	p, n = start(), 0
	for round_ in range(6):
	    c = connect()
	    for _ in range(1000):
	        c.sendall(b'{"a":%d}\n' % n)
	        n += 1
	    time.sleep(0.4)  # it has been taken by now
	    victim = p.pid if round_ % 3 == 2 else random.choice(children(p))
	    os.kill(victim, signal.SIGKILL)
	    if victim == p.pid:
	        p.wait()
	        time.sleep(0.3)
	        p = start()
	    time.sleep(0.3)
	    c.close()
	connect().close()
	time.sleep(1)
	p.terminate()
	assert p.wait() == 143, (p.returncode, open("log").read())
	rows = sorted(int(x) for f in os.listdir("out") if f[0] != "." for x in open("out/" + f))
	assert rows == list(range(n)), (n, len(rows), len(set(rows)))
	END
}

@test "wrong addresses and options are said at once" {
	while IFS='|' read -r arguments message; do
		status=0
		ssource $arguments >frames 2>errors || status=$?
		cat errors
		[ "$status" -eq 2 ]
		[ "$(head -n 1 errors)" = "ssource: error: $message" ]
	done <<-'END'
	tcp-listen://localhost|tcp-listen://localhost: an address is a host and a port
	tls-listen://:9|tls-listen:// needs --cert and --key, who it is
	--spool=x a.csv|--spool is for sockets
	unix:s a.csv|sockets and files don't go together
	--spool-size=1k unix-listen:s|--spool-size: at least 1M
	END
	status=0
	ssource unix-listen:/nowhere/s >frames 2>errors || status=$?
	[ "$status" -eq 5 ]
	[ "$(cat errors)" = "ssource: error: unix-listen:/nowhere/s: can't listen: No such file or directory" ]
}

@test "frame streams of several clients are one; what is wrong with one is its own end" {
	listens -f frames unix-listen:s
	for i in 1 2; do
		ssource 'nexmark:bid?events=20000' | ssink -f frames --pack lz4 unix:s 3>&- &
	done
	wait %2 %3 || true
	client s <<-'END'
	c = connect()
	c.sendall(b"GET / HTTP/1.0\r\n\r\n")
	time.sleep(0.2)
	END
	printf 'a\n1\n' | ssource -f csv - | ssink -f frames unix:s  2>told || true
	ssource 'nexmark:bid?events=20000' | head -c 100000 | python3 -c '
import socket, sys
c = socket.socket(socket.AF_UNIX)
c.connect("s")
c.sendall(sys.stdin.buffer.read())'
	sleep 0.5
	kill -INT $source
	wait $source
	source=
	n=$(ssource frames | swindow 'count(*) as n' | ssink -f csv --header no)
	[ "$n" -ge 36800 ]
	cat log
	grep -q "unix-listen:s #[0-9]* is not a frame stream" log
	grep -q "it has other columns than the streams before" log
	grep -q "ends in the middle of frame" log
}

@test "a TLS client that sends garbage and goes on holds up nobody" {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
		-out cert.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
	ssource 'nexmark:bid?events=2000' >good
	listens -f frames --cert cert.pem --key key.pem tls-listen://:0
	client <<-'END'
	import threading
	context = ssl.create_default_context(cafile="cert.pem")
	def wrapped():
	    return context.wrap_socket(connect(), server_hostname="localhost")
	def dribble(c):
	    try:
	        while True:
	            c.sendall(b"garbage garbage ")
	            time.sleep(0.1)
	    except OSError:
	        pass
	bad = [wrapped() for i in range(3)]
	for c in bad:
	    threading.Thread(target=dribble, args=(c,), daemon=True).start()
	time.sleep(0.5)
	start = time.monotonic()
	t = wrapped()
	t.sendall(open("good", "rb").read())
	t.unwrap()
	assert time.monotonic() - start < 4, time.monotonic() - start
	connect().sendall(b"GET / HTTP/1.0\r\n\r\n")
	time.sleep(0.5)
	END
	kill -INT $source
	wait $source
	source=
	[ "$(ssource frames | swindow 'count(*) as n' | ssink -f csv --header no)" = \
		"$(ssource good | swindow 'count(*) as n' | ssink -f csv --header no)" ]
	[ "$(grep -c 'is not a frame stream' log)" = 3 ]
	grep -q "TLS handshake: the peer speaks HTTP, not TLS" log
}

@test "with --bad skip a client whose bytes can't be read any further is let go, also when spooled" {
	for spool in '' '--spool sp'; do
		listens -f csv -s 'a int' --bad skip $spool tcp-listen://:0
		client <<-'END'
		for bad in (b"\xff\xfe\xfd\x80,\x81\n", b"b\n7\n", b"a\n1\"2\n"):
		    c = connect()
		    c.sendall(bad)
		    d = connect() if bad[0] == 0xff else None
		    time.sleep(0.3)
		    c.close()
		c = connect()
		c.sendall(b"a\n1\n2\n")
		c.close()
		time.sleep(0.5)
		END
		ends
		cat log
		[ "$(tr '\n' ' ' <out)" = "a 1 2 " ]
		grep -q "is not UTF-8 text" log
		[ -z "$spool" ] || [ -z "$(ls sp)" ]
		rm -rf out frames sp
	done
	listens -f csv -s 'a int' tcp-listen://:0
	python3 -c "
import socket
socket.create_connection(('127.0.0.1', $port)).sendall(b'b\n7\n')"
	run wait $source
	source=
	[ "$status" -ne 0 ]
}

@test "clients for whom there are no descriptors are turned away; the others go on" {
	( ulimit -n 40; exec ssource -f csv -s 'a int' tcp-listen://:0 ) >frames 2>log 3>&- &
	source=$!
	eventually 'grep -q "listening at" log'
	port=$(grep -oE '[0-9]+$' <(head -n 1 log))
	client <<-'END'
	first = connect()
	many = [connect() for i in range(100)]
	time.sleep(0.5)
	first.sendall(b"a\n1\n")
	first.close()
	for c in many:
	    c.close()
	time.sleep(0.3)
	last = connect()
	last.sendall(b"a\n2\n")
	last.close()
	time.sleep(0.3)
	END
	ends
	cat log out
	[ "$(tr '\n' ' ' <out)" = "a 1 2 " ]
	grep -q "a client is turned away: too many open files" log
}

@test "a client that sends the start of a record, or nothing, and stays holds up nobody" {
	while IFS='|' read -r options first row; do
		listens --bad skip $options tcp-listen://:0
		first=$first row=$row client <<-'END'
		import os
		mute, slow = connect(), connect()
		slow.sendall(eval("b'%s'" % os.environ["first"]))
		connect().close()
		time.sleep(0.2)
		c = connect()
		c.sendall(eval("b'%s'" % os.environ["row"]))
		c.close()
		for i in range(200):
		    if os.path.getsize("frames") > 150:
		        break
		    time.sleep(0.05)
		else:
		    sys.exit("nothing comes: %s" % os.environ["first"])
		END
		cat log
		kill -INT $source
		wait $source
		source=
		cat log
		[ "$(ssource frames | ssink -f csv --header no)" = 1 ]
		rm -f frames log
	done <<-'END'
	-f csv|B|a\n1\n
	-f ndjson|{"a":|{"a":1}\n
	|{"a":|a\n1\n
	-f msgpack|\x81|\x81\xa1a\x01
	|\x1f\x8b\x08\x00|a\n1\n
	END
}

@test "a long record that comes in small pieces is one" {
	listens -s 'a string, b int' tcp-listen://:0
	client <<-'END'
	c = connect()
	c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
	c.sendall(b'{"a":"')
	for i in range(500):
	    c.sendall(b"x" * 4001)
	    time.sleep(0.0005)
	c.sendall(b'","b":1}\n{"b":2')
	time.sleep(0.1)
	c.sendall(b'}\n')
	c.close()
	END
	ends
	[ "$(ssource frames | smap 'length(a) as n, b' | ssink -f csv --header no | tr '\n' ' ')" = "2000500,1 ,2 " ]
}

@test "without -s a client whose first record has no end is let go, within bounds of memory" {
	listens -f ndjson --bad skip tcp-listen://:0
	client <<-'END'
	c = connect()
	try:
	    for i in range(100):
	        c.sendall(b"x" * (1 << 20))
	    sys.exit("it took all of it")
	except OSError:
	    pass
	c = connect()
	c.sendall(b'{"a":1}\n')
	c.close()
	time.sleep(0.3)
	END
	[ "$(awk '/VmHWM/ { print $2 }' /proc/$source/status)" -lt 60000 ] || [[ "${BIN:-}" = *san* ]]
	ends
	cat log
	[ "$(tr '\n' ' ' <out)" = "a 1 " ]
	grep -q "no record ends in its first [0-9]* bytes, which types are inferred from; give -s" log
}

@test "a source that is interrupted while it takes leave of a client ends" {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem \
		-out cert.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
	ssource 'nexmark:bid?events=200000' >bids
	for f in frames frames csv csv; do
		listens -f $f --cert cert.pem --key key.pem tls-listen://:0
		ssink -f $f --ca cert.pem "tls://localhost:$port" <bids
		kill -INT $source
		eventually '! kill -0 $source 2>/dev/null'
		wait $source
		source=
		[ "$(ssource frames | swindow 'count(*) as n' | ssink -f csv --header no)" = 184000 ]
	done
}
