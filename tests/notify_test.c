/* What systemd would hear. */
#include "cmd/runnel/notify.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/notify_test.XXXXXX";

static int make_directory(void **state)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	return rmdir(directory);
}

/* A socket bound to the name, which is left in $NOTIFY_SOCKET. */
static int listen_at(const char *name)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	size_t len = strlen(name);

	assert_true(fd >= 0);
	assert_true(len < sizeof at.sun_path);
	memcpy(at.sun_path, name, len);
	if (*name == '@')
		at.sun_path[0] = 0;
	assert_int_equal(bind(fd, (const struct sockaddr *)&at,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
		0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void assert_heard(int fd, const char *want)
{
	char text[256];
	ssize_t n = recv(fd, text, sizeof text - 1, 0);

	assert_true(n >= 0);
	text[n] = 0;
	assert_string_equal(text, want);
}

static void without_a_socket_nothing_happens(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_systemd("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(notify_systemd("READY=1"), 0);
}

static void an_address_that_is_none_is_an_error(void **state)
{
	static const struct {
		const char *name;
		int why;
	} cases[] = {
		{"/", EAFNOSUPPORT},
		{"@", EAFNOSUPPORT},
		{"relative", EAFNOSUPPORT},
		{"vsock:2:1234", EAFNOSUPPORT},
		{"/nowhere/at/all", ENOENT},
		{"@runnel notify test: nobody", ECONNREFUSED},
	};
	char long_name[200];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		setenv("NOTIFY_SOCKET", cases[i].name, 1);
		assert_int_equal(notify_systemd("READY=1"), -1);
		assert_int_equal(errno, cases[i].why);
	}
	memset(long_name, 'x', sizeof long_name);
	long_name[0] = '/';
	long_name[sizeof long_name - 1] = 0;
	setenv("NOTIFY_SOCKET", long_name, 1);
	assert_int_equal(notify_systemd("READY=1"), -1);
	assert_int_equal(errno, ENAMETOOLONG);
}

static void a_path_hears_every_state(void **state)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "%s/notify", directory);
	fd = listen_at(path);
	assert_int_equal(notify_systemd("READY=1"), 1);
	assert_int_equal(notify_systemd("STATUS=checkpoint 41, 3 stages\nWATCHDOG=1"), 1);
	assert_int_equal(notify_systemd("STOPPING=1"), 1);
	assert_heard(fd, "READY=1");
	assert_heard(fd, "STATUS=checkpoint 41, 3 stages\nWATCHDOG=1");
	assert_heard(fd, "STOPPING=1");
	close(fd);
	assert_int_equal(notify_systemd("READY=1"), -1);
	assert_int_equal(errno, ECONNREFUSED);
	unlink(path);
}

static void an_abstract_name_hears_too(void **state)
{
	char name[64];
	int fd;

	snprintf(name, sizeof name, "@runnel/notify_test/%d", (int)getpid());
	fd = listen_at(name);
	assert_int_equal(notify_systemd("READY=1"), 1);
	assert_heard(fd, "READY=1");
	close(fd);
}

static void a_full_queue_does_not_block(void **state)
{
	char path[64];
	int fd, sent = 0;

	snprintf(path, sizeof path, "%s/notify", directory);
	fd = listen_at(path);
	alarm(20); /* if it did block */
	while (notify_systemd("WATCHDOG=1") == 1 && sent < 1000000)
		sent++;
	alarm(0);
	assert_int_equal(errno, EAGAIN);
	assert_true(sent > 0);
	close(fd);
	unlink(path);
}

static void descriptors_are_not_lost(void **state)
{
	int before = dup(0), after;

	setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
	for (int i = 0; i < 100; i++)
		notify_systemd("READY=1");
	after = dup(0);
	assert_int_equal(after, before + 1);
	close(before);
	close(after);
}

static void the_watchdog_is_for_this_process(void **state)
{
	char own[16];
	const struct {
		const char *us, *pid;
		uint64_t want;
	} cases[] = {
		{NULL, NULL, 0},
		{"", NULL, 0},
		{"soon", NULL, 0},
		{"-1", NULL, 0},
		{"99999999999999999999999", NULL, 0},
		{"30000000", "1", 0},
		{"30000000", "", 0},
		{NULL, own, 0},
		{"30000000", own, 30000000},
		{"30000000", NULL, 30000000},
	};

	snprintf(own, sizeof own, "%d", (int)getpid());
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		unsetenv("WATCHDOG_USEC");
		unsetenv("WATCHDOG_PID");
		if (cases[i].us)
			setenv("WATCHDOG_USEC", cases[i].us, 1);
		if (cases[i].pid)
			setenv("WATCHDOG_PID", cases[i].pid, 1);
		assert_int_equal(notify_watchdog_us(), cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_socket_nothing_happens),
		cmocka_unit_test(an_address_that_is_none_is_an_error),
		cmocka_unit_test(a_path_hears_every_state),
		cmocka_unit_test(an_abstract_name_hears_too),
		cmocka_unit_test(a_full_queue_does_not_block),
		cmocka_unit_test(descriptors_are_not_lost),
		cmocka_unit_test(the_watchdog_is_for_this_process),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
