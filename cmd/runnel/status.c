#include "cmd/runnel/status.h"

#include "cmd/common/human.h"
#include "libcore/base/civil.h"
#include "libcore/base/memory.h"
#include "libcore/base/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	CELL_MAX = 128,
	NAME_CHARACTERS_MAX = 24, /* of a stage */
	NAME_CHARACTERS_MIN = 8,  /* of one that is cut */
	BAR_CHARACTERS = 10,
	GAP = 2,
};

/* ---- lines that end where the terminal does ---- */

enum style { PLAIN, BOLD, DIM, RED, GREEN, YELLOW };

struct line {
	struct buf *out;
	unsigned left; /* characters that still fit */
	bool color;
};

static struct line line_begin(const struct status_form *form, struct buf *out)
{
	return (struct line){.out = out,
		.left = form->columns ? form->columns : UINT32_MAX,
		.color = form->color};
}

static void line_end(struct line *l)
{
	buf_put_byte(l->out, '\n');
}

/* The text up to a newline, without what would move the cursor, at most `max` characters of it.
 * Returns how many there were. */
static unsigned put_plain(struct buf *out, const char *text, unsigned max)
{
	size_t len = strcspn(text, "\n");
	unsigned n = 0;

	while (len && n < max) {
		uint32_t code;
		size_t bytes = utf8_decode(text, len, &code);

		if (bytes && code >= 0x20 && (code < 0x7f || code >= 0xa0))
			buf_put(out, text, bytes);
		else
			buf_put_byte(out, '?');
		text += bytes ? bytes : 1;
		len -= bytes ? bytes : 1;
		n++;
	}
	return n;
}

static void line_text(struct line *l, enum style style, const char *text)
{
	static const char *const codes[] = {[PLAIN] = "",
		[BOLD] = "\033[1m",
		[DIM] = "\033[2m",
		[RED] = "\033[31m",
		[GREEN] = "\033[32m",
		[YELLOW] = "\033[33m"};
	bool styled = l->color && style != PLAIN && *text;

	if (styled)
		buf_put_text(l->out, codes[style]);
	l->left -= put_plain(l->out, text, l->left);
	if (styled)
		buf_put_text(l->out, "\033[0m");
}

static void line_put(struct line *l, enum style style, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void line_put(struct line *l, enum style style, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	line_text(l, style, text);
}

/* ---- the head ---- */

static enum style state_style(const char *state)
{
	if (!strcmp(state, "running"))
		return GREEN;
	return !strcmp(state, "restarting") ? RED : YELLOW;
}

static int64_t since(const struct status *s, int64_t then_us)
{
	return s->now_us > then_us ? s->now_us - then_us : 0;
}

static void put_job(const struct status *s, const struct status_form *form, struct buf *out)
{
	struct line l = line_begin(form, out);
	char span[HUMAN_TEXT_MAX];

	line_text(&l, BOLD, s->name);
	line_put(&l, PLAIN, "  ");
	line_text(&l, state_style(s->state), s->state);
	if (s->started_us != STATUS_NO_TIME)
		line_put(&l, PLAIN, "  up %s", human_span(span, since(s, s->started_us)));
	line_put(&l, PLAIN, "  -p %" PRIu32, s->parallelism);
	if (s->pid)
		line_put(&l, PLAIN, "  pid %d", s->pid);
	line_put(&l, s->restarts ? YELLOW : PLAIN, "  restarts %" PRIu64, s->restarts);
	line_end(&l);
	if (!s->failure)
		return;
	l = line_begin(form, out);
	line_put(&l, PLAIN, "last failure  ");
	line_text(&l, RED, s->failure);
	line_end(&l);
}

static void put_last_checkpoint(const struct status *s, struct line *l)
{
	const struct status_checkpoint *c = &s->last;
	char text[HUMAN_TEXT_MAX];

	if (!c->id) {
		line_put(l, PLAIN, "checkpoint  none yet");
		return;
	}
	line_put(l, PLAIN, "checkpoint %" PRIu64, c->id);
	if (c->kind && strcmp(c->kind, "checkpoint"))
		line_put(l, PLAIN, " (%s)", c->kind);
	if (c->at_us != STATUS_NO_TIME)
		line_put(l, PLAIN, "  %s ago", human_span(text, since(s, c->at_us)));
	line_put(l, PLAIN, "  took %s", human_span(text, (int64_t)c->duration_us));
	line_put(l, PLAIN, "  %s", human_bytes(text, c->bytes));
	line_put(l, PLAIN, "  alignment %s", human_span(text, (int64_t)c->alignment_us));
}

static void put_checkpoints(const struct status *s, const struct status_form *form, struct buf *out)
{
	struct line l = line_begin(form, out);
	char span[HUMAN_TEXT_MAX];

	put_last_checkpoint(s, &l);
	line_end(&l);
	l = line_begin(form, out);
	line_put(&l, PLAIN, "checkpoints  %" PRIu64 " completed", s->checkpoints);
	if (s->declined)
		line_put(&l, YELLOW, ", %" PRIu64 " given up", s->declined);
	if (s->checkpoint_pending)
		line_put(&l, PLAIN, ", one under way for %s",
			human_span(span, (int64_t)s->pending_us));
	line_end(&l);
}

/* ---- rows: a stage or a subtask each ---- */

struct row {
	struct status_task t; /* sums, greatest and least values over its tasks */
	size_t tasks, running;
	bool per_subtask;
};

static bool is_running(const struct status_task *t)
{
	return !strcmp(t->state, "running");
}

static void row_begin(struct row *r, const struct status_task *t, bool per_subtask)
{
	*r = (struct row){
		.t = *t, .tasks = 1, .running = is_running(t), .per_subtask = per_subtask};
}

static void row_add(struct row *r, const struct status_task *t)
{
	if (!r->running && !strcmp(r->t.state, "finished"))
		r->t.state = t->state;
	if (is_running(t))
		r->t.state = t->state;
	r->tasks++;
	r->running += is_running(t);
	r->t.rows_in += t->rows_in;
	r->t.rows_out += t->rows_out;
	r->t.late += t->late;
	r->t.bad += t->bad;
	r->t.state_bytes += t->state_bytes;
	r->t.rows_in_rate += t->rows_in_rate;
	r->t.rows_out_rate += t->rows_out_rate;
	if (t->busy > r->t.busy)
		r->t.busy = t->busy;
	if (t->backpressured > r->t.backpressured)
		r->t.backpressured = t->backpressured;
	if (t->watermark_us < r->t.watermark_us)
		r->t.watermark_us = t->watermark_us;
}

static size_t rows_take(const struct status *s, bool per_subtask, struct row *rows)
{
	size_t n = 0;

	for (size_t i = 0; i < s->tasks_len; i++) {
		const struct status_task *t = &s->tasks[i];
		size_t at = 0;

		while (at < n && strcmp(rows[at].t.stage, t->stage) != 0)
			at++;
		if (per_subtask || at == n)
			row_begin(&rows[n++], t, per_subtask);
		else
			row_add(&rows[at], t);
	}
	return n;
}

/* What holds up the others: it works all the time and nobody behind it makes it wait. */
static size_t bottleneck(const struct row *rows, size_t n)
{
	size_t at = n;
	double most = 0.8;

	for (size_t i = 0; i < n; i++) {
		if (!rows[i].running || rows[i].t.busy < most || rows[i].t.backpressured >= 0.5)
			continue;
		at = i;
		most = rows[i].t.busy;
	}
	return at;
}

/* ---- cells ---- */

static void put_name(char *out, const struct row *r)
{
	struct buf name = BUF_INIT;
	unsigned characters = put_plain(&name, r->t.stage, NAME_CHARACTERS_MAX);

	if (characters == NAME_CHARACTERS_MAX && strlen(r->t.stage) > name.len) {
		while ((name.data[--name.len] & 0xc0) == 0x80)
			;
		buf_put_byte(&name, '~');
	}
	if (r->per_subtask && r->t.subtasks > 1)
		buf_printf(&name, ".%" PRIu32, r->t.subtask);
	snprintf(out, CELL_MAX, "%s", buf_cstr(&name));
	buf_clear(&name);
}

static void put_stage(char *out, const struct row *r, const struct status *s)
{
	size_t len;

	put_name(out, r);
	len = strlen(out);
	if (r->running && r->running < r->tasks)
		snprintf(out + len, CELL_MAX - len, " %zu/%zu", r->running, r->tasks);
	else if (r->tasks > 1)
		snprintf(out + len, CELL_MAX - len, " x%zu", r->tasks);
}

static int share_of(double share, int whole)
{
	return share > 0 ? share < 1 ? (int)(share * whole + 0.5) : whole : 0;
}

/* "####++    ": busy, held back by the one behind, idle.  Of what doesn't run, why. */
static void put_load(char *out, const struct row *r, const struct status *s)
{
	int busy = share_of(r->t.busy, BAR_CHARACTERS);
	int back = share_of(r->t.backpressured, BAR_CHARACTERS);

	if (!r->running) {
		snprintf(out, CELL_MAX, "%s", r->t.state);
		return;
	}
	if (back > BAR_CHARACTERS - busy)
		back = BAR_CHARACTERS - busy;
	memset(out, '#', (size_t)busy);
	memset(out + busy, '+', (size_t)back);
	memset(out + busy + back, '.', (size_t)(BAR_CHARACTERS - busy - back));
	out[BAR_CHARACTERS] = '\0';
}

static void put_share(char *out, const struct row *r, double share)
{
	if (r->running)
		snprintf(out, CELL_MAX, "%d%%", share_of(share, 100));
}

static void put_busy(char *out, const struct row *r, const struct status *s)
{
	put_share(out, r, r->t.busy);
}

static void put_back(char *out, const struct row *r, const struct status *s)
{
	put_share(out, r, r->t.backpressured);
}

static void put_in(char *out, const struct row *r, const struct status *s)
{
	if (!r->t.source && r->running)
		human_count(out, r->t.rows_in_rate);
}

static void put_out(char *out, const struct row *r, const struct status *s)
{
	if (!r->t.sink && r->running)
		human_count(out, r->t.rows_out_rate);
}

static void put_rows(char *out, const struct row *r, const struct status *s)
{
	human_count(out, (double)(r->t.source ? r->t.rows_out : r->t.rows_in));
}

/* Near the clock the distance says more than the time. */
static void put_watermark(char *out, const struct row *r, const struct status *s)
{
	int64_t mark = r->t.watermark_us, apart;
	char span[HUMAN_TEXT_MAX];
	struct civil c;

	if (mark == STATUS_NO_TIME)
		return;
	if (mark == INT64_MAX) {
		snprintf(out, CELL_MAX, "end");
		return;
	}
	if (!__builtin_sub_overflow(s->now_us, mark, &apart) && apart > -CIVIL_US_DAY &&
		apart < CIVIL_US_DAY) {
		snprintf(out, CELL_MAX, "%s %s", human_span(span, apart < 0 ? -apart : apart),
			apart < 0 ? "ahead" : "behind");
		return;
	}
	civil_from_us(mark, &c);
	snprintf(out, CELL_MAX, "%04" PRId64 "-%02d-%02d %02d:%02d", c.year, c.month, c.day, c.hour,
		c.minute);
}

static void put_late(char *out, const struct row *r, const struct status *s)
{
	if (r->t.late)
		human_count(out, (double)r->t.late);
}

static void put_bad(char *out, const struct row *r, const struct status *s)
{
	if (r->t.bad)
		human_count(out, (double)r->t.bad);
}

static void put_state(char *out, const struct row *r, const struct status *s)
{
	if (r->t.state_bytes)
		human_bytes(out, r->t.state_bytes);
}

/* ---- columns ---- */

enum column {
	COLUMN_STAGE,
	COLUMN_LOAD,
	COLUMN_BUSY,
	COLUMN_BACK,
	COLUMN_IN,
	COLUMN_OUT,
	COLUMN_ROWS,
	COLUMN_WATERMARK,
	COLUMN_LATE,
	COLUMN_BAD,
	COLUMN_STATE,
	COLUMNS,
};

/* Widths to start with, so that the table stands still while numbers change. */
static const struct {
	const char *title;
	unsigned width;
	bool left;
	bool hides; /* where no row has it */
	void (*put)(char *out, const struct row *r, const struct status *s);
} columns[COLUMNS] = {
	[COLUMN_STAGE] = {"STAGE", NAME_CHARACTERS_MIN, true, false, put_stage},
	[COLUMN_LOAD] = {"LOAD", BAR_CHARACTERS, true, false, put_load},
	[COLUMN_BUSY] = {"BUSY", 4, false, false, put_busy},
	[COLUMN_BACK] = {"BACKP", 5, false, false, put_back},
	[COLUMN_IN] = {"IN/S", 5, false, false, put_in},
	[COLUMN_OUT] = {"OUT/S", 5, false, false, put_out},
	[COLUMN_ROWS] = {"ROWS", 5, false, false, put_rows},
	[COLUMN_WATERMARK] = {"WATERMARK", 11, false, false, put_watermark},
	[COLUMN_LATE] = {"LATE", 5, false, true, put_late},
	[COLUMN_BAD] = {"BAD", 5, false, true, put_bad},
	[COLUMN_STATE] = {"STATE", 8, false, false, put_state},
};

/* What is left out first where the terminal is narrow. */
static const enum column leaves[] = {
	COLUMN_BACK, COLUMN_ROWS, COLUMN_BUSY, COLUMN_BAD, COLUMN_STATE, COLUMN_LATE, COLUMN_OUT};

struct table {
	char (*cells)[COLUMNS][CELL_MAX];
	size_t rows;
	unsigned widths[COLUMNS]; /* 0: left out */
};

static unsigned cell_width(const char *cell)
{
	return (unsigned)utf8_count(cell, strlen(cell));
}

static void table_measure(struct table *t)
{
	for (int c = 0; c < COLUMNS; c++) {
		bool any = !columns[c].hides;

		t->widths[c] = columns[c].width;
		for (size_t i = 0; i < t->rows; i++) {
			unsigned width = cell_width(t->cells[i][c]);

			any = any || width;
			if (width > t->widths[c])
				t->widths[c] = width;
		}
		if (!any)
			t->widths[c] = 0;
	}
}

static unsigned table_width(const struct table *t)
{
	unsigned width = 0;

	for (int c = 0; c < COLUMNS; c++)
		if (t->widths[c])
			width += t->widths[c] + GAP;
	return width ? width - GAP : 0;
}

static void table_fit(struct table *t, unsigned width)
{
	size_t n = sizeof leaves / sizeof *leaves;

	table_measure(t);
	for (size_t i = 0; width && i < n && table_width(t) > width; i++)
		t->widths[leaves[i]] = 0;
}

static void put_bar(struct line *l, const char *bar)
{
	size_t busy = strspn(bar, "#"), back = strspn(bar + busy, "+");
	enum style style = busy >= BAR_CHARACTERS * 8 / 10 ? RED : GREEN;

	line_put(l, style, "%.*s", (int)busy, bar);
	line_put(l, YELLOW, "%.*s", (int)back, bar + busy);
	line_put(l, DIM, "%s", bar + busy + back);
}

static void put_cell(
	struct line *l, enum column c, unsigned width, const char *cell, enum style style)
{
	unsigned own = cell_width(cell), pad = width > own ? width - own : 0;

	if (!columns[c].left)
		line_put(l, PLAIN, "%*s", (int)pad, "");
	if (c == COLUMN_LOAD && *cell && strchr("#+.", *cell))
		put_bar(l, cell);
	else
		line_text(l, style, cell);
	if (columns[c].left)
		line_put(l, PLAIN, "%*s", (int)pad, "");
}

static enum style cell_style(const struct row *r, enum column c, bool bottleneck_row)
{
	if ((c == COLUMN_LATE && r->t.late) || (c == COLUMN_BAD && r->t.bad))
		return YELLOW;
	if (c == COLUMN_LOAD)
		return !strcmp(r->t.state, "finished") ? DIM : YELLOW;
	return bottleneck_row && (c == COLUMN_STAGE || c == COLUMN_BUSY) ? BOLD : PLAIN;
}

static void put_titles(const struct table *t, const struct status_form *form, struct buf *out)
{
	struct line l = line_begin(form, out);

	for (int c = 0; c < COLUMNS; c++) {
		if (!t->widths[c])
			continue;
		if (c)
			line_put(&l, PLAIN, "%*s", GAP, "");
		put_cell(&l, (enum column)c, t->widths[c], columns[c].title, BOLD);
	}
	line_end(&l);
}

static void put_row(const struct table *t, size_t i, const struct row *r, bool bottleneck_row,
	const struct status_form *form, struct buf *out)
{
	struct line l = line_begin(form, out);

	for (int c = 0; c < COLUMNS; c++) {
		const char *cell = t->cells[i][c];

		if (!t->widths[c])
			continue;
		if (c)
			line_put(&l, PLAIN, "%*s", GAP, "");
		put_cell(&l, (enum column)c, t->widths[c], *cell || columns[c].left ? cell : "-",
			cell_style(r, (enum column)c, bottleneck_row));
	}
	line_end(&l);
}

static void put_rows_of(const struct status *s, const struct row *rows, size_t n,
	const struct status_form *form, struct buf *out)
{
	struct table t = {.cells = mem_zero((n ? n : 1) * sizeof *t.cells), .rows = n};
	size_t worst = bottleneck(rows, n);

	for (size_t i = 0; i < n; i++)
		for (int c = 0; c < COLUMNS; c++)
			columns[c].put(t.cells[i][c], &rows[i], s);
	table_fit(&t, form->columns);
	put_titles(&t, form, out);
	for (size_t i = 0; i < n; i++)
		put_row(&t, i, &rows[i], i == worst, form, out);
	if (worst < n) {
		struct line l = line_begin(form, out);
		char name[CELL_MAX];

		put_name(name, &rows[worst]);
		line_put(&l, BOLD, "bottleneck: %s, %s busy", name, t.cells[worst][COLUMN_BUSY]);
		line_end(&l);
	}
	mem_free(t.cells);
}

void status_put_table(const struct status *s, const struct status_form *form, struct buf *out)
{
	struct row *rows = mem_zero((s->tasks_len + 1) * sizeof *rows);
	size_t n = rows_take(s, form->per_subtask, rows);

	put_job(s, form, out);
	put_checkpoints(s, form, out);
	if (n) {
		buf_put_byte(out, '\n');
		put_rows_of(s, rows, n, form, out);
	}
	mem_free(rows);
}

/* ---- one line a job ---- */

static void put_padded(struct buf *out, const char *text, unsigned width)
{
	unsigned n = put_plain(out, text, UINT32_MAX);

	buf_printf(out, "%*s", n < width ? (int)(width - n) : 0, "");
}

void status_put_line_head(struct buf *out)
{
	buf_printf(out, "%-20s  %-11s  %6s  %5s  %-16s  %8s  %s\n", "JOB", "STATE", "UP", "IN/S",
		"CHECKPOINT", "RESTARTS", "DIRECTORY");
}

void status_put_line(const struct status *s, struct buf *out)
{
	char up[HUMAN_TEXT_MAX] = "-", rate[HUMAN_TEXT_MAX] = "-", ago[HUMAN_TEXT_MAX];
	char last[64] = "-", restarts[24] = "-";
	double in = 0;

	for (size_t i = 0; i < s->tasks_len; i++)
		in += s->tasks[i].source ? s->tasks[i].rows_out_rate : 0;
	if (s->started_us != STATUS_NO_TIME) {
		human_span(up, since(s, s->started_us));
		human_count(rate, in);
		snprintf(restarts, sizeof restarts, "%" PRIu64, s->restarts);
	}
	if (s->last.id && s->last.at_us != STATUS_NO_TIME)
		snprintf(last, sizeof last, "%" PRIu64 " %s ago", s->last.id,
			human_span(ago, since(s, s->last.at_us)));
	else if (s->last.id)
		snprintf(last, sizeof last, "%" PRIu64, s->last.id);
	put_padded(out, s->name, 20);
	buf_printf(out, "  %-11s  %6s  %5s  %-16s  %8s  ", s->state, up, rate, last, restarts);
	put_plain(out, s->directory, UINT32_MAX);
	buf_put_byte(out, '\n');
}
