#include "cmd/common/exec.h"

#include "cmd/common/answers.h"
#include "formats/writer.h"
#include "libcore/base/memory.h"
#include "libcore/base/msgpack.h"
#include "libcore/base/must.h"

/* A watermark that came when so many rows had been asked. */
struct held {
	uint64_t asked;
	int64_t event_us;
};

struct exec {
	struct exec_options o;
	exec_take take;
	void *context;
	struct operator *op;
	struct stage *stage;
	struct coprocess *co;       /* NULL: nothing has been asked */
	struct answers *answers;
	struct writer *writer;
	struct schema asked, out;
	bool changelog;
	struct buf text;            /* questions of a batch */

	struct schema kept;         /* the columns that answers carry on, */
	struct batch_builder keep;  /* of questions in flight, from kept_at on */
	uint32_t kept_at;

	struct batch_builder rows;  /* of answers, not handed on yet */
	bool has_rows;              /* it and keep are initialised */
	/* A row's -U is answered and its +U isn't: its rows are the last ones, from here on. */
	bool is_half;
	uint32_t half_at;

	struct held *held;          /* watermarks, in order */
	size_t held_at, held_len, held_cap;
};

struct exec *exec_new(const struct exec_options *o, exec_take take, void *context)
{
	struct exec *x = mem_zero(sizeof *x);

	x->o = *o;
	x->take = take;
	x->context = context;
	x->answers = answers_new(o->format, o->schema);
	schema_init(&x->asked);
	schema_init(&x->kept);
	schema_init(&x->out);
	return x;
}

static void builders_clear(struct exec *x)
{
	if (!x->has_rows)
		return;
	batch_builder_clear(&x->rows);
	batch_builder_clear(&x->keep);
	x->has_rows = false;
}

void exec_free(struct exec *x)
{
	if (!x)
		return;
	coprocess_free(x->co);
	answers_free(x->answers);
	writer_free(x->writer);
	builders_clear(x);
	schema_clear(&x->asked);
	schema_clear(&x->kept);
	schema_clear(&x->out);
	buf_clear(&x->text);
	mem_free(x->held);
	mem_free(x);
}

/* ---- schema ---- */

/* The event time stays if the answers have its column. */
static void pass_time(const struct schema *asked, struct schema *out)
{
	const char *name = asked->time_column < 0 ? NULL : asked->fields[asked->time_column].name;
	int column = name ? schema_find(out, name, strlen(name)) : -1;

	if (column < 0 || out->fields[column].type.kind != TYPE_TIMESTAMP)
		return;
	out->time_column = column;
	out->time_offset_us = asked->time_offset_us;
}

static int open_writer(struct exec *x, struct error *e)
{
	const struct writer_options o = {.header = false};

	writer_free(x->writer);
	x->writer = NULL;
	buf_reset(&x->text);
	if (writer_new(x->o.format == COPROCESS_MSGPACK ? "msgpack" : "ndjson", &o, &x->writer, e) < 0)
		return -1;
	return writer_schema(x->writer, &x->asked, &x->text, e);
}

/* The columns that are carried on, then those of the answers. */
static int carry_schema(struct exec *x, struct error *e)
{
	struct schema none = SCHEMA_INIT, answers = SCHEMA_INIT;
	int status = answers_schema(x->answers, &none, NULL, &answers, e);

	schema_clear(&x->kept);
	for (size_t i = 0; i + 1 < x->asked.fields_len; i++)
		schema_add_field(&x->kept, &x->asked.fields[i]);
	schema_clear(&x->out);
	schema_copy(&x->out, &x->kept);
	for (size_t i = 0; status == 0 && i < answers.fields_len; i++) {
		const struct field *f = &answers.fields[i];

		if (schema_find(&x->kept, f->name, strlen(f->name)) >= 0)
			status = error_set(e, ERROR_USAGE, "--exec-schema: '%s' is a column already, in front "
				"of the answers'", f->name);
		schema_add_field(&x->out, f);
	}
	schema_clear(&answers);
	return status;
}

int exec_schema(struct exec *x, struct operator *op, const struct schema *asked, struct schema *out,
	struct error *e)
{
	const char *required = asked->time_column < 0 ? NULL :
		asked->fields[asked->time_column].name;

	x->op = op;
	x->stage = op->stage;
	if (exec_settle(x, e) < 0)
		return -1;
	schema_clear(&x->asked);
	schema_copy(&x->asked, asked);
	x->asked.changelog = false; /* what happens to a row isn't its command's matter */
	x->changelog = asked->changelog;
	builders_clear(x);
	if ((x->o.carries ? carry_schema(x, e) :
		answers_schema(x->answers, &x->asked, required, &x->out, e)) < 0 || open_writer(x, e) < 0)
		return -1;
	pass_time(asked, &x->out);
	x->out.changelog = asked->changelog; /* without its key: answers may be other rows */
	batch_builder_init(&x->rows, &x->out);
	batch_builder_init(&x->keep, &x->kept);
	x->kept_at = 0;
	x->has_rows = true;
	schema_clear(out);
	schema_copy(out, &x->out);
	return 0;
}

/* ---- answers ---- */

static int hand_on(struct exec *x, struct error *e)
{
	int status;

	if (!batch_builder_rows(&x->rows) || x->is_half)
		return 0;
	status = x->take(x->context, batch_builder_view(&x->rows), e);
	batch_builder_reset(&x->rows);
	return status;
}

/* Watermarks that stood in front of what is to be answered next. */
static int hand_on_watermarks(struct exec *x, struct error *e)
{
	uint64_t answered = x->co ? coprocess_answered(x->co) : 0;

	while (x->held_at < x->held_len && x->held[x->held_at].asked <= answered) {
		if (hand_on(x, e) < 0 ||
			stage_emit_watermark(x->stage, x->held[x->held_at].event_us, e) < 0)
			return -1;
		x->held_at++;
	}
	if (x->held_at == x->held_len)
		x->held_at = x->held_len = 0;
	return 0;
}

/* Both halves of an update stand for themselves unless each is one row. */
static void put_ops(struct exec *x, uint8_t op, uint32_t before, uint32_t rows)
{
	struct buf *ops = &x->rows.ops;

	if (op == ROW_UPDATE_AFTER && (before - x->half_at != 1 || rows != 1)) {
		memset(ops->data + x->half_at, ROW_DELETE, before - x->half_at);
		op = ROW_INSERT;
	}
	x->is_half = op == ROW_UPDATE_BEFORE;
	x->half_at = before;
	if (rows)
		memset(buf_reserve(ops, rows), op, rows);
	ops->len += rows;
}

/* The answered question's columns, once for each row. */
static void carry(struct exec *x, uint32_t rows)
{
	for (size_t i = 0; i < x->kept.fields_len; i++) {
		struct column c = builder_column(&x->keep.columns[i]);

		for (uint32_t r = 0; r < rows; r++)
			builder_put_from(&x->rows.columns[i], &c, x->kept_at);
	}
	x->kept_at++;
}

/* Questions that are answered leave once they are many. */
static void keep(struct exec *x, const struct batch *b)
{
	uint32_t all = batch_builder_rows(&x->keep);
	struct batch_builder rest;

	if (x->kept_at == all) {
		batch_builder_reset(&x->keep);
		x->kept_at = 0;
	} else if (x->kept_at > COPROCESS_QUESTIONS_MAX) {
		batch_builder_init(&rest, &x->kept);
		batch_builder_put_rows(&rest, batch_builder_view(&x->keep), x->kept_at, all - x->kept_at);
		batch_builder_clear(&x->keep);
		x->keep = rest;
		x->kept_at = 0;
	}
	batch_builder_put_rows(&x->keep, &(struct batch){.schema = &x->kept, .rows = b->rows,
		.columns = b->columns}, 0, b->rows);
}

static int take_answer(struct exec *x, const struct coprocess_answer *a, struct error *e)
{
	uint32_t before = x->rows.columns[0].rows, rows;
	const char *why;

	if (answers_take(x->answers, a, x->rows.columns + x->kept.fields_len, &rows, &why) < 0)
		return coprocess_refuse(x->co, e, "an answer that is no row: %s", why);
	if (x->kept.fields_len)
		carry(x, rows);
	if (x->changelog)
		put_ops(x, a->tag, before, rows);
	if (x->held_len && hand_on_watermarks(x, e) < 0)
		return -1;
	return batch_builder_is_full(&x->rows) ? hand_on(x, e) : 0;
}

static int take_answers(struct exec *x, struct error *e)
{
	struct coprocess_answer a;
	int status;

	while ((status = coprocess_answer(x->co, &a, e)) == 0) {
		if (take_answer(x, &a, e) < 0)
			return -1;
	}
	return status < 0 ? -1 : 0;
}

/* What has come, or with may_block at least one answer. */
static int turn(struct exec *x, bool may_block, struct error *e)
{
	return coprocess_pump(x->co, may_block, e) < 0 ? -1 : take_answers(x, e);
}

/* ---- questions ---- */

static int stay_alive(void *context, struct error *e)
{
	const struct exec *x = context;

	return stage_alive(x->stage, e);
}

static void open_coprocess(struct exec *x)
{
	const struct coprocess_options o = {.command = x->o.command, .format = x->o.format,
		.timeout_us = x->o.timeout_us, .what = x->o.carries ? "window" : "row", .name = stage_name(x->stage),
		.subtask = stage_subtask(x->stage), .alive = stay_alive, .context = x};

	x->co = coprocess_new(&o);
}

/* Where the first question in the bytes ends. */
static size_t question_bytes(const struct exec *x, const uint8_t *at, size_t len)
{
	const uint8_t *newline;
	size_t bytes = 0;

	if (x->o.format == COPROCESS_MSGPACK) {
		MUST(msgpack_measure(at, len, &bytes) == 0);
		return bytes;
	}
	newline = memchr(at, '\n', len);
	MUST(newline);
	return (size_t)(newline - at) + 1;
}

/* One of the two alone is no update. */
static uint8_t op_of(const struct batch *b, uint32_t row)
{
	uint8_t op = b->ops ? b->ops[row] : ROW_INSERT;

	if (op == ROW_UPDATE_BEFORE && (row + 1 == b->rows || b->ops[row + 1] != ROW_UPDATE_AFTER))
		return ROW_DELETE;
	if (op == ROW_UPDATE_AFTER && (!row || b->ops[row - 1] != ROW_UPDATE_BEFORE))
		return ROW_INSERT;
	return op;
}

static void tell_holding(struct exec *x)
{
	x->op->holds = coprocess_answered(x->co) < coprocess_asked(x->co) ||
		batch_builder_rows(&x->rows) > 0;
}

int exec_batch(struct exec *x, const struct batch *b, struct error *e)
{
	struct batch questions = *b;
	size_t at = 0;

	if (!x->co)
		open_coprocess(x);
	questions.schema = &x->asked;
	questions.ops = NULL;
	if (x->kept.fields_len)
		keep(x, b);
	buf_reset(&x->text);
	if (writer_rows(x->writer, &questions, &x->text, e) < 0)
		return -1;
	/* What it says without being asked must not pass for an answer to what it is asked next. */
	if (coprocess_asked(x->co) == coprocess_answered(x->co) && turn(x, false, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		size_t len = question_bytes(x, x->text.data + at, x->text.len - at);

		while (!coprocess_has_room(x->co)) {
			if (turn(x, true, e) < 0)
				return -1;
		}
		if (coprocess_ask(x->co, x->text.data + at, len, op_of(b, r), e) < 0)
			return -1;
		at += len;
	}
	if (turn(x, false, e) < 0)
		return -1;
	tell_holding(x);
	return 0;
}

bool exec_holds_watermark(struct exec *x, int64_t event_us)
{
	uint64_t asked = x->co ? coprocess_asked(x->co) : 0;

	if (!x->co || (coprocess_answered(x->co) == asked && !batch_builder_rows(&x->rows)))
		return false;
	if (!x->held_len || x->held[x->held_len - 1].asked != asked) {
		MEM_GROW(x->held, x->held_cap, x->held_len + 1);
		x->held[x->held_len++].asked = asked;
	}
	x->held[x->held_len - 1].event_us = event_us; /* of several in a row the last counts */
	return true;
}

int exec_idle(struct exec *x, struct error *e)
{
	int64_t left_us = -1;

	if (!x->co)
		return 0;
	if (turn(x, false, e) < 0 || hand_on_watermarks(x, e) < 0 || hand_on(x, e) < 0)
		return -1;
	tell_holding(x);
	coprocess_waits(x->co, &x->op->wait_fd, &x->op->tell_fd, &left_us);
	x->op->wait_us = left_us < 0 ? 0 : left_us + 1000;
	return 0;
}

int exec_settle(struct exec *x, struct error *e)
{
	if (!x->co)
		return 0;
	while (coprocess_answered(x->co) < coprocess_asked(x->co)) {
		if (turn(x, true, e) < 0)
			return -1;
	}
	MUST(!x->is_half);
	if (hand_on_watermarks(x, e) < 0 || hand_on(x, e) < 0)
		return -1;
	tell_holding(x);
	return 0;
}

int exec_end(struct exec *x, struct error *e)
{
	if (!x->co)
		return 0;
	coprocess_close_input(x->co);
	return exec_settle(x, e) < 0 ? -1 : coprocess_end(x->co, e);
}
