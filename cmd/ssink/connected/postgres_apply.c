#include "cmd/ssink/connected/postgres_apply.h"

#include "cmd/ssink/connected/postgres_target.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/table/keytable.h"

#include <poll.h>
#include <string.h>

enum {
	/* Rows gathered before a merge: enough that its statements cost nothing, few enough to
	   hold. */
	GATHER_ROWS = 1 << 16,
	GATHER_BYTES = 32 << 20,
	/* How long a server that went away in the middle of a commit is waited for. */
	UUID_TEXT = 36,
	OUTCOME_TRIES = 20,
	OUTCOME_PAUSE_MS = 500,
	CREATE_LOCK =
		0x72756e6e, /* "runn": of those who make tables, which can't wait for each other */
};

/* Rows by key, of which the last of each counts. */
struct gathered {
	struct batch_builder rows;
	struct keytable *keys;
	uint32_t *last; /* of a key's number: the row */
	size_t last_cap;
	size_t bytes;
};

struct apply {
	const struct apply_options *o;
	struct postgres *p;
	bool in_transaction;
	bool copying;
	struct schema schema; /* of the rows that come */
	bool has_schema;
	struct target target;
	struct rows_column *columns;
	struct rows_format format;
	struct buf statement; /* COPY into the table, or into the temporary one */
	struct buf bytes;
	/* With keys: */
	int *key_columns;                 /* of the schema */
	struct rows_column *gone_columns; /* the keys alone */
	struct rows_format gone;
	struct gathered gathered;
	bool has_gathered;
	unsigned temporary; /* number of the temporary tables */
	struct buf gone_statement, delete, insert;
	struct arena arena;
};

struct apply *apply_new(const struct apply_options *o)
{
	struct apply *a = mem_zero(sizeof *a);

	a->o = o;
	schema_init(&a->schema);
	return a;
}

static void forget_gathered(struct apply *a)
{
	if (!a->has_gathered)
		return;
	batch_builder_clear(&a->gathered.rows);
	keytable_free(a->gathered.keys);
	mem_free(a->gathered.last);
	a->gathered = (struct gathered){.keys = NULL};
	a->has_gathered = false;
}

static void forget_schema(struct apply *a)
{
	forget_gathered(a);
	mem_free(a->columns);
	mem_free(a->key_columns);
	mem_free(a->gone_columns);
	a->columns = a->gone_columns = NULL;
	a->key_columns = NULL;
	target_clear(&a->target);
	schema_clear(&a->schema);
	a->has_schema = false;
}

void apply_free(struct apply *a)
{
	if (!a)
		return;
	forget_schema(a);
	postgres_close(a->p);
	buf_clear(&a->statement);
	buf_clear(&a->gone_statement);
	buf_clear(&a->delete);
	buf_clear(&a->insert);
	buf_clear(&a->bytes);
	arena_clear(&a->arena);
	mem_free(a);
}

/* ---- connection and transaction ---- */

struct postgres *apply_connection(struct apply *a)
{
	return a->p;
}

int apply_connect(struct apply *a, struct error *e)
{
	if (a->p && postgres_is_lost(a->p)) {
		postgres_close(a->p);
		a->p = NULL;
	}
	return a->p ? 0 : postgres_open(&a->o->setup, &a->p, e);
}

int apply_begin(struct apply *a, struct error *e)
{
	struct buf sql = BUF_INIT;
	int status;

	MUST(!a->in_transaction);
	buf_printf(&sql, "begin isolation level read committed");
	if (a->o->lock_timeout_ms)
		buf_printf(&sql, "; set local lock_timeout = %d", a->o->lock_timeout_ms);
	status = apply_connect(a, e) < 0 ? -1 : postgres_run(a->p, buf_cstr(&sql), NULL, e);
	buf_clear(&sql);
	if (status == 0)
		a->in_transaction = true;
	return status;
}

void apply_roll_back(struct apply *a)
{
	struct error ignored = ERROR_INIT;

	forget_schema(a);
	/* A connection in the middle of something is not worth saving. */
	if (a->p && (a->copying || postgres_is_lost(a->p) ||
			    (a->in_transaction &&
				    postgres_run(a->p, "rollback", NULL, &ignored) < 0))) {
		postgres_close(a->p);
		a->p = NULL;
	}
	a->copying = a->in_transaction = false;
}

int apply_commit(struct apply *a, struct error *e)
{
	PGresult *r;
	bool rolled_back;

	if (apply_finish(a, e) < 0)
		return -1;
	if (postgres_run(a->p, "commit", &r, e) < 0)
		return -1;
	rolled_back = !strcmp(PQcmdStatus(r), "ROLLBACK");
	PQclear(r);
	a->in_transaction = false;
	forget_schema(a);
	return rolled_back ? error_set(e, ERROR_IO, "%s: the transaction was rolled back",
				     postgres_server(a->p))
			   : 0;
}

enum outcome { OUTCOME_UNKNOWN, OUTCOME_COMMITTED, OUTCOME_ABORTED };

/* Asks a new connection what became of a transaction. */
static enum outcome ask_outcome(struct apply *a, const char *id)
{
	enum outcome outcome = OUTCOME_UNKNOWN;
	struct error ignored = ERROR_INIT;
	char *text = NULL;

	if (apply_connect(a, &ignored) == 0 &&
		postgres_ask(a->p, "select txid_status($1::bigint)", &id, 1, &text, &ignored) ==
			0 &&
		text)
		outcome = !strcmp(text, "committed") ? OUTCOME_COMMITTED
			  : !strcmp(text, "aborted") ? OUTCOME_ABORTED
						     : OUTCOME_UNKNOWN;
	mem_free(text);
	return outcome;
}

/* The connection broke between the word to commit and its answer. */
static int learn_outcome(struct apply *a, const char *id, struct error *e)
{
	for (int i = 0; i < OUTCOME_TRIES; i++) {
		poll(NULL, 0, OUTCOME_PAUSE_MS);
		switch (ask_outcome(a, id)) {
		case OUTCOME_COMMITTED: return 0;
		case OUTCOME_ABORTED:
			return error_hint(e, "nothing of the rows has been committed");
		case OUTCOME_UNKNOWN: break;
		}
	}
	return error_hint(e,
		"whether the rows have been committed isn't known; the server tells: "
		"select txid_status(%s)",
		id);
}

int apply_commit_once(struct apply *a, struct error *e)
{
	char *id = NULL;
	int status;

	if (apply_finish(a, e) < 0 ||
		postgres_ask(a->p, "select txid_current_if_assigned()", NULL, 0, &id, e) < 0)
		return -1;
	status = apply_commit(a, e);
	if (status < 0 && id && postgres_is_lost(a->p))
		status = learn_outcome(a, id, e);
	if (status == 0)
		error_clear(e);
	mem_free(id);
	return status;
}

/* ---- what rows become ---- */

static void put_columns(struct buf *out, const struct schema *s, const char *prefix)
{
	for (size_t i = 0; i < s->fields_len; i++) {
		buf_printf(out, "%s%s", i ? ", " : "", prefix);
		postgres_put_name(out, s->fields[i].name);
	}
}

static void put_keys(struct buf *out, const struct apply *a, const char *prefix)
{
	for (size_t k = 0; k < a->o->keys_len; k++) {
		buf_printf(out, "%s%s", k ? ", " : "", prefix);
		postgres_put_name(out, a->o->keys[k]);
	}
}

static void begin_copy_statement(struct buf *out, const char *table)
{
	buf_reset(out);
	buf_printf(out, "copy %s (", table);
}

static void end_copy_statement(struct buf *out, bool is_text)
{
	buf_printf(out, ") from stdin%s", is_text ? "" : " (format binary)");
}

static bool is_key(const struct apply *a, const char *name)
{
	for (size_t k = 0; k < a->o->keys_len; k++) {
		if (!strcmp(a->o->keys[k], name))
			return true;
	}
	return false;
}

static void put_insert(struct apply *a)
{
	struct buf *out = &a->insert;
	bool any = false;

	buf_reset(out);
	buf_printf(out, "insert into %s (", a->target.table);
	put_columns(out, &a->schema, "");
	buf_put_text(out, ") select ");
	put_columns(out, &a->schema, "");
	buf_printf(out, " from pg_temp.runnel_new_%u on conflict (", a->temporary);
	put_keys(out, a, "");
	buf_put_text(out, ") do ");
	for (size_t i = 0; i < a->schema.fields_len; i++) {
		const char *name = a->schema.fields[i].name;

		if (is_key(a, name))
			continue;
		buf_put_text(out, any ? ", " : "update set ");
		postgres_put_name(out, name);
		buf_put_text(out, " = excluded.");
		postgres_put_name(out, name);
		any = true;
	}
	if (!any)
		buf_put_text(out, "nothing");
}

static void put_delete(struct apply *a)
{
	struct buf *out = &a->delete;

	buf_reset(out);
	buf_printf(out, "delete from %s t using pg_temp.runnel_gone_%u g where ", a->target.table,
		a->temporary);
	for (size_t k = 0; k < a->o->keys_len; k++) {
		buf_put_text(out, k ? " and t." : "t.");
		postgres_put_name(out, a->o->keys[k]);
		buf_put_text(out, " = g.");
		postgres_put_name(out, a->o->keys[k]);
	}
}

/* Tables of the transaction alone, with the types of the real one and none of its constraints. */
static int make_temporary(struct apply *a, struct error *e)
{
	struct buf sql = BUF_INIT;
	int status;

	a->temporary++;
	buf_printf(&sql, "create temporary table runnel_new_%u on commit drop as select ",
		a->temporary);
	put_columns(&sql, &a->schema, "");
	buf_printf(&sql,
		" from %s with no data; create temporary table runnel_gone_%u on commit drop as "
		"select ",
		a->target.table, a->temporary);
	put_keys(&sql, a, "");
	buf_printf(&sql, " from %s with no data", a->target.table);
	status = postgres_run(a->p, buf_cstr(&sql), NULL, e);
	buf_clear(&sql);
	return status;
}

static int find_keys(struct apply *a, struct error *e)
{
	size_t n = a->o->keys_len;

	if (target_check_keys(&a->target, a->o->keys, n, e) < 0)
		return -1;
	a->key_columns = mem_alloc(n * sizeof *a->key_columns);
	a->gone_columns = mem_alloc(n * sizeof *a->gone_columns);
	for (size_t k = 0; k < n; k++) {
		a->key_columns[k] = schema_find(&a->schema, a->o->keys[k], strlen(a->o->keys[k]));
		MUST(a->key_columns[k] >= 0);
		a->gone_columns[k] = a->columns[a->key_columns[k]];
		if (a->gone_columns[k].form == POSTGRES_NUMERIC &&
			a->schema.fields[a->key_columns[k]].type.kind == TYPE_STRING)
			return error_set(e, ERROR_USAGE,
				"--upsert: '%s' is text for a numeric, in which equal values may "
				"look "
				"different; cast it to a decimal",
				a->o->keys[k]);
	}
	a->gone = (struct rows_format){a->gone_columns, n, a->format.is_text};
	return keys_check(&a->schema, a->key_columns, n, e) < 0 ? error_context(e, "--upsert") : 0;
}

static void begin_gathering(struct apply *a)
{
	struct type *types = mem_alloc(a->o->keys_len * sizeof *types);

	for (size_t k = 0; k < a->o->keys_len; k++)
		types[k] = a->schema.fields[a->key_columns[k]].type;
	batch_builder_init(&a->gathered.rows, &a->schema);
	a->gathered.keys = keytable_new(types, a->o->keys_len);
	a->has_gathered = true;
	mem_free(types);
}

static int prepare_upsert(struct apply *a, struct error *e)
{
	struct buf name = BUF_INIT;

	if (find_keys(a, e) < 0 || make_temporary(a, e) < 0)
		return -1;
	put_insert(a);
	put_delete(a);
	buf_printf(&name, "pg_temp.runnel_new_%u", a->temporary);
	begin_copy_statement(&a->statement, buf_cstr(&name));
	put_columns(&a->statement, &a->schema, "");
	end_copy_statement(&a->statement, a->format.is_text);
	buf_reset(&name);
	buf_printf(&name, "pg_temp.runnel_gone_%u", a->temporary);
	begin_copy_statement(&a->gone_statement, buf_cstr(&name));
	put_keys(&a->gone_statement, a, "");
	end_copy_statement(&a->gone_statement, a->format.is_text);
	buf_clear(&name);
	begin_gathering(a);
	return 0;
}

/* ---- the table ---- */

static int create_table(struct apply *a, const struct schema *s, struct error *e)
{
	struct buf sql = BUF_INIT;
	int status;

	buf_printf(&sql, "select pg_advisory_xact_lock(%d); ", CREATE_LOCK);
	target_put_create(&a->o->table, s, a->o->keys, a->o->keys_len, &sql);
	status = postgres_run(a->p, buf_cstr(&sql), NULL, e);
	buf_clear(&sql);
	return status;
}

static int lock_table(struct apply *a, struct error *e)
{
	struct buf sql = BUF_INIT;
	int status;

	buf_put_text(&sql, "lock table only ");
	postgres_table_put(&a->o->table, &sql);
	buf_put_text(&sql, " in row exclusive mode");
	status = postgres_run(a->p, buf_cstr(&sql), NULL, e);
	buf_clear(&sql);
	return status;
}

static int no_table(struct apply *a, const struct schema *s, struct error *e)
{
	struct buf name = BUF_INIT, sql = BUF_INIT;

	postgres_table_put(&a->o->table, &name);
	target_put_create(&a->o->table, s, a->o->keys, a->o->keys_len, &sql);
	error_set(
		e, ERROR_USAGE, "%s: there is no table %s", postgres_server(a->p), buf_cstr(&name));
	error_hint(e, "--create makes it: %s", buf_cstr(&sql));
	buf_clear(&name);
	buf_clear(&sql);
	return -1;
}

static int find_table(struct apply *a, const struct schema *s, struct error *e)
{
	int status = target_read(a->p, &a->o->table, &a->target, e);

	if (status == 1 && !a->o->create)
		return no_table(a, s, e);
	if (status == 1 && create_table(a, s, e) < 0)
		return -1;
	if (status < 0 || lock_table(a, e) < 0)
		return -1;
	target_clear(&a->target);
	return target_read(a->p, &a->o->table, &a->target, e) ? -1 : 0;
}

static int check_keys(const struct apply *a, const struct schema *s, struct error *e)
{
	for (size_t k = 0; k < a->o->keys_len; k++) {
		if (schema_require(s, a->o->keys[k], strlen(a->o->keys[k]), "input", e) < 0)
			return error_context(e, "--upsert");
	}
	return 0;
}

int apply_schema(struct apply *a, const struct schema *s, struct error *e)
{
	if (a->has_schema && schema_equal(&a->schema, s))
		return 0;
	if (apply_finish(a, e) < 0 || check_keys(a, s, e) < 0)
		return -1;
	forget_schema(a);
	schema_copy(&a->schema, s);
	a->has_schema = true;
	if (find_table(a, s, e) < 0)
		return -1;
	if (target_match(&a->target, s, &a->columns, &a->format.is_text, e) < 0)
		return -1;
	a->format.columns = a->columns;
	a->format.columns_len = s->fields_len;
	if (a->o->keys_len)
		return prepare_upsert(a, e);
	begin_copy_statement(&a->statement, a->target.table);
	put_columns(&a->statement, &a->schema, "");
	end_copy_statement(&a->statement, a->format.is_text);
	return 0;
}

int apply_check(struct apply *a, const struct schema *s, struct error *e)
{
	if (apply_begin(a, e) < 0)
		return -1;
	if (apply_schema(a, s, e) < 0) {
		apply_roll_back(a);
		return -1;
	}
	return apply_commit(a, e);
}

/* ---- rows ---- */

static int begin_copy(
	struct apply *a, struct buf *statement, const struct rows_format *f, struct error *e)
{
	if (postgres_run(a->p, buf_cstr(statement), NULL, e) < 0)
		return -1;
	a->copying = true;
	buf_reset(&a->bytes);
	rows_put_head(f, &a->bytes);
	return 0;
}

static int send_bytes(struct apply *a, struct error *e)
{
	int status = postgres_put_copy(a->p, a->bytes.data, a->bytes.len, e);

	buf_reset(&a->bytes);
	return status;
}

static int end_copy(struct apply *a, const struct rows_format *f, struct error *e)
{
	uint64_t rows;

	rows_put_tail(f, &a->bytes);
	if (send_bytes(a, e) < 0 || postgres_end_copy(a->p, &rows, e) < 0)
		return -1;
	a->copying = false;
	return 0;
}

static int put_picked(struct apply *a, const struct rows_format *f, struct buf *statement,
	const struct batch *b, const uint32_t *pick, uint32_t n, struct error *e)
{
	if (begin_copy(a, statement, f, e) < 0)
		return -1;
	for (uint32_t first = 0; first < n; first += BATCH_ROWS) {
		uint32_t some = n - first < BATCH_ROWS ? n - first : BATCH_ROWS;

		if (rows_put(f, b, pick + first, some, &a->bytes, e) < 0 || send_bytes(a, e) < 0)
			return -1;
	}
	return end_copy(a, f, e);
}

static bool is_there(uint8_t op)
{
	return op == ROW_INSERT || op == ROW_UPDATE_AFTER;
}

static int truncate_temporary(struct apply *a, const char *which, struct error *e)
{
	struct buf sql = BUF_INIT;
	int status;

	buf_printf(&sql, "truncate pg_temp.runnel_%s_%u", which, a->temporary);
	status = postgres_run(a->p, buf_cstr(&sql), NULL, e);
	buf_clear(&sql);
	return status;
}

static int merge(struct apply *a, const struct batch *b, const uint32_t *there, uint32_t there_len,
	const uint32_t *gone, uint32_t gone_len, struct error *e)
{
	if (gone_len && (put_picked(a, &a->gone, &a->gone_statement, b, gone, gone_len, e) < 0 ||
				postgres_run(a->p, buf_cstr(&a->delete), NULL, e) < 0 ||
				truncate_temporary(a, "gone", e) < 0))
		return -1;
	if (there_len && (put_picked(a, &a->format, &a->statement, b, there, there_len, e) < 0 ||
				 postgres_run(a->p, buf_cstr(&a->insert), NULL, e) < 0 ||
				 truncate_temporary(a, "new", e) < 0))
		return -1;
	return 0;
}

/* What of each key came last. */
static int flush_gathered(struct apply *a, struct error *e)
{
	struct gathered *g = &a->gathered;
	uint32_t n = keytable_len(g->keys), there_len = 0, gone_len = 0;
	const struct batch *b = batch_builder_view(&g->rows);
	uint32_t *there, *gone;
	int status;

	if (!n)
		return 0;
	there = mem_alloc(2 * (size_t)n * sizeof *there);
	gone = there + n;
	for (uint32_t k = 0; k < n; k++) {
		if (!b->ops || is_there(b->ops[g->last[k]]))
			there[there_len++] = g->last[k];
		else
			gone[gone_len++] = g->last[k];
	}
	status = merge(a, b, there, there_len, gone, gone_len, e);
	mem_free(there);
	batch_builder_reset(&g->rows);
	keytable_reset(g->keys);
	g->bytes = 0;
	return status;
}

/* As the server writes it: what looks different here is different there. */
static bool is_usual_uuid(struct text_view t)
{
	if (t.len != UUID_TEXT)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;

		if (hyphen ? t.text[i] != '-' : !memchr("0123456789abcdef", t.text[i], 16))
			return false;
	}
	return true;
}

static int check_uuids(const struct batch *b, const struct column *c, struct error *e)
{
	for (uint32_t r = 0; r < b->rows; r++) {
		struct text_view t = column_text(c, r);

		if (!is_usual_uuid(t))
			return error_set(e, ERROR_DATA,
				"--upsert: '%.*s' is no uuid as the server writes it, in lower "
				"case and "
				"with four hyphens, so that equal ones couldn't be told",
				(int)t.len, t.text);
	}
	return 0;
}

static int check_null(
	struct apply *a, const struct batch *b, const struct column *const *keys, struct error *e)
{
	struct buf row = BUF_INIT;

	for (uint32_t r = 0; r < b->rows; r++) {
		if (!keys_has_null(keys, a->o->keys_len, r))
			continue;
		batch_put_row(b, r, &row);
		error_set(e, ERROR_DATA, "--upsert: a key is null, and so no row's: %s",
			buf_cstr(&row));
		buf_clear(&row);
		return error_hint(e, "leave such rows out, or give them a value: coalesce(...)");
	}
	return 0;
}

static int gather(struct apply *a, const struct batch *b, struct error *e)
{
	struct gathered *g = &a->gathered;
	uint32_t first = batch_builder_rows(&g->rows), *ids;
	const struct column **keys;
	uint64_t *hashes;

	arena_reset(&a->arena);
	keys = ARENA_ARRAY(&a->arena, const struct column *, a->o->keys_len);
	for (size_t k = 0; k < a->o->keys_len; k++)
		keys[k] = &b->columns[a->key_columns[k]];
	if (check_null(a, b, keys, e) < 0)
		return -1;
	for (size_t k = 0; k < a->o->keys_len; k++) {
		if (a->gone_columns[k].form == POSTGRES_UUID && check_uuids(b, keys[k], e) < 0)
			return -1;
	}
	hashes = arena_alloc(&a->arena, (b->rows + (size_t)1) * sizeof *hashes);
	ids = arena_alloc(&a->arena, (b->rows + (size_t)1) * sizeof *ids);
	keys_hash(keys, a->o->keys_len, b->rows, hashes);
	keytable_insert(g->keys, keys, b->rows, hashes, ids);
	MEM_GROW(g->last, g->last_cap, keytable_len(g->keys) + 1);
	for (uint32_t r = 0; r < b->rows; r++)
		g->last[ids[r]] = first + r;
	batch_builder_put_rows(&g->rows, b, 0, b->rows);
	g->bytes += batch_bytes(b);
	if (first + b->rows < GATHER_ROWS && g->bytes < GATHER_BYTES)
		return 0;
	return flush_gathered(a, e);
}

int apply_rows(struct apply *a, const struct batch *b, struct error *e)
{
	MUST(a->in_transaction && a->has_schema);
	if (!b->rows)
		return 0;
	if (a->o->keys_len)
		return gather(a, b, e);
	if (!a->copying && begin_copy(a, &a->statement, &a->format, e) < 0)
		return -1;
	if (rows_put(&a->format, b, NULL, b->rows, &a->bytes, e) < 0)
		return -1;
	return send_bytes(a, e);
}

int apply_finish(struct apply *a, struct error *e)
{
	if (a->has_gathered && flush_gathered(a, e) < 0)
		return -1;
	return a->copying ? end_copy(a, &a->format, e) : 0;
}
