#include "cmd/sctl/top.h"

#include "cmd/sctl/jobs.h"
#include "libcore/base/clock.h"
#include "libcore/base/outfile.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { EVERY_MS = 1000 };

#define SCREEN_ENTER "\033[?1049h\033[?25l\033[H\033[2J"
#define SCREEN_LEAVE "\033[?25h\033[?1049l"

static volatile sig_atomic_t signalled;

static void on_signal(int signo)
{
	if (signo != SIGWINCH)
		signalled = signo;
}

/* Without SA_RESTART: a signal ends the wait for a key. */
static void catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
	struct sigaction action = {.sa_handler = on_signal};

	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
}

struct top {
	const char *directory;
	bool color, subtasks;
	struct buf table; /* the last that came */
};

static int show(const struct buf *text, struct error *e)
{
	return fd_write_all(STDOUT_FILENO, "standard output", text->data, text->len, e);
}

static int ask(struct top *t, unsigned columns, bool *gone, struct error *e)
{
	char width[16];
	const char *words[] = {"status", width, t->color ? "1" : "0", t->subtasks ? "1" : "0"};
	struct buf text = BUF_INIT;
	int status;

	snprintf(width, sizeof width, "%u", columns);
	status = job_ask(t->directory, words, 4, JOB_ANSWER_MS, &text, gone, e);
	if (status == 0) {
		buf_reset(&t->table);
		buf_put(&t->table, text.data, text.len);
	}
	buf_clear(&text);
	return status;
}

static size_t lines(const char *at, const char *end)
{
	size_t n = 0;

	for (; at < end; at++)
		n += *at == '\n';
	return n;
}

/* Lines are overwritten where they stand, nothing is cleared first: it doesn't flicker. */
static int draw(const struct top *t, struct winsize size, struct error *e)
{
	char foot[80] = "q quits   s shows subtasks";
	const char *at = (const char *)t->table.data, *end = at + t->table.len;
	struct buf out = BUF_INIT;
	int status;

	buf_put_text(&out, "\033[H");
	for (unsigned row = 0; at < end && row + 1 < size.ws_row; row++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *stop = newline ? newline : end;

		buf_put(&out, at, (size_t)(stop - at));
		buf_put_text(&out, "\033[K\r\n");
		at = newline ? newline + 1 : end;
	}
	buf_put_text(&out, "\033[J");
	if (at < end)
		snprintf(foot, sizeof foot, "q quits   %zu more lines don't fit", lines(at, end));
	if (size.ws_row > 1)
		buf_printf(&out, "\033[%u;1H%.*s\033[K", (unsigned)size.ws_row, (int)size.ws_col,
			foot);
	status = show(&out, e);
	buf_clear(&out);
	return status;
}

/* Waits for a key until the next turn.  true: the user wants to leave. */
static bool take_key(struct top *t, int64_t until_us)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	int64_t left_us = until_us - clock_mono_us();
	char key = 0;

	if (poll(&input, 1, left_us > 0 ? (int)(left_us / 1000) + 1 : 0) <= 0)
		return signalled;
	if (read(STDIN_FILENO, &key, 1) <= 0)
		return true;
	if (key == 's')
		t->subtasks = !t->subtasks;
	return key == 'q' || key == 'Q' || key == 3 || key == 4;
}

/* A terminal that doesn't know its size says 0. */
static struct winsize terminal_size(void)
{
	struct winsize size = {.ws_col = 0};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	if (!size.ws_col)
		size.ws_col = 80;
	if (!size.ws_row)
		size.ws_row = 24;
	return size;
}

static int turns(struct top *t, bool *gone, struct error *e)
{
	for (;;) {
		struct winsize size = terminal_size();
		int64_t until_us = clock_mono_us() + EVERY_MS * INT64_C(1000);

		if (ask(t, size.ws_col, gone, e) < 0)
			return *gone && t->table.len ? 0 : -1;
		if (draw(t, size, e) < 0)
			return -1;
		if (take_key(t, until_us))
			return 0;
	}
}

int top_run(const char *directory, bool color, bool subtasks, struct error *e)
{
	struct top t = {.directory = directory, .color = color, .subtasks = subtasks};
	struct termios before, raw;
	struct error ignored = ERROR_INIT;
	bool gone = false;
	int status;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return error_errno(e, "the terminal");
	raw = before;
	/* Also the keys for signals: a stop would leave the terminal as it is here. */
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
	catch_signals();
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	fd_write_all(
		STDOUT_FILENO, "standard output", SCREEN_ENTER, sizeof SCREEN_ENTER - 1, &ignored);
	status = turns(&t, &gone, e);
	fd_write_all(
		STDOUT_FILENO, "standard output", SCREEN_LEAVE, sizeof SCREEN_LEAVE - 1, &ignored);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	if (gone && status == 0) {
		buf_printf(&t.table, "%s has ended\n", job_name(directory));
		status = show(&t.table, e);
	}
	buf_clear(&t.table);
	return status;
}
