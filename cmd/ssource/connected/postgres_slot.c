#include "cmd/ssource/connected/postgres_slot.h"

#include "connect/heavy/postgres_pgoutput.h"
#include "libcore/base/clock.h"
#include "libcore/base/memory.h"
#include "libcore/base/number.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
	RELEASE_US = 30000000, /* a reader whose process was killed is gone in a moment */
	CONFIRM_US = 5000000,
	VERSION_MIN = 120000,
	VERSION_LISTS = 150000, /* publications have filters and lists of columns */
	VERSION_ROOT = 130000,
};

static const char in_use[] = "55006";

int slot_check_name(const char *name, struct error *e)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

	if (n && !name[n] && n <= SLOT_NAME_MAX)
		return 0;
	return error_set(e, ERROR_USAGE,
		"slot '%s': up to %d small letters, digits and underscores", name, SLOT_NAME_MAX);
}

static const char *field(const PGresult *r, int column)
{
	return PQgetisnull(r, 0, column) ? NULL : PQgetvalue(r, 0, column);
}

int slot_look(struct postgres *db, const char *name, struct slot_facts *out, struct error *e)
{
	static const char old[] = "select slot_type, plugin, database = current_database(),"
				  " active_pid, confirmed_flush_lsn, null"
				  " from pg_catalog.pg_replication_slots where slot_name = $1";
	static const char new[] = "select slot_type, plugin, database = current_database(),"
				  " active_pid, confirmed_flush_lsn, wal_status"
				  " from pg_catalog.pg_replication_slots where slot_name = $1";
	const char *type, *plugin, *here, *pid, *lsn, *wal;
	PGresult *r;
	int status = 0;

	*out = (struct slot_facts){.exists = false};
	if (postgres_run_with(db, postgres_version(db) >= VERSION_ROOT ? new : old, &name, 1, false,
		    &r, e) < 0)
		return -1;
	if (!PQntuples(r))
		goto out;
	out->exists = true;
	type = field(r, 0), plugin = field(r, 1), here = field(r, 2);
	pid = field(r, 3), lsn = field(r, 4), wal = field(r, 5);
	out->is_lost = wal && strcmp(wal, "lost") == 0;
	if (pid)
		int_parse(pid, strlen(pid), &out->pid);
	if (lsn)
		pgoutput_parse_lsn(lsn, &out->confirmed_lsn);
	if (strcmp(type, "logical") != 0 || !plugin || strcmp(plugin, "pgoutput") != 0)
		status = error_set(e, ERROR_USAGE,
			"%s: the slot %s is %s%s, and a change stream needs one of pgoutput",
			postgres_server(db), name, type,
			plugin && strcmp(plugin, "pgoutput") ? " of another plugin" : "");
	else if (!here || *here != 't')
		status = error_set(e, ERROR_USAGE, "%s: the slot %s belongs to another database",
			postgres_server(db), name);
out:
	PQclear(r);
	return status;
}

int slot_create(struct postgres *wal, const char *name, bool temporary, char **snapshot,
	uint64_t *lsn, struct error *e)
{
	struct buf sql = BUF_INIT;
	PGresult *r;
	int status;

	buf_put_text(&sql, "CREATE_REPLICATION_SLOT ");
	postgres_put_name(&sql, name);
	buf_printf(&sql, "%s LOGICAL pgoutput %s", temporary ? " TEMPORARY" : "",
		snapshot ? "EXPORT_SNAPSHOT" : "NOEXPORT_SNAPSHOT");
	status = postgres_run(wal, buf_cstr(&sql), &r, e);
	buf_clear(&sql);
	if (status < 0)
		return error_context(e, "slot %s can't be made", name);
	if (PQntuples(r) != 1 || PQnfields(r) < 3 ||
		pgoutput_parse_lsn(PQgetvalue(r, 0, 1), lsn) < 0)
		status = error_set(e, ERROR_DATA, "%s: CREATE_REPLICATION_SLOT gave no position",
			postgres_server(wal));
	else if (snapshot)
		*snapshot = mem_strdup(PQgetvalue(r, 0, 2));
	PQclear(r);
	return status;
}

/* Again while somebody has it who is about to go. */
static int run_when_free(
	struct postgres *db, const char *sql, const char *const *values, size_t n, struct error *e)
{
	int64_t until_us = clock_mono_us() + RELEASE_US;

	for (;;) {
		if (postgres_run_with(db, sql, values, n, false, NULL, e) == 0)
			return 0;
		if (strcmp(postgres_state(db), in_use) != 0 || clock_mono_us() > until_us)
			return -1;
		error_clear(e);
		if (postgres_pause(db, POSTGRES_SLICE_MS, e) < 0)
			return -1;
	}
}

int slot_drop(struct postgres *db, const char *name, struct error *e)
{
	return run_when_free(db,
		"select pg_catalog.pg_drop_replication_slot(slot_name)"
		" from pg_catalog.pg_replication_slots where slot_name = $1",
		&name, 1, e);
}

int slot_copy(struct postgres *db, const char *from, const char *to, struct error *e)
{
	const char *values[] = {from, to};
	struct slot_facts there;

	if (slot_look(db, to, &there, e) < 0)
		return -1;
	if (there.exists)
		return 0;
	if (run_when_free(db, "select pg_catalog.pg_copy_logical_replication_slot($1, $2, false)",
		    values, 2, e) < 0)
		return error_context(e, "slot %s can't be made", to);
	return 0;
}

int slot_await(struct postgres *db, const char *name, uint64_t lsn, struct error *e)
{
	int64_t until_us = clock_mono_us() + CONFIRM_US;
	struct slot_facts facts;

	for (;;) {
		if (slot_look(db, name, &facts, e) < 0)
			return -1;
		if (!facts.exists || facts.confirmed_lsn >= lsn || clock_mono_us() > until_us)
			return 0;
		if (postgres_pause(db, 10, e) < 0)
			return -1;
	}
}

/* ---- publications ---- */

static void put_table(const struct postgres_relation *t, struct buf *out)
{
	postgres_put_name(out, t->schema);
	buf_put_byte(out, '.');
	postgres_put_name(out, t->name);
}

static void put_make(const struct postgres_relation *table, const char *name, struct buf *sql)
{
	buf_put_text(sql, "create publication ");
	postgres_put_name(sql, name);
	buf_put_text(sql, " for table ");
	put_table(table, sql);
	if (table->kind == 'p')
		buf_put_text(sql, " with (publish_via_partition_root = true)");
}

static int make_publication(struct postgres *db, const struct postgres_relation *table,
	const char *name, bool may_make, struct error *e)
{
	struct buf sql = BUF_INIT;
	int status;

	put_make(table, name, &sql);
	status = may_make ? postgres_run(db, buf_cstr(&sql), NULL, e)
			  : error_set(e, ERROR_USAGE, "%s: there is no publication %s",
				    postgres_server(db), name);
	if (status < 0)
		error_hint(e, "who owns the table makes it: %s", buf_cstr(&sql));
	buf_clear(&sql);
	return status;
}

/* t or f of the publication's row. */
static bool is_true(const PGresult *r, int column)
{
	const char *text = field(r, column);

	return text && *text == 't';
}

enum { PUB_INSERT, PUB_UPDATE, PUB_DELETE, PUB_TRUNCATE, PUB_ROOT };

static int check_published(struct postgres *db, const struct postgres_relation *table,
	const char *name, const PGresult *r, struct publication *out, struct error *e)
{
	struct buf quoted = BUF_INIT;

	out->appends = is_true(r, PUB_INSERT) && !is_true(r, PUB_UPDATE) && !is_true(r, PUB_DELETE);
	postgres_put_name(&quoted, name);
	if (table->kind == 'p' && !is_true(r, PUB_ROOT)) {
		error_set(e, ERROR_USAGE,
			"%s: the table is partitioned, and %s publishes its partitions instead",
			postgres_server(db), name);
		error_hint(e, "alter publication %s set (publish_via_partition_root = true)",
			buf_cstr(&quoted));
	} else if (!out->appends && !(is_true(r, PUB_INSERT) && is_true(r, PUB_UPDATE) &&
					    is_true(r, PUB_DELETE) && is_true(r, PUB_TRUNCATE))) {
		error_set(e, ERROR_USAGE, "%s: the publication %s leaves out some of the changes",
			postgres_server(db), name);
		error_hint(e,
			"all of them: alter publication %s set (publish = 'insert, update, delete, "
			"truncate'); or inserts only: publish = 'insert'",
			buf_cstr(&quoted));
	}
	buf_clear(&quoted);
	return e->code ? -1 : 0;
}

/* Whether the table is in it, and which rows and columns. */
static int look_at_table(struct postgres *db, const struct postgres_relation *table,
	const char *name, struct publication *out, struct error *e)
{
	static const char old[] = "select null, null from pg_catalog.pg_publication_tables"
				  " where pubname = $1 and schemaname = $2 and tablename = $3";
	static const char new[] = "select rowfilter, attnames::text"
				  " from pg_catalog.pg_publication_tables"
				  " where pubname = $1 and schemaname = $2 and tablename = $3";
	const char *values[] = {name, table->schema, table->name};
	struct buf sql = BUF_INIT;
	PGresult *r;
	int status = 0;

	if (postgres_run_with(db, postgres_version(db) >= VERSION_LISTS ? new : old, values, 3,
		    false, &r, e) < 0)
		return -1;
	if (PQntuples(r)) {
		out->filter = field(r, 0) ? mem_strdup(field(r, 0)) : NULL;
		out->columns = field(r, 1) ? mem_strdup(field(r, 1)) : NULL;
	} else {
		put_table(table, &sql);
		status = error_set(e, ERROR_USAGE, "%s: %s isn't in the publication %s",
			postgres_server(db), table->name, name);
		error_hint(e, "alter publication %s add table %s", name, buf_cstr(&sql));
		buf_clear(&sql);
	}
	PQclear(r);
	return status;
}

int publication_settle(struct postgres *db, const struct postgres_relation *table, const char *name,
	bool may_make, struct publication *out, struct error *e)
{
	static const char old[] = "select pubinsert, pubupdate, pubdelete, pubtruncate, false"
				  " from pg_catalog.pg_publication where pubname = $1";
	static const char new[] = "select pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot"
				  " from pg_catalog.pg_publication where pubname = $1";
	const char *sql = postgres_version(db) >= VERSION_ROOT ? new : old;
	PGresult *r;
	int status = 0;

	*out = (struct publication){.filter = NULL};
	if (postgres_version(db) < VERSION_MIN)
		return error_set(e, ERROR_USAGE, "%s: changes are followed from PostgreSQL 12 on",
			postgres_server(db));
	if (postgres_run_with(db, sql, &name, 1, false, &r, e) < 0)
		return -1;
	if (!PQntuples(r)) {
		PQclear(r);
		if (make_publication(db, table, name, may_make, e) < 0 ||
			postgres_run_with(db, sql, &name, 1, false, &r, e) < 0)
			return -1;
	}
	if (PQntuples(r))
		status = check_published(db, table, name, r, out, e);
	PQclear(r);
	return status < 0 ? -1 : look_at_table(db, table, name, out, e);
}

void publication_clear(struct publication *p)
{
	mem_free(p->filter);
	mem_free(p->columns);
	*p = (struct publication){.filter = NULL};
}

int identity_check(struct postgres *db, const struct postgres_relation *table, struct error *e)
{
	/* A partitioned table's identity counts for nothing: its leaves' does. */
	static const char sql[] = "select n.nspname, c.relname from pg_catalog.pg_class c"
				  " join pg_catalog.pg_namespace n on n.oid = c.relnamespace where "
				  "c.relreplident <> 'f'"
				  " and c.oid in (select $1::oid where $2 <> 'p' union all"
				  " select relid from pg_catalog.pg_partition_tree($1::oid) where "
				  "isleaf and $2 = 'p')"
				  " limit 1";
	char kind[] = {table->kind, '\0'};
	const char *values[] = {table->oid, kind};
	struct buf name = BUF_INIT;
	PGresult *r;

	if (postgres_run_with(db, sql, values, 2, false, &r, e) < 0)
		return -1;
	if (PQntuples(r)) {
		postgres_put_name(&name, PQgetvalue(r, 0, 0));
		buf_put_byte(&name, '.');
		postgres_put_name(&name, PQgetvalue(r, 0, 1));
		error_set(e, ERROR_USAGE,
			"%s: updates and deletes of %s don't tell the whole old row, which a "
			"changelog "
			"needs",
			postgres_server(db), PQgetvalue(r, 0, 1));
		error_hint(e, "alter table %s replica identity full", buf_cstr(&name));
	}
	buf_clear(&name);
	PQclear(r);
	return e->code ? -1 : 0;
}
