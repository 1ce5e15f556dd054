/* The control socket: a server in a process of its own, asked politely and otherwise. */
#include "cmd/runnel/server.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define LEN(array) (sizeof(array) / sizeof *(array))

enum { BIG_BYTES = 3 << 20 };

static char directory[64];
static char path[96];
static pid_t child;

/* ---- the server's process ---- */

static volatile sig_atomic_t release_held, end;

static void on_signal(int signo)
{
	if (signo == SIGUSR1)
		release_held = 1;
	else
		end = 1;
}

struct held {
	struct server *server;
	struct request *requests[SERVER_CLIENTS_MAX];
	size_t len;
};

static void reply_words(struct held *h, struct request *r)
{
	struct buf text = BUF_INIT;

	for (size_t i = 0; i < r->words_len; i++)
		buf_printf(&text, "[%s]", r->words[i]);
	server_reply(h->server, r, 0, text.data, text.len);
	buf_clear(&text);
}

static void reply_big(struct held *h, struct request *r)
{
	char *text = mem_alloc(BIG_BYTES);

	memset(text, 'x', BIG_BYTES);
	server_reply(h->server, r, 0, text, BIG_BYTES);
	mem_free(text);
}

static void take(void *context, struct request *r)
{
	struct held *h = context;

	if (!r->words_len || h->len == SERVER_CLIENTS_MAX)
		abort();
	if (!strcmp(r->words[0], "hold"))
		h->requests[h->len++] = r;
	else if (!strcmp(r->words[0], "fail"))
		server_reply(h->server, r, 4, "no\n", 3);
	else if (!strcmp(r->words[0], "nothing"))
		server_reply(h->server, r, 0, NULL, 0);
	else if (!strcmp(r->words[0], "big"))
		reply_big(h, r);
	else
		reply_words(h, r);
}

static void serve(void)
{
	struct error e = ERROR_INIT;
	struct held h = {.len = 0};

	signal(SIGUSR1, on_signal);
	signal(SIGTERM, on_signal);
	if (server_open(path, &h.server, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		_exit(1);
	}
	while (!end) {
		struct pollfd fds[SERVER_FDS_MAX];

		poll(fds, server_fds(h.server, fds), 50);
		server_turn(h.server, take, &h);
		if (!release_held)
			continue;
		release_held = 0;
		while (h.len)
			server_reply(h.server, h.requests[--h.len], 0, "released", 8);
	}
	server_close(h.server);
	_exit(0);
}

static void wait_until_there(void)
{
	static const char *const words[] = {"nothing"};

	for (int i = 0; i < 1000; i++) {
		struct error e = ERROR_INIT;
		struct buf text = BUF_INIT;
		int status;
		bool gone;

		if (server_ask(path, words, 1, 5000, &status, &text, &gone, &e) == 0)
			return;
		poll(NULL, 0, 10);
	}
	fail_msg("the server doesn't come");
}

static int start_server(void **state)
{
	snprintf(directory, sizeof directory, "/tmp/runnel-server-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof path, "%s/socket", directory);
	child = fork();
	if (child == 0)
		serve();
	wait_until_there();
	return 0;
}

static int stop_server(void **state)
{
	int status;

	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	if (status || access(path, F_OK) == 0)
		return -1;
	return rmdir(directory);
}

/* ---- clients ---- */

static int connect_raw(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(name.sun_path, path, strlen(path) + 1);
	if (connect(fd, (struct sockaddr *)(void *)&name, sizeof name) < 0)
		fail_msg("connect: %s", strerror(errno));
	return fd;
}

/* The reply to what was sent; waits up to 20 s. */
static void read_reply(int fd, struct buf *out)
{
	ssize_t n;

	do {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (poll(&p, 1, 20000) <= 0)
			fail_msg("no reply");
		n = recv(fd, buf_reserve(out, 4096), 4096, 0);
		if (n > 0)
			out->len += (size_t)n;
	} while (n > 0);
	buf_cstr(out);
	close(fd);
}

static void assert_reply(int fd, const char *want)
{
	struct buf out = BUF_INIT;

	read_reply(fd, &out);
	assert_string_equal((const char *)out.data, want);
	buf_clear(&out);
}

static void assert_still_answers(void)
{
	static const char *const words[] = {"are", "you", "", "there"};
	struct error e = ERROR_INIT;
	struct buf text = BUF_INIT;
	int status = -1;
	bool gone;

	if (server_ask(path, words, 4, 20000, &status, &text, &gone, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(status, 0);
	assert_string_equal(buf_cstr(&text), "[are][you][][there]");
	buf_clear(&text);
}

/* ---- tests ---- */

static void wrong_requests_are_told_why(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *says;
	} cases[] = {
		{"status", 6, "2\nthe request breaks off\n"},
		{"a\0b", 3, "2\nthe request breaks off\n"},
		{"0\0001\0002\0003\0004\0005\0006\0007\0008\0009\0a\0b\0c\0d\0e\0f\0", 32,
			"0\n[0][1][2][3][4][5][6][7][8][9][a][b][c][d][e][f]"},
		{"0\0001\0002\0003\0004\0005\0006\0007\0008\0009\0a\0b\0c\0d\0e\0f\0g\0", 34,
			"2\na request of too many words\n"},
		{"", 0, ""},
		{"\0", 1, "0\n[]"},
	};

	for (size_t i = 0; i < LEN(cases); i++) {
		int fd = connect_raw();

		assert_int_equal(send(fd, cases[i].bytes, cases[i].len, 0), cases[i].len);
		shutdown(fd, SHUT_WR);
		assert_reply(fd, cases[i].says);
	}
	assert_still_answers();
}

/* Once it is too long the server reads no further: the client still hears why. */
static void a_request_that_is_too_long_is_refused(void **state)
{
	const char *words[2] = {"x"};
	struct error e = ERROR_INIT;
	struct buf text = BUF_INIT;
	char *word = mem_zero(BIG_BYTES);
	int status;
	bool gone;

	memset(word, 'x', BIG_BYTES - 1);
	words[1] = word;
	if (server_ask(path, words, 2, 20000, &status, &text, &gone, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(status, 2);
	assert_string_equal(buf_cstr(&text), "a request of too many bytes\n");
	buf_reset(&text);
	word[SERVER_REQUEST_BYTES_MAX - 3] = '\0';
	assert_int_equal(server_ask(path, words, 2, 20000, &status, &text, &gone, &e), 0);
	assert_int_equal(status, 0);
	assert_int_equal(text.len, SERVER_REQUEST_BYTES_MAX - 3 + 5);
	buf_clear(&text);
	mem_free(word);
}

static void random_bytes_leave_it_standing(void **state)
{
	unsigned seed = (unsigned)time(NULL);

	print_message("seed %u\n", seed);
	srand(seed);
	for (int i = 0; i < 300; i++) {
		uint8_t bytes[600];
		size_t len = (size_t)rand() % sizeof bytes;
		int fd = connect_raw();

		for (size_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)(rand() % 3 ? rand() : 0);
		if (send(fd, bytes, len, MSG_NOSIGNAL) < 0)
			fail_msg("send: %s", strerror(errno));
		if (rand() % 2)
			shutdown(fd, rand() % 2 ? SHUT_WR : SHUT_RDWR);
		close(fd);
	}
	assert_still_answers();
}

static void only_the_owner_may_connect(void **state)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void words_and_statuses_arrive(void **state)
{
	static const struct {
		const char *words[3];
		size_t len;
		int status;
		const char *text;
	} cases[] = {
		{{"status", "80", "1"}, 3, 0, "[status][80][1]"},
		{{"", "", ""}, 3, 0, "[][][]"},
		{{"fail"}, 1, 4, "no\n"},
		{{"nothing"}, 1, 0, ""},
	};

	for (size_t i = 0; i < LEN(cases); i++) {
		struct error e = ERROR_INIT;
		struct buf text = BUF_INIT;
		int status = -1;
		bool gone = true;

		buf_put_text(&text, "=");
		if (server_ask(path, cases[i].words, cases[i].len, 0, &status, &text, &gone, &e) <
			0)
			fail_msg("%s", e.text);
		assert_int_equal(status, cases[i].status);
		assert_false(gone);
		assert_string_equal(buf_cstr(&text) + 1, cases[i].text);
		buf_clear(&text);
	}
}

static void a_request_may_come_in_pieces(void **state)
{
	static const char bytes[] = "a\0bc\0";
	int fd = connect_raw();

	for (size_t i = 0; i < sizeof bytes - 1; i++) {
		assert_int_equal(send(fd, &bytes[i], 1, 0), 1);
		assert_still_answers();
	}
	shutdown(fd, SHUT_WR);
	assert_reply(fd, "0\n[a][bc]");
}

static void a_reply_may_be_larger_than_a_socket_holds(void **state)
{
	static const char *const words[] = {"big"};
	struct error e = ERROR_INIT;
	struct buf text = BUF_INIT;
	int slow = connect_raw(), status;
	bool gone;

	/* It has asked and doesn't read: others don't wait for it. */
	assert_int_equal(send(slow, "big", 4, 0), 4);
	shutdown(slow, SHUT_WR);
	assert_int_equal(server_ask(path, words, 1, 20000, &status, &text, &gone, &e), 0);
	assert_int_equal(text.len, BIG_BYTES);
	buf_reset(&text);
	read_reply(slow, &text);
	assert_int_equal(text.len, BIG_BYTES + 2);
	buf_clear(&text);
}

static int ask_raw(const char *word)
{
	int fd = connect_raw();

	assert_int_equal(send(fd, word, strlen(word) + 1, 0), strlen(word) + 1);
	shutdown(fd, SHUT_WR);
	return fd;
}

static void clients_that_leave_before_the_reply_are_forgotten(void **state)
{
	for (int round = 0; round < 5; round++) {
		int fds[SERVER_CLIENTS_MAX - 1];

		for (size_t i = 0; i < LEN(fds); i++)
			fds[i] = ask_raw("hold");
		assert_still_answers();
		for (size_t i = 0; i < LEN(fds); i += 2)
			close(fds[i]);
		assert_still_answers();
		kill(child, SIGUSR1);
		for (size_t i = 1; i < LEN(fds); i += 2)
			assert_reply(fds[i], "0\nreleased");
		assert_still_answers();
	}
}

static void who_finds_all_places_taken_waits(void **state)
{
	int fds[SERVER_CLIENTS_MAX], late;
	struct pollfd p;

	for (size_t i = 0; i < LEN(fds); i++)
		fds[i] = ask_raw("hold");
	late = ask_raw("late");
	p = (struct pollfd){.fd = late, .events = POLLIN};
	assert_int_equal(poll(&p, 1, 300), 0);
	kill(child, SIGUSR1);
	for (size_t i = 0; i < LEN(fds); i++)
		assert_reply(fds[i], "0\nreleased");
	assert_reply(late, "0\n[late]");
}

static void silent_clients_make_room(void **state)
{
	int fds[SERVER_CLIENTS_MAX];
	int64_t began_us = clock_mono_us();

	for (size_t i = 0; i < LEN(fds); i++)
		fds[i] = connect_raw();
	assert_still_answers();
	assert_true(clock_mono_us() - began_us < (SERVER_PATIENCE_MS + 10000) * INT64_C(1000));
	for (size_t i = 0; i < LEN(fds); i++)
		close(fds[i]);
}

static void many_clients_are_all_answered(void **state)
{
	int fds[200];

	for (size_t i = 0; i < LEN(fds); i++) {
		char word[16];

		snprintf(word, sizeof word, "n%zu", i);
		fds[i] = ask_raw(word);
	}
	for (size_t i = 0; i < LEN(fds); i++) {
		char want[32];

		snprintf(want, sizeof want, "0\n[n%zu]", i);
		assert_reply(fds[i], want);
	}
}

/* ---- without the server's process ---- */

static void a_socket_nobody_listens_at_is_gone(void **state)
{
	static const char *const words[] = {"x"}, *const paths[] = {"/nonexistent/socket", NULL};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(name.sun_path, sizeof name.sun_path, "/tmp/runnel-dead-%d", (int)getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)(void *)&name, sizeof name), 0);
	close(fd);
	for (size_t i = 0; i < LEN(paths); i++) {
		struct error e = ERROR_INIT;
		struct buf text = BUF_INIT;
		bool gone = false;
		int status;

		assert_int_equal(server_ask(paths[i] ? paths[i] : name.sun_path, words, 1, 1000,
					 &status, &text, &gone, &e),
			-1);
		assert_true(gone);
		assert_int_equal(e.code, ERROR_IO);
		assert_int_equal(text.len, 0);
	}
	unlink(name.sun_path);
}

/* What a server might be that isn't one of ours. */
static void a_server_that_makes_no_sense_is_told_apart(void **state)
{
	static const struct {
		const char *reply; /* NULL: stays silent */
		const char *says;
		bool gone;
	} cases[] = {
		{"", "ended without an answer", true},
		{"0", "makes no sense", false},
		{"x\n", "makes no sense", false},
		{"-1\nx", "makes no sense", false},
		{"256\nx", "makes no sense", false},
		{"HTTP/1.1 400\n", "makes no sense", false},
		{NULL, "doesn't answer", false},
	};
	static const char *const words[] = {"x"};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(name.sun_path, sizeof name.sun_path, "/tmp/runnel-odd-%d", (int)getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)(void *)&name, sizeof name), 0);
	assert_int_equal(listen(fd, 8), 0);
	for (size_t i = 0; i < LEN(cases); i++) {
		struct error e = ERROR_INIT;
		struct buf text = BUF_INIT;
		bool gone = false;
		int status;
		pid_t answers = fork();

		if (answers == 0) {
			char bytes[64];
			int client = accept(fd, NULL, NULL);

			while (recv(client, bytes, sizeof bytes, 0) > 0)
				;
			if (!cases[i].reply)
				pause();
			send(client, cases[i].reply, strlen(cases[i].reply), 0);
			_exit(0);
		}
		assert_int_equal(server_ask(name.sun_path, words, 1, cases[i].reply ? 20000 : 300,
					 &status, &text, &gone, &e),
			-1);
		if (!strstr(e.text, cases[i].says))
			fail_msg("%s", e.text);
		assert_int_equal(gone, cases[i].gone);
		kill(answers, SIGKILL);
		waitpid(answers, NULL, 0);
		buf_clear(&text);
	}
	close(fd);
	unlink(name.sun_path);
}

static void leftovers_are_replaced_and_files_are_not(void **state)
{
	struct error e = ERROR_INIT;
	struct server *s;
	char name[64];
	pid_t dies;
	int fd;

	snprintf(name, sizeof name, "/tmp/runnel-left-%d", (int)getpid());
	dies = fork();
	if (dies == 0)
		_exit(server_open(name, &s, &e) < 0); /* without a close */
	waitpid(dies, NULL, 0);
	assert_int_equal(access(name, F_OK), 0);
	assert_int_equal(server_open(name, &s, &e), 0);
	server_close(s);
	assert_int_equal(access(name, F_OK), -1);
	fd = open(name, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(server_open(name, &s, &e), -1);
	assert_int_equal(e.code, ERROR_IO);
	assert_non_null(strstr(e.text, "it is there and no socket"));
	assert_int_equal(access(name, F_OK), 0);
	close(fd);
	unlink(name);
}

static void take_and_keep(void *context, struct request *r)
{
	*(struct request **)context = r;
}

/* Longer than a socket's address; closed while a request is open, one is half, one is unread. */
static void a_long_path_works_and_closing_forgets_requests(void **state)
{
	static const char *const words[] = {"x"};
	char root[64] = "/tmp/runnel-long-XXXXXX", name[400];
	struct request *kept = NULL;
	struct error e = ERROR_INIT;
	struct server *s;
	int status;
	pid_t asks;

	assert_non_null(mkdtemp(root));
	snprintf(name, sizeof name, "%s/%0200d", root, 0);
	assert_int_equal(mkdir(name, 0700), 0);
	snprintf(name, sizeof name, "%s/%0200d/socket", root, 0);
	assert_int_equal(server_open(name, &s, &e), 0);
	asks = fork();
	if (asks == 0) {
		struct buf text = BUF_INIT;
		bool gone = false;

		server_ask(name, words, 1, 20000, &status, &text, &gone, &e);
		_exit(gone ? 7 : 1);
	}
	while (!kept) {
		server_turn(s, take_and_keep, &kept);
		poll(NULL, 0, 1);
	}
	assert_int_equal(kept->words_len, 1);
	assert_string_equal(kept->words[0], "x");
	server_close(s);
	waitpid(asks, &status, 0);
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(access(name, F_OK), -1);
	*strrchr(name, '/') = '\0';
	rmdir(name);
	rmdir(root);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, start_server, stop_server)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(wrong_requests_are_told_why),
		SERVED(a_request_that_is_too_long_is_refused),
		SERVED(random_bytes_leave_it_standing),
		SERVED(only_the_owner_may_connect),
		SERVED(words_and_statuses_arrive),
		SERVED(a_request_may_come_in_pieces),
		SERVED(a_reply_may_be_larger_than_a_socket_holds),
		SERVED(clients_that_leave_before_the_reply_are_forgotten),
		SERVED(who_finds_all_places_taken_waits),
		SERVED(silent_clients_make_room),
		SERVED(many_clients_are_all_answered),
		cmocka_unit_test(a_socket_nobody_listens_at_is_gone),
		cmocka_unit_test(a_server_that_makes_no_sense_is_told_apart),
		cmocka_unit_test(leftovers_are_replaced_and_files_are_not),
		cmocka_unit_test(a_long_path_works_and_closing_forgets_requests),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
