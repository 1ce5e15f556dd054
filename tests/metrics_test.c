/* Metrics over real HTTP, served in a process of its own. */
#include "cmd/runnel/metrics.h"
#include "libcore/base/memory.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LEN(array) (sizeof(array) / sizeof *(array))

enum { BODY_BYTES = 2 << 20 };

static struct metrics *served;
static size_t body_bytes;
static pid_t child;

static void put(void *context, struct buf *out)
{
	buf_put_text(out, "runnel_up 1\n");
	while (out->len < body_bytes)
		buf_put_text(out, "runnel_rows_in_total{job=\"x\"} 1\n");
}

/* The socket is open here, so that its port is known; the child serves it. */
static int serve(const char *address)
{
	struct error e = ERROR_INIT;

	if (metrics_open(address, put, NULL, &served, &e) < 0)
		fail_msg("%s", e.text);
	child = fork();
	while (child == 0) {
		struct pollfd p = {.fd = metrics_fd(served), .events = POLLIN};

		poll(&p, 1, 100);
		metrics_turn(served);
	}
	return child < 0 ? -1 : 0;
}

static int start_small(void **state)
{
	body_bytes = 0;
	return serve("0");
}

static int start_big(void **state)
{
	body_bytes = BODY_BYTES;
	return serve("127.0.0.1:0");
}

static int stop(void **state)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	metrics_close(served);
	return 0;
}

static int connect_raw(void)
{
	struct sockaddr_in name = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)metrics_port(served)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)(void *)&name, sizeof name) < 0)
		fail_msg("can't connect to port %u", metrics_port(served));
	return fd;
}

static void read_all(int fd, struct buf *out)
{
	ssize_t n;

	do {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, 20000) <= 0)
			fail_msg("no answer");
		n = recv(fd, buf_reserve(out, 65536), 65536, 0);
		out->len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	buf_cstr(out);
	close(fd);
}

static void ask(const char *request, struct buf *out)
{
	int fd = connect_raw();

	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		fail_msg("can't send");
	read_all(fd, out);
}

static void addresses_that_are_none_are_refused(void **state)
{
	static const struct {
		const char *address, *says;
	} cases[] = {
		{"", "is not a port, or host:port"},
		{"http", "is not a port"},
		{"65536", "is not a port"},
		{"-1", "is not a port"},
		{"localhost:", "is not a port"},
		{"localhost:9x", "is not a port"},
		{"000000000001", "is not a port"},
		{"::1:9090", "an IPv6 address stands in brackets"},
		{"256.1.1.1:9090", "--metrics '256.1.1.1:9090': "},
		{"[::1:9090", "an IPv6 address stands in brackets"},
	};

	for (size_t i = 0; i < LEN(cases); i++) {
		struct error e = ERROR_INIT;
		struct metrics *m;

		assert_int_equal(metrics_open(cases[i].address, put, NULL, &m, &e), -1);
		assert_int_equal(e.code, ERROR_USAGE);
		if (!strstr(e.text, cases[i].says))
			fail_msg("%s: %s", cases[i].address, e.text);
	}
}

static void addresses_are_a_port_or_a_host_and_a_port(void **state)
{
	static const char *const cases[] = {"0", ":0", "localhost:0", "127.0.0.1:0", "0.0.0.0:0"};

	for (size_t i = 0; i < LEN(cases); i++) {
		struct error e = ERROR_INIT;
		struct metrics *m;

		if (metrics_open(cases[i], put, NULL, &m, &e) < 0)
			fail_msg("%s: %s", cases[i], e.text);
		assert_int_not_equal(metrics_port(m), 0);
		assert_true(metrics_fd(m) >= 0);
		metrics_close(m);
	}
}

static void a_port_that_is_taken_is_an_error_of_the_outside(void **state)
{
	struct error e = ERROR_INIT;
	struct metrics *a, *b;
	char port[16];

	assert_int_equal(metrics_open("0", put, NULL, &a, &e), 0);
	snprintf(port, sizeof port, "%u", metrics_port(a));
	assert_int_equal(metrics_open(port, put, NULL, &b, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_non_null(strstr(e.text, "Address already in use"));
	metrics_close(a);
}

static void a_port_alone_is_on_loopback(void **state)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	/* Another address of this machine: were it on all interfaces, it would listen there. */
	name.sin_port = htons((uint16_t)metrics_port(served));
	assert_int_equal(connect(fd, (struct sockaddr *)(void *)&name, sizeof name), -1);
	close(fd);
}

static void requests_are_answered(void **state)
{
	static const struct {
		const char *request, *status, *has, *hasnt;
	} cases[] = {
		{"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 ",
			"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n", "Allow"},
		{"GET /metrics?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 200 ", "\r\n\r\nrunnel_up 1\n", "Allow"},
		{"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 ",
			"Content-Length: 12\r\n", "runnel_up"},
		{"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 ",
			"the metrics are at /metrics", "runnel_up"},
		{"GET /metrics/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 ",
			"the metrics are at /metrics", "runnel_up"},
		{"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
		 "3\r\n\r\nabc",
			"HTTP/1.1 405 ", "Allow: GET, HEAD\r\n", "runnel_up"},
		{"DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 405 ",
			"only GET and HEAD", "runnel_up"},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
		 "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 200 ", "runnel_up 1\nHTTP/1.1 200 ", "Allow"},
		{"nonsense\r\n\r\n", "", "", "runnel_up"},
	};

	for (size_t i = 0; i < LEN(cases); i++) {
		struct buf out = BUF_INIT;

		ask(cases[i].request, &out);
		if (strncmp(buf_cstr(&out), cases[i].status, strlen(cases[i].status)) != 0 ||
			!strstr(buf_cstr(&out), cases[i].has) ||
			strstr(buf_cstr(&out), cases[i].hasnt))
			fail_msg("%s\nis answered by\n%s", cases[i].request, buf_cstr(&out));
		buf_clear(&out);
	}
}

static void a_slow_client_keeps_nobody_waiting(void **state)
{
	static const char request[] =
		"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	int slow = connect_raw();

	for (size_t i = 0; i < strlen(request); i++) {
		struct buf out = BUF_INIT;

		assert_int_equal(send(slow, request + i, 1, MSG_NOSIGNAL), 1);
		if (i % 10 == 0)
			ask(request, &out);
		buf_clear(&out);
	}
	close(slow);
}

static void a_large_answer_arrives_whole(void **state)
{
	static const char request[] =
		"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct buf out = BUF_INIT;
	const char *body;

	ask(request, &out);
	body = strstr(buf_cstr(&out), "\r\n\r\n");
	assert_non_null(body);
	assert_true(out.len - (size_t)(body + 4 - (const char *)out.data) >= BODY_BYTES);
	assert_int_equal(out.data[out.len - 1], '\n');
	buf_clear(&out);
}

#define SMALL(test) cmocka_unit_test_setup_teardown(test, start_small, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_that_are_none_are_refused),
		cmocka_unit_test(addresses_are_a_port_or_a_host_and_a_port),
		cmocka_unit_test(a_port_that_is_taken_is_an_error_of_the_outside),
		SMALL(a_port_alone_is_on_loopback),
		SMALL(requests_are_answered),
		SMALL(a_slow_client_keeps_nobody_waiting),
		cmocka_unit_test_setup_teardown(a_large_answer_arrives_whole, start_big, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
