/* How a change stream begins, and where it goes on. */
#include "cmd/ssource/connected/postgres_changes.h"

#include "formats/records.h"
#include "libcore/base/memory.h"
#include "libcore/base/number.h"

#include <stdio.h>
#include <unistd.h>

enum { JOB_DIGITS = 16 };

/* ---- the schema ---- */

static const char *const meta_names[] = {"lsn", "commit_time", "xid", "op", NULL};

static struct type meta_type(enum meta_kind kind)
{
	switch (kind) {
	case META_LSN:
	case META_XID: return TYPE_OF(TYPE_INT);
	case META_COMMIT_TIME: return TYPE_OF(TYPE_TIMESTAMP);
	case META_OP: break;
	}
	return TYPE_OF(TYPE_STRING);
}

static int meta_kind_of(const struct wanted_column *w, struct error *e)
{
	for (int i = 0; meta_names[i]; i++) {
		if (w->path_len == 1 && !w->type.kind && strcmp(w->path[0], meta_names[i]) == 0)
			return i;
	}
	return error_set(e, ERROR_USAGE,
		"--meta: '%s'; there are lsn, commit_time, xid, op, each perhaps with 'as NAME'",
		w->path[0]);
}

static int add_meta(struct changes *c, const struct wanted_column *w, struct error *e)
{
	int kind = meta_kind_of(w, e);

	if (kind < 0)
		return -1;
	if (schema_find(&c->schema, w->name, strlen(w->name)) >= 0)
		return error_set(e, ERROR_USAGE, "--meta: %s stands there twice", w->name);
	if (c->metas_len == META_COLUMNS_MAX)
		return error_set(e, ERROR_USAGE, "--meta: more than %d columns", META_COLUMNS_MAX);
	schema_add(&c->schema, w->name, strlen(w->name), meta_type((enum meta_kind)kind));
	c->metas[c->metas_len++] = (enum meta_kind)kind;
	return 0;
}

static int add_metas(struct changes *c, struct error *e)
{
	struct arena arena = ARENA_INIT;
	struct schema_spec spec;
	int status = 0;

	if (!c->o->meta)
		return 0;
	if (schema_spec_parse(c->o->meta, &arena, &spec, e) < 0)
		status = error_context(e, "--meta");
	for (size_t i = 0; status == 0 && i < spec.len; i++)
		status = add_meta(c, &spec.columns[i], e);
	arena_clear(&arena);
	return status;
}

bool changes_is_changelog(const struct changes *c)
{
	return !c->appends && !c->o->meta;
}

/* The primary key, if all of it is taken. */
static void set_keys(struct changes *c)
{
	int keys[SCHEMA_FIELDS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < c->plan.keys_len; i++) {
		size_t column = 0;

		while (column < c->plan.len &&
			strcmp(c->plan.columns[column].from, c->plan.keys[i]) != 0)
			column++;
		if (column == c->plan.len)
			return;
		keys[n++] = (int)(c->metas_len + column);
	}
	if (changes_is_changelog(c))
		schema_set_keys(&c->schema, keys, n);
}

/* --meta's columns, then the table's: so that those it gets later stand at the end. */
static int make_schema(struct changes *c, struct error *e)
{
	if (!c->schema.fields_len && add_metas(c, e) < 0)
		return -1;
	for (size_t i = c->schema.fields_len - c->metas_len; i < c->plan.len; i++) {
		const struct field *f = &c->plan.schema.fields[i];

		if (schema_find(&c->schema, f->name, strlen(f->name)) >= 0)
			return error_set(e, ERROR_USAGE,
				"--meta: the table has a column %s; say '... as other'", f->name);
		schema_add_field(&c->schema, f);
	}
	return 0;
}

static int check_time(const struct changes *c, struct error *e)
{
	if (!c->o->time_column || !changes_is_changelog(c))
		return 0;
	error_set(e, ERROR_USAGE,
		"-t: rows of a changelog are taken back long after their time, so they have none");
	return error_hint(e, "rows that are only ever inserted have: make a publication with "
			     "(publish = 'insert'); or take the log of changes: --meta 'op'");
}

int changes_declare(struct changes *c, struct error *e)
{
	if (c->has_batch)
		batch_builder_clear(&c->batch);
	c->has_batch = false;
	if (make_schema(c, e) < 0 || check_time(c, e) < 0)
		return -1;
	c->schema.changelog = changes_is_changelog(c);
	set_keys(c);
	if (clockwork_set_schema(&c->clockwork, &c->schema, e) < 0 ||
		stage_declare(c->base.stage, 0, &c->schema, e) < 0)
		return -1;
	batch_builder_init(&c->batch, &c->schema);
	c->has_batch = true;
	return 0;
}

/* ---- the table ---- */

static int load_keys(struct changes *c, struct error *e)
{
	static const char sql[] =
		"select a.attname from pg_catalog.pg_index i"
		" cross join lateral unnest(i.indkey) with ordinality k(number, n)"
		" join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number"
		" where i.indrelid = $1::oid and i.indisprimary order by k.n";
	const char *value = c->oid;
	PGresult *r;

	if (postgres_run_with(c->db, sql, &value, 1, false, &r, e) < 0)
		return -1;
	for (int i = 0; i < PQntuples(r); i++)
		postgres_plan_set_key(&c->plan, (size_t)i, PQgetvalue(r, i, 0));
	PQclear(r);
	return 0;
}

/* Those that are published: generated ones aren't. */
static int load_columns(struct changes *c, const struct publication *pub, struct error *e)
{
	static const char sql[] =
		"select attname, atttypid, atttypmod from pg_catalog.pg_attribute"
		" where attrelid = $1::oid and attnum > 0 and not attisdropped"
		" and attgenerated = '' and ($2::text is null or attname = any($2::name[]))"
		" order by attnum";
	const char *values[] = {c->oid, pub->columns};
	struct arena arena = ARENA_INIT;
	struct postgres_column *columns;
	PGresult *r;
	int status, n;

	if (postgres_run_with(c->db, sql, values, 2, false, &r, e) < 0)
		return -1;
	n = PQntuples(r);
	columns = ARENA_ARRAY(&arena, struct postgres_column, n + 1);
	for (int i = 0; i < n; i++) {
		uint64_t oid = 0;
		int64_t modifier = -1;

		uint_parse(PQgetvalue(r, i, 1), strlen(PQgetvalue(r, i, 1)), &oid);
		int_parse(PQgetvalue(r, i, 2), strlen(PQgetvalue(r, i, 2)), &modifier);
		columns[i] = (struct postgres_column){.name = PQgetvalue(r, i, 0),
			.type = {.oid = (uint32_t)oid, .modifier = (int32_t)modifier}};
	}
	status = n ? postgres_resolve(c->db, columns, (size_t)n, e)
		   : error_set(e, ERROR_USAGE, "%s: the table has no columns",
			     postgres_server(c->db));
	if (status == 0)
		status = postgres_plan_choose(
			&c->plan, columns, (size_t)n, c->o->records.schema_text, e);
	PQclear(r);
	arena_clear(&arena);
	return status < 0 ? -1 : load_keys(c, e);
}

static int check_server(struct changes *c, struct error *e)
{
	char *level;
	bool good;

	if (postgres_ask(c->db, "show wal_level", NULL, 0, &level, e) < 0)
		return -1;
	good = level && strcmp(level, "logical") == 0;
	mem_free(level);
	if (good)
		return 0;
	error_set(e, ERROR_USAGE, "%s: wal_level isn't logical, so changes can't be followed",
		postgres_server(c->db));
	return error_hint(e, "alter system set wal_level = logical, and restart the server");
}

static int find_table(struct changes *c, struct postgres_relation *out, struct error *e)
{
	uint64_t oid = 0;

	if (postgres_find_table(c->db, &c->in.table, out, e) < 0)
		return -1;
	if (out->kind != 'r' && out->kind != 'p')
		return error_set(e, ERROR_USAGE,
			"%s: %s is no table, so it has no changes to follow",
			postgres_server(c->db), out->name);
	uint_parse(out->oid, strlen(out->oid), &oid);
	if (c->is_restored && (uint32_t)oid != c->relation)
		return error_set(e, ERROR_STATE,
			"%s: the table %s was made anew since the checkpoint",
			postgres_server(c->db), out->name);
	c->relation = (uint32_t)oid;
	mem_free(c->oid);
	c->oid = mem_strdup(out->oid);
	return 0;
}

/* ---- slots ---- */

static bool is_alone(const struct changes *c)
{
	return !*stage_job(c->base.stage);
}

/* The job's own name of a slot that no checkpoint holds yet. */
static char *name_made(const struct changes *c)
{
	if (is_alone(c))
		return mem_printf("%s_%ld", c->in.slot ? c->in.slot : "runnel", (long)getpid());
	return mem_printf("%s_%.*s", c->in.slot, JOB_DIGITS, stage_job(c->base.stage));
}

static int slot_exists_already(struct changes *c, struct error *e)
{
	error_set(e, ERROR_USAGE, "%s: the slot %s is there already, and %s",
		postgres_server(c->db), c->in.slot,
		is_alone(c) ? "has no first rows" : "this job has no checkpoint of it");
	return error_hint(e,
		"go on from where it stands: --snapshot no; or drop it: select "
		"pg_drop_replication_slot('%s')",
		c->in.slot);
}

/* A slot that is there is gone on from: alone in a shell that is what it is for, a job is told so.
 */
static int adopt_slot(struct changes *c, const struct slot_facts *facts, struct error *e)
{
	bool wants_rows = c->o->snapshot == SOURCE_SNAPSHOT_YES ||
			  (!is_alone(c) && c->o->snapshot != SOURCE_SNAPSHOT_NO);

	if (wants_rows)
		return slot_exists_already(c, e);
	if (facts->is_lost)
		return error_set(e, ERROR_DATA,
			"%s: the slot %s has lost its place: the server has thrown away the log "
			"behind "
			"it (max_slot_wal_keep_size)",
			postgres_server(c->db), c->in.slot);
	c->slot = mem_strdup(c->in.slot);
	c->at.lsn = c->confirmed_lsn = facts->confirmed_lsn;
	return 0;
}

/* A new slot, and a view of the table where it begins.  0. */
static int make_slot(struct changes *c, struct error *e)
{
	bool wants_rows = c->o->snapshot != SOURCE_SNAPSHOT_NO;
	struct buf sql = BUF_INIT;
	char *snapshot = NULL;
	int status;

	c->slot = name_made(c);
	c->slot_made = c->in.slot != NULL;
	c->slot_temporary = is_alone(c);
	if (slot_drop(c->db, c->slot, e) < 0 ||
		postgres_input_connect(&c->in, c->base.stage, true, &c->wal, e) < 0 ||
		slot_create(c->wal, c->slot, c->slot_temporary, wants_rows ? &snapshot : NULL,
			&c->at.lsn, e) < 0)
		return -1;
	c->confirmed_lsn = c->at.lsn;
	if (!wants_rows)
		return 0;
	buf_put_text(&sql, "begin isolation level repeatable read, read only; set transaction "
			   "snapshot ");
	postgres_put_literal(&sql, snapshot);
	status = postgres_run(c->db, buf_cstr(&sql), NULL, e);
	buf_clear(&sql);
	mem_free(snapshot);
	return status;
}

/* ---- the first rows ---- */

static int start_rows(struct changes *c, const struct postgres_relation *table, const char *filter,
	struct error *e)
{
	static const char now[] = "select (extract(epoch from now()) * 1000000)::bigint";
	struct buf sql = BUF_INIT;
	char *text;
	int status;

	if (postgres_ask(c->db, now, NULL, 0, &text, e) < 0)
		return -1;
	if (text)
		int_parse(text, strlen(text), &c->rows_time_us);
	mem_free(text);
	c->codecs = mem_zero(c->plan.len * sizeof *c->codecs);
	for (size_t i = 0; i < c->plan.len; i++)
		c->codecs[i] = c->plan.columns[i].codec;
	c->copy = (struct postgres_copy){.codecs = c->codecs,
		.schema = &c->plan.schema,
		.columns_len = c->plan.len,
		.required = c->clockwork.time_column - (int)c->metas_len};
	buf_put_text(&sql, "copy (select ");
	postgres_plan_put_select(&c->plan, &sql);
	/* Those that inherit from a table are published as themselves. */
	buf_put_text(&sql, table->kind == 'r' ? " from only " : " from ");
	postgres_put_name(&sql, table->schema);
	buf_put_byte(&sql, '.');
	postgres_put_name(&sql, table->name);
	if (filter)
		buf_printf(&sql, " where %s", filter);
	buf_put_text(&sql, ") to stdout (format binary)");
	status = postgres_run(c->db, buf_cstr(&sql), NULL, e);
	buf_clear(&sql);
	c->phase = CHANGES_ROWS;
	return status;
}

/* ---- starting ---- */

static char *name_publication(const struct changes *c)
{
	if (c->in.publication)
		return mem_strdup(c->in.publication);
	if (c->in.slot)
		return mem_strdup(c->in.slot);
	return mem_printf("runnel_%.*s", POSTGRES_NAME_MAX - 7, c->in.table.name);
}

static int start_fresh(struct changes *c, const struct postgres_relation *table, struct error *e)
{
	struct publication pub = {.filter = NULL};
	struct slot_facts facts = {.exists = false};
	int status = -1;

	c->publication = name_publication(c);
	if (check_server(c, e) < 0 ||
		publication_settle(c->db, table, c->publication, !c->in.publication, &pub, e) < 0)
		goto out;
	c->appends = pub.appends;
	/* Whatever can be wrong is found before there is a slot, which would hold the log back. */
	if ((!c->appends && identity_check(c->db, table, e) < 0) || load_columns(c, &pub, e) < 0 ||
		changes_declare(c, e) < 0 ||
		(c->in.slot && slot_look(c->db, c->in.slot, &facts, e) < 0) ||
		(facts.exists ? adopt_slot(c, &facts, e) : make_slot(c, e)) < 0)
		goto out;
	c->phase = CHANGES_STREAM;
	status = 0;
	if (!facts.exists && c->o->snapshot != SOURCE_SNAPSHOT_NO)
		status = start_rows(c, table, pub.filter, e);
out:
	publication_clear(&pub);
	return status;
}

/* Whether the slot still has all that comes behind the checkpoint. */
static int start_again(struct changes *c, struct error *e)
{
	struct slot_facts facts;

	c->slot = mem_strdup(c->in.slot);
	if (slot_look(c->db, c->slot, &facts, e) < 0)
		return -1;
	if (!facts.exists)
		return error_set(e, ERROR_STATE,
			"%s: the slot %s is gone, and with it what has changed since the "
			"checkpoint",
			postgres_server(c->db), c->slot);
	if (facts.is_lost)
		return error_set(e, ERROR_STATE,
			"%s: the slot %s has lost its place: the server has thrown away the log "
			"behind "
			"it (max_slot_wal_keep_size)",
			postgres_server(c->db), c->slot);
	if (facts.confirmed_lsn > c->at.lsn)
		return error_set(e, ERROR_STATE,
			"%s: the slot %s has been moved on to " LSN_FORMAT
			", past the checkpoint's " LSN_FORMAT ": what changed between is gone",
			postgres_server(c->db), c->slot, LSN_ARGUMENTS(facts.confirmed_lsn),
			LSN_ARGUMENTS(c->at.lsn));
	c->phase = CHANGES_STREAM;
	return changes_declare(c, e);
}

int changes_start(struct changes *c, struct error *e)
{
	struct postgres_relation table = {.oid = NULL};
	int status = -1;

	if (postgres_input_connect(&c->in, c->base.stage, false, &c->db, e) < 0)
		return -1;
	if (find_table(c, &table, e) == 0)
		status = c->is_restored ? start_again(c, e) : start_fresh(c, &table, e);
	postgres_relation_clear(&table);
	if (status == 0 && c->phase == CHANGES_STREAM) {
		postgres_close(c->db);
		c->db = NULL;
	}
	return status;
}

int changes_name_slot(struct changes *c, const char *made, struct error *e)
{
	struct slot_facts facts;
	struct postgres *db;
	int status = -1;

	if (postgres_input_connect(&c->in, c->base.stage, false, &db, e) < 0)
		return -1;
	if (slot_look(db, made, &facts, e) < 0)
		goto out;
	if (facts.exists) {
		if (slot_copy(db, made, c->in.slot, e) < 0)
			goto out;
		changes_close(c);
		if (slot_drop(db, made, e) < 0)
			goto out;
	}
	c->slot_made = c->slot_temporary = false;
	mem_free(c->slot);
	c->slot = mem_strdup(c->in.slot);
	status = 0;
out:
	postgres_close(db);
	return status;
}
