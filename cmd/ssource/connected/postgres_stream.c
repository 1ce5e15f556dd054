/* The stream of changes: its connection, its messages, and the rows they become. */
#include "cmd/ssource/connected/postgres_changes.h"

#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

enum {
	TELL_US = 5000000,
	RETRY_FIRST_US = 100000,
	RETRY_MAX_US = 10000000,
	IN_USE_US =
		30000000, /* a reader that was killed lets go in a moment; another one doesn't */
	PAIR_ROWS = 2,    /* what one change may become */
};

/* ---- rows ---- */

void changes_put_meta(struct changes *c, const struct change_meta *m)
{
	static const char *const ops[] = {"+I", "-U", "+U", "-D"};

	for (size_t i = 0; i < c->metas_len; i++) {
		struct column_builder *b = &c->batch.columns[i];

		switch (c->metas[i]) {
		case META_LSN: builder_put_int(b, (int64_t)m->lsn); break;
		case META_COMMIT_TIME: builder_put_int(b, m->time_us); break;
		case META_XID:
			if (m->xid < 0)
				builder_put_null(b);
			else
				builder_put_int(b, m->xid);
			break;
		case META_OP: builder_put_text(b, ops[m->op], 2); break;
		}
	}
	if (c->schema.changelog)
		buf_put_byte(&c->batch.ops, (uint8_t)m->op);
}

static int refuse(struct changes *c, size_t column, const char *why, struct error *e)
{
	return error_set(e, ERROR_DATA, "%s, transaction at " LSN_FORMAT ", column %s: %s",
		c->in.table.name, LSN_ARGUMENTS(c->txn_lsn), c->plan.columns[column].from, why);
}

/* A TOASTed value that an update left alone isn't sent again: it stands in the old row. */
static const struct pgoutput_field *find_field(
	const struct pgoutput_row *row, const struct pgoutput_row *old, int field)
{
	static const struct pgoutput_field not_yet = {.kind = 'n'};
	size_t index = (size_t)field;
	const struct pgoutput_field *f;

	if (field < 0)
		return &not_yet;
	f = index < row->len ? &row->fields[index] : NULL;

	if (f && f->kind == 'u')
		f = old && index < old->len ? &old->fields[index] : NULL;
	return f && f->kind != 'u' ? f : NULL;
}

static int put_row(struct changes *c, const struct pgoutput_row *row,
	const struct pgoutput_row *old, enum row_op op, struct error *e)
{
	struct change_meta meta = {
		.lsn = c->txn_lsn, .time_us = c->txn_time_us, .xid = c->txn_xid, .op = op};

	for (size_t i = 0; i < c->plan.len; i++) {
		struct column_builder *b = &c->batch.columns[c->metas_len + i];
		const struct pgoutput_field *f = find_field(row, old, c->fields[i]);
		const char *why;

		if (!f)
			return refuse(c, i, "its value wasn't sent", e);
		if (f->kind == 'n' && (int)(c->metas_len + i) == c->clockwork.time_column)
			return refuse(c, i, "null, but it is the event time", e);
		if (f->kind == 'n')
			builder_put_null(b);
		else if (postgres_take_text(&c->plan.columns[i].codec, f->text, f->len, b, &why) <
			 0)
			return refuse(c, i, why, e);
	}
	changes_put_meta(c, &meta);
	return 0;
}

static bool is_key(const struct changes *c, size_t column)
{
	for (size_t i = 0; i < c->schema.keys_len; i++) {
		if (c->schema.keys[i] == (int)(c->metas_len + column))
			return true;
	}
	return false;
}

static bool same_field(const struct pgoutput_field *a, const struct pgoutput_field *b)
{
	return a && b && a->kind == b->kind && a->len == b->len &&
	       (!a->len || memcmp(a->text, b->text, a->len) == 0);
}

/* Whether the key stays: else the update travels as a delete and an insert. */
static bool keeps_key(const struct changes *c, const struct pgoutput *m)
{
	for (size_t i = 0; i < c->plan.len; i++) {
		int field = c->fields[i];

		if (is_key(c, i) && !same_field(find_field(&m->before, NULL, field),
					    find_field(&m->after, &m->before, field)))
			return false;
	}
	return true;
}

static int no_old_row(struct changes *c, struct error *e)
{
	error_set(e, ERROR_DATA,
		"%s: a change doesn't tell the whole old row, which a changelog needs",
		c->in.table.name);
	return error_hint(e,
		"alter table %s replica identity full, and begin anew with another slot",
		c->in.table.name);
}

static int put_change(struct changes *c, const struct pgoutput *m, struct error *e)
{
	bool keeps;

	if (!c->fields)
		return error_set(e, ERROR_DATA, "%s: a change came before the table's columns",
			c->in.table.name);
	if (m->kind == PGOUTPUT_INSERT)
		return put_row(c, &m->after, NULL, ROW_INSERT, e);
	if (c->appends)
		return error_set(e, ERROR_DATA,
			"%s: an update or delete came, but the publication was of inserts only",
			c->in.table.name);
	if (m->before.kind != 'O')
		return no_old_row(c, e);
	if (m->kind == PGOUTPUT_DELETE)
		return put_row(c, &m->before, NULL, ROW_DELETE, e);
	keeps = keeps_key(c, m);
	if (put_row(c, &m->before, NULL, keeps ? ROW_UPDATE_BEFORE : ROW_DELETE, e) < 0)
		return -1;
	return put_row(c, &m->after, &m->before, keeps ? ROW_UPDATE_AFTER : ROW_INSERT, e);
}

/* ---- a table whose columns change ---- */

static int find_relation_column(const struct pgoutput *m, const char *name)
{
	for (size_t i = 0; i < m->columns_len; i++) {
		if (strcmp(m->columns[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

static bool is_planned(const struct changes *c, const char *name)
{
	for (size_t i = 0; i < c->plan.len; i++) {
		if (strcmp(c->plan.columns[i].from, name) == 0)
			return true;
	}
	return false;
}

static int changed(struct changes *c, const char *column, const char *how, struct error *e)
{
	error_set(e, ERROR_DATA, "%s: the column %s %s, which its rows so far can't follow",
		c->in.table.name, column, how);
	return error_hint(e, "begin anew, with another slot and without the checkpoints so far");
}

/* Rows that are there have got a value nobody was told of, unless that is null. */
static int check_default(
	struct changes *c, struct postgres *db, const char *column, struct error *e)
{
	static const char sql[] = "select atthasmissing from pg_catalog.pg_attribute"
				  " where attrelid = $1::oid and attname = $2 and not attisdropped";
	const char *values[] = {c->oid, column};
	char *missing;
	bool has;

	if (postgres_ask(db, sql, values, 2, &missing, e) < 0)
		return -1;
	has = missing && *missing == 't';
	mem_free(missing);
	return has ? changed(c, column, "was added with a default", e) : 0;
}

static int add_column(struct changes *c, const struct pgoutput_column *x, struct error *e)
{
	struct postgres_column column = {
		.name = x->name, .type = {.oid = x->oid, .modifier = x->modifier}};
	struct postgres *db;
	int status = -1;

	if (postgres_input_connect(&c->in, c->base.stage, false, &db, e) < 0)
		return -1;
	if (check_default(c, db, x->name, e) == 0 && postgres_resolve(db, &column, 1, e) == 0)
		status = postgres_plan_add(&c->plan, &column, NULL, e);
	postgres_close(db);
	return status;
}

/* numeric(8,2) to numeric(10,2), varchar(10) to varchar(20): the modifier alone. */
static bool same_type(const struct planned_column *p, const struct pgoutput_column *x)
{
	struct type shape;

	if (p->declared_oid != x->oid)
		return false;
	if (p->declared_modifier == x->modifier || p->codec.type.kind != TYPE_DECIMAL)
		return true;
	return postgres_numeric_shape(x->modifier, &shape) && type_equal(shape, p->codec.type);
}

/* Whether the log was written before the last columns of the table were added: they are null there,
 * if they have no default.  Its columns are then the first of today's. */
static int check_behind(
	struct changes *c, const struct pgoutput *m, const char *missing, struct error *e)
{
	static const char sql[] =
		"select attname, atthasmissing from pg_catalog.pg_attribute where attrelid = "
		"$1::oid"
		" and attnum > 0 and not attisdropped and attgenerated = '' order by attnum";
	const char *value = c->oid;
	struct postgres *db;
	bool is_behind;
	PGresult *r;
	int n;

	if (postgres_input_connect(&c->in, c->base.stage, false, &db, e) < 0)
		return -1;
	if (postgres_run_with(db, sql, &value, 1, false, &r, e) < 0) {
		postgres_close(db);
		return -1;
	}
	n = PQntuples(r);
	is_behind = m->columns_len < (size_t)n;
	for (int i = 0; is_behind && i < n; i++)
		is_behind = (size_t)i < m->columns_len
				    ? strcmp(PQgetvalue(r, i, 0), m->columns[i].name) == 0
				    : *PQgetvalue(r, i, 1) == 'f';
	PQclear(r);
	postgres_close(db);
	return is_behind ? 0 : changed(c, missing, "was dropped or renamed", e);
}

static int map_columns(struct changes *c, const struct pgoutput *m, struct error *e)
{
	const char *missing = NULL;

	c->fields = mem_resize(c->fields, (c->plan.len + 1) * sizeof *c->fields);
	for (size_t i = 0; i < c->plan.len; i++) {
		const struct planned_column *p = &c->plan.columns[i];

		c->fields[i] = find_relation_column(m, p->from);
		if (c->fields[i] < 0)
			missing = p->from;
		else if (!same_type(p, &m->columns[c->fields[i]]))
			return changed(c, p->from, "has another type now", e);
	}
	return missing ? check_behind(c, m, missing, e) : 0;
}

/* The table's columns as of the changes that follow.  A new one makes a new schema; rows that wait
 * go out in the old one. */
static int take_relation(struct changes *c, const struct pgoutput *m, struct error *e)
{
	bool grows = false;

	for (size_t i = 0; i < m->columns_len && c->plan.takes_all; i++)
		grows |= !is_planned(c, m->columns[i].name);
	if (c->skip) {
		struct error before = ERROR_INIT;

		/* Of changes that went out when the columns were others: a new message follows. */
		if (map_columns(c, m, &before) < 0) {
			mem_free(c->fields);
			c->fields = NULL;
		}
		return 0;
	}
	if (!grows)
		return map_columns(c, m, e);
	if (c->batch.columns[0].rows &&
		clockwork_send(&c->clockwork, c->base.stage, batch_builder_view(&c->batch), e) < 0)
		return -1;
	for (size_t i = 0; i < m->columns_len; i++) {
		if (!is_planned(c, m->columns[i].name) && add_column(c, &m->columns[i], e) < 0)
			return -1;
	}
	return changes_declare(c, e) < 0 ? -1 : map_columns(c, m, e);
}

/* ---- messages ---- */

static void begin(struct changes *c, const struct pgoutput *m)
{
	c->in_txn = true;
	c->txn_lsn = m->lsn;
	c->txn_time_us = m->time_us;
	c->txn_xid = m->xid;
	c->skip = 0;
	if (m->lsn == c->at.txn_lsn) {
		c->skip = c->at.txn_changes;
		return;
	}
	if (m->lsn < c->at.lsn)
		c->skip = UINT64_MAX;
	c->at.txn_lsn = m->lsn;
	c->at.txn_changes = 0;
}

static void commit(struct changes *c, const struct pgoutput *m)
{
	c->in_txn = false;
	if (m->end_lsn > c->at.lsn)
		c->at.lsn = m->end_lsn;
	c->at.txn_lsn = c->at.txn_changes = 0;
}

static int take_change(struct changes *c, const struct pgoutput *m, struct error *e)
{
	if (m->relation != c->relation)
		return 0;
	if (c->skip) {
		c->skip--;
		return 0;
	}
	if (put_change(c, m, e) < 0)
		return -1;
	c->at.txn_changes++;
	return 0;
}

static int take_truncate(struct changes *c, const struct pgoutput *m, struct error *e)
{
	bool ours = false;

	for (size_t i = 0; i < m->truncated_len; i++)
		ours |= m->truncated[i] == c->relation;
	if (!ours || c->skip)
		return 0;
	error_set(e, ERROR_DATA,
		"%s: the table was truncated, and that doesn't tell which rows it had",
		c->in.table.name);
	return error_hint(e, "begin anew, with another slot and without the checkpoints so far; "
			     "delete from tells its rows");
}

static int take_message(struct changes *c, const struct pgoutput *m, struct error *e)
{
	switch (m->kind) {
	case PGOUTPUT_BEGIN: begin(c, m); return 0;
	case PGOUTPUT_COMMIT: commit(c, m); return 0;
	case PGOUTPUT_RELATION: return m->relation == c->relation ? take_relation(c, m, e) : 0;
	case PGOUTPUT_INSERT:
	case PGOUTPUT_UPDATE:
	case PGOUTPUT_DELETE: return take_change(c, m, e);
	case PGOUTPUT_TRUNCATE: return take_truncate(c, m, e);
	case PGOUTPUT_OTHER: return 0;
	}
	MUST(!"a message");
}

static int take_piece(struct changes *c, const uint8_t *bytes, size_t len, struct error *e)
{
	struct pgoutput_envelope envelope;

	if (pgoutput_parse_envelope(bytes, len, &envelope, e) < 0)
		return -1;
	c->bytes += len;
	if (envelope.end_lsn > c->received_lsn)
		c->received_lsn = envelope.end_lsn;
	c->must_tell |= envelope.wants_answer;
	if (envelope.has_message) {
		if (pgoutput_parse(envelope.message, envelope.message_len, &c->message, e) < 0)
			return -1;
		return take_message(c, &c->message, e);
	}
	/* Nothing that was committed before it is still to come: what others write moves the slot
	 * on. */
	if (!c->in_txn && envelope.end_lsn > c->at.lsn)
		c->at.lsn = envelope.end_lsn;
	return 0;
}

/* ---- the connection ---- */

void changes_close(struct changes *c)
{
	postgres_close(c->wal);
	c->wal = NULL;
	c->is_streaming = c->in_txn = false;
	mem_free(c->fields); /* the server tells them again */
	c->fields = NULL;
}

static int start_stream(struct changes *c, struct error *e)
{
	struct buf sql = BUF_INIT, list = BUF_INIT;
	int status;

	if (!c->wal && postgres_input_connect(&c->in, c->base.stage, true, &c->wal, e) < 0)
		return -1;
	/* Who is held up by those behind it doesn't answer for a while. */
	if (postgres_run(c->wal, "set wal_sender_timeout = '5min'", NULL, e) < 0)
		return -1;
	buf_put_text(&sql, "START_REPLICATION SLOT ");
	postgres_put_name(&sql, c->slot);
	buf_printf(&sql, " LOGICAL " LSN_FORMAT " (proto_version '1', publication_names ",
		LSN_ARGUMENTS(c->at.lsn));
	postgres_put_name(&list, c->publication);
	postgres_put_literal(&sql, buf_cstr(&list));
	buf_put_text(&sql, ")");
	status = postgres_run(c->wal, buf_cstr(&sql), NULL, e);
	buf_clear(&sql);
	buf_clear(&list);
	return status;
}

/* Whether it is worth another try, later. */
static bool may_retry(const struct changes *c, const struct error *e)
{
	bool in_use = c->wal && strcmp(postgres_state(c->wal), "55006") == 0;

	if (e->code != ERROR_IO || c->slot_temporary)
		return false;
	return !in_use || clock_mono_us() - c->failing_since_us < IN_USE_US;
}

/* A connection that failed: 1 if it is tried again, else -1. */
static int fail(struct changes *c, struct error *e)
{
	int64_t now = clock_mono_us();

	if (!c->failing_since_us)
		c->failing_since_us = now;
	if (!may_retry(c, e)) {
		if (c->slot_temporary)
			error_hint(
				e, "the temporary slot went with the connection; slot=NAME stays");
		return -1;
	}
	stage_warn(c->base.stage, "%s; trying again", e->text);
	error_clear(e);
	changes_close(c);
	c->retry_us = !c->retry_us                     ? RETRY_FIRST_US
		      : c->retry_us > RETRY_MAX_US / 2 ? RETRY_MAX_US
						       : c->retry_us * 2;
	c->retry_at_us = now + c->retry_us;
	return 1;
}

int changes_open(struct changes *c, struct error *e)
{
	if (c->is_streaming)
		return 0;
	if (clock_mono_us() < c->retry_at_us)
		return 1;
	if (start_stream(c, e) < 0)
		return fail(c, e);
	c->is_streaming = true;
	c->failing_since_us = c->retry_us = c->retry_at_us = 0;
	c->told_us = 0;
	c->told_lsn = 0;
	return 0;
}

static int send_status(struct changes *c, uint64_t flushed_lsn, struct error *e)
{
	struct pgoutput_status status = {.received_lsn = c->received_lsn,
		.flushed_lsn = flushed_lsn,
		.now_us = clock_wall_us()};
	uint8_t bytes[PGOUTPUT_STATUS_BYTES];

	if (status.received_lsn < flushed_lsn)
		status.received_lsn = flushed_lsn;
	pgoutput_put_status(&status, bytes);
	return postgres_put_copy(c->wal, bytes, sizeof bytes, e);
}

/* A server that shuts down waits for its readers to have flushed all of its log, or, of those that
 * say nothing of that, to have received it.  So a position is said once, and then nothing of it. */
int changes_tell(struct changes *c, bool now, struct error *e)
{
	int64_t mono_us = clock_mono_us();
	uint64_t flushed_lsn = c->slot_temporary ? c->at.lsn : c->confirmed_lsn;

	if (!c->is_streaming ||
		(!now && !c->must_tell && c->told_us && mono_us - c->told_us < TELL_US))
		return 0;
	if ((flushed_lsn != c->told_lsn && send_status(c, flushed_lsn, e) < 0) ||
		send_status(c, 0, e) < 0)
		return fail(c, e) < 0 ? -1 : 0;
	c->told_lsn = flushed_lsn;
	c->told_us = mono_us;
	c->must_tell = false;
	return 0;
}

/* The server has ended the stream by itself: it is shutting down. */
static int stream_over(struct changes *c, struct error *e)
{
	error_set(
		e, ERROR_IO, "%s: the server has ended the change stream", postgres_server(c->wal));
	return fail(c, e);
}

/* An update counts as one. */
static bool is_at_limit(const struct changes *c)
{
	return c->o->limit >= 0 &&
	       c->clockwork.rows + c->batch.columns[0].rows >= (uint64_t)c->o->limit;
}

/* At the limit: the transaction is over if nothing but its commit is left of it, so that the slot
 * can move on behind it. */
static int end_transaction(struct changes *c, struct error *e)
{
	while (c->in_txn) {
		struct pgoutput_envelope envelope;
		const uint8_t *bytes;
		size_t len;

		if (postgres_take_copy(c->wal, true, &bytes, &len, e) ||
			pgoutput_parse_envelope(bytes, len, &envelope, e) < 0)
			return e->code ? -1 : 0;
		if (!envelope.has_message)
			continue;
		if (pgoutput_parse(envelope.message, envelope.message_len, &c->message, e) < 0)
			return -1;
		if (c->message.kind == PGOUTPUT_COMMIT)
			commit(c, &c->message);
		else if (c->message.kind != PGOUTPUT_OTHER && c->message.relation == c->relation)
			return 0;
	}
	return 0;
}

int changes_fill(struct changes *c, struct error *e)
{
	uint32_t rows_max = c->o->rate ? clockwork_rows_max(&c->clockwork) : BATCH_ROWS;

	while (!batch_builder_is_full(&c->batch) && !is_at_limit(c) &&
		c->batch.columns[0].rows < rows_max &&
		c->batch.columns[0].rows + PAIR_ROWS <= BATCH_ROWS) {
		const uint8_t *bytes;
		size_t len;
		int status = postgres_take_copy(c->wal, false, &bytes, &len, e);

		if (status < 0)
			return fail(c, e) < 0 ? -1 : 2;
		if (status == 1)
			return stream_over(c, e) < 0 ? -1 : 2;
		if (status == 2)
			return 2;
		if (take_piece(c, bytes, len, e) < 0)
			return -1;
	}
	if (!is_at_limit(c))
		return 0;
	return end_transaction(c, e) < 0 ? -1 : 1;
}
