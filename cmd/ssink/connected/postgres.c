/* The sink of PostgreSQL: rows into a table, exactly once. */
#include "cmd/common/epoch_file.h"
#include "cmd/common/upsert.h"
#include "cmd/ssink/connected/postgres_apply.h"
#include "cmd/ssink/connected/postgres_epochs.h"
#include "cmd/ssink/sinks.h"
#include "connect/heavy/postgres_persist.h"
#include "libcore/base/arena.h"
#include "libcore/base/memory.h"
#include "libcore/state/named_section.h"

#include <string.h>

enum {
	KEYS_MAX = 32,
	LOCK_TIMEOUT_MS = 30000, /* then it is said that somebody is in the way */
};

/* Up to which epoch a subtask's have been committed for all that is known here. */
struct known {
	uint64_t subtask, epoch;
};

struct postgres_sink {
	struct operator op;
	struct sink_options o;
	struct url url;
	struct postgres_table epochs_table;
	struct apply_options to;
	struct apply *apply;
	struct epoch_files *files; /* under a supervisor */
	const char *keys[KEYS_MAX];
	const char *quoted[KEYS_MAX]; /* as expressions */
	size_t keys_len;
	struct schema schema;
	bool has_schema;
	struct upsert *upsert; /* where the changelog's key is another; NULL: nothing is kept */
	bool begun;            /* alone: the transaction */
	bool has_epochs;       /* the table of epochs is there */
	struct known *known;
	size_t known_len, known_cap;
	uint64_t rows;
	struct arena arena;
	const char *place, *guarantee; /* for people */
};

static struct postgres_sink *sink_of(struct operator* op)
{
	return (struct postgres_sink *)op;
}

static void sink_free(struct operator* op)
{
	struct postgres_sink *s = sink_of(op);

	apply_free(s->apply);
	epoch_files_free(s->files);
	upsert_free(s->upsert);
	mem_free(s->known);
	postgres_table_clear(&s->to.table);
	postgres_table_clear(&s->epochs_table);
	schema_clear(&s->schema);
	url_clear(&s->url);
	arena_clear(&s->arena);
	mem_free(s);
}

static int sink_alive(void *context, struct error *e)
{
	struct postgres_sink *s = context;

	return s->op.stage ? stage_alive(s->op.stage, e) : 0;
}

static int sink_await(void *context, struct error *e)
{
	struct postgres_sink *s = context;

	return s->op.stage ? stage_await(s->op.stage, e) : 0;
}

/* ---- a server that comes and goes ---- */

struct attempt {
	struct postgres_sink *s;
	int (*step)(struct postgres_sink *s, const void *context, struct error *e);
	const void *context;
};

static int attempt_step(void *context, struct error *e)
{
	struct attempt *a = context;

	return a->step(a->s, a->context, e);
}

static void attempt_warn(void *context, const char *text)
{
	stage_warn(
		((struct attempt *)context)->s->op.stage, "%s; tried again until it works", text);
}

/* Under a supervisor what may go away by itself is waited for: rows are safe, and starting again
 * would only lose time. */
static int persist(struct postgres_sink *s,
	int (*step)(struct postgres_sink *s, const void *context, struct error *e),
	const void *context, struct error *e)
{
	struct attempt a = {s, step, context};
	struct postgres_persist p = {attempt_step, &a, attempt_warn, {sink_alive, s}};

	return s->o.supervised ? postgres_persist(&p, e) : step(s, context, e);
}

/* ---- schema and rows ---- */

static int check_changelog(struct postgres_sink *s, const struct schema *in, struct error *e)
{
	if (!in->changelog || s->keys_len)
		return 0;
	error_set(e, ERROR_USAGE,
		"a changelog (from %s) takes rows back, and by which columns a row of the "
		"table is found isn't said",
		stage_input_from(s->op.stage, 0));
	return error_hint(e, "--upsert COLUMNS keeps the table as the changelog says");
}

static int check_table(struct postgres_sink *s, const void *context, struct error *e)
{
	return apply_check(s->apply, context, e);
}

static int begin_alone(struct postgres_sink *s, const struct schema *in, struct error *e)
{
	if (!s->begun && apply_begin(s->apply, e) < 0)
		return -1;
	s->begun = true;
	return apply_schema(s->apply, in, e);
}

/* Kept rows are of no use where nothing is taken back. */
static int set_upsert(struct postgres_sink *s, const struct schema *in, struct error *e)
{
	int keys[KEYS_MAX];

	if (!in->changelog) {
		upsert_free(s->upsert);
		s->upsert = NULL;
		return 0;
	}
	for (size_t k = 0; k < s->keys_len; k++) {
		keys[k] = schema_require(in, s->keys[k], strlen(s->keys[k]), "input", e);
		if (keys[k] < 0)
			return error_context(e, "--upsert");
	}
	if (s->upsert)
		return upsert_check_schema(s->upsert, in, e);
	if (upsert_is_needed(in, keys, s->keys_len)) {
		if (keys_check(in, keys, s->keys_len, e) < 0)
			return error_context(e, "--upsert");
		s->upsert = upsert_new(in, keys, s->keys_len);
	}
	return 0;
}

static void open_files(struct postgres_sink *s)
{
	struct epoch_files_options o = {
		.room = s->o.spool, .word = "postgres", .stage = s->op.stage};

	if (!s->files)
		s->files = epoch_files_new(&o);
}

static int sink_schema(
	struct operator* op, unsigned input, const struct schema *in, struct error *e)
{
	struct postgres_sink *s = sink_of(op);

	if (s->has_schema && schema_equal(&s->schema, in))
		return 0;
	if (check_changelog(s, in, e) < 0 || set_upsert(s, in, e) < 0)
		return -1;
	schema_clear(&s->schema);
	schema_copy(&s->schema, in);
	s->has_schema = true;
	if (!s->o.supervised)
		return begin_alone(s, in, e);
	open_files(s);
	if (persist(s, check_table, in, e) < 0)
		return -1;
	return epoch_files_schema(s->files, in, e);
}

static int check_memory(const struct postgres_sink *s, struct error *e)
{
	if (!s->o.memory_bytes || upsert_bytes(s->upsert) <= (size_t)s->o.memory_bytes)
		return 0;
	error_set(e, ERROR_USAGE, "the rows to keep take %zu MiB, more than --memory allows",
		(upsert_bytes(s->upsert) >> 20) + 1);
	return error_hint(e,
		"they are kept because the changelog's key is not among the columns of "
		"--upsert");
}

static int sink_batch(struct operator* op, unsigned input, const struct batch *in, struct error *e)
{
	struct postgres_sink *s = sink_of(op);

	s->rows += in->rows;
	if (s->upsert && upsert_take(s->upsert, in, &in, e) < 0)
		return error_context(e, "%s", stage_input_from(op->stage, 0));
	if (s->upsert && check_memory(s, e) < 0)
		return -1;
	return s->files ? epoch_files_rows(s->files, in, e) : apply_rows(s->apply, in, e);
}

static int sink_end(struct operator* op, struct error *e)
{
	struct postgres_sink *s = sink_of(op);

	if (s->begun && apply_finish(s->apply, e) < 0)
		return -1;
	if (s->o.verbose)
		stage_warn(op->stage, "%llu rows", (unsigned long long)s->rows);
	return 0;
}

/* ---- epochs ---- */

static int sink_prepare(struct operator* op, uint64_t epoch, struct buf *handle, struct error *e)
{
	struct postgres_sink *s = sink_of(op);

	if (!s->o.supervised)
		return 0;
	open_files(s);
	return epoch_files_prepare(s->files, epoch, handle, e);
}

static int take_schema(void *context, const struct schema *in, struct error *e)
{
	return apply_schema(((struct postgres_sink *)context)->apply, in, e);
}

/* A server that takes all at once leaves no wait in which to show a sign of life. */
static int take_rows(void *context, const struct batch *b, struct error *e)
{
	struct postgres_sink *s = context;

	return sink_alive(s, e) < 0 ? -1 : apply_rows(s->apply, b, e);
}

static void know(struct postgres_sink *s, uint64_t subtask, uint64_t epoch)
{
	size_t i = 0;

	while (i < s->known_len && s->known[i].subtask != subtask)
		i++;
	if (i == s->known_len) {
		MEM_GROW(s->known, s->known_cap, s->known_len + 1);
		s->known[s->known_len++] = (struct known){subtask, epoch};
	}
	if (s->known[i].epoch < epoch)
		s->known[i].epoch = epoch;
}

/* A database that was set back has lost rows that nobody will send again. */
static int check_known(
	const struct postgres_sink *s, const struct epoch_file *x, uint64_t epoch, struct error *e)
{
	for (size_t i = 0; i < s->known_len; i++) {
		if (s->known[i].subtask != x->subtask || s->known[i].epoch <= epoch)
			continue;
		error_set(e, ERROR_STATE,
			"epoch %llu was committed, and the table of epochs knows only up to %llu: "
			"the "
			"database was set back, or rows of that table were removed",
			(unsigned long long)s->known[i].epoch, (unsigned long long)epoch);
		return error_hint(e, "to go on with what comes now: --drop-state %s",
			stage_name(s->op.stage));
	}
	return 0;
}

/* What the database hasn't of one file. */
static int commit_file(struct postgres_sink *s, const struct epoch_file *x, struct error *e)
{
	struct epoch_file_take take = {.schema = take_schema, .rows = take_rows, .context = s};
	struct postgres *p = apply_connection(s->apply);
	const char *job = stage_job(s->op.stage);
	uint64_t epoch;

	if (epochs_lock(p, &s->epochs_table, job, x, &epoch, e) < 0 ||
		check_known(s, x, epoch, e) < 0)
		return -1;
	if (epoch >= x->epoch)
		return 0;
	if (epoch_file_read(x, &take, e) < 0 || apply_finish(s->apply, e) < 0) {
		if (e->code != ERROR_IO && e->code != ERROR_STATE)
			error_hint(e, "nothing is lost: the rows wait in %s", x->path);
		return -1;
	}
	return epochs_put(p, &s->epochs_table, job, x, e);
}

struct handle {
	const char *at, *end;
};

static int commit_files(struct postgres_sink *s, const struct handle *h, struct error *e)
{
	const char *at = h->at;
	struct epoch_file x;
	int status;

	while ((status = epoch_file_next(&at, h->end, &x, e)) == 0) {
		if (commit_file(s, &x, e) < 0)
			return -1;
	}
	return status < 0 ? -1 : apply_commit(s->apply, e);
}

static int commit_once(struct postgres_sink *s, const void *context, struct error *e)
{
	if (apply_connect(s->apply, e) < 0)
		return -1;
	if (!s->has_epochs && epochs_make(apply_connection(s->apply), &s->epochs_table, e) < 0)
		return -1;
	s->has_epochs = true;
	if (apply_begin(s->apply, e) == 0 && commit_files(s, context, e) == 0)
		return 0;
	apply_roll_back(s->apply);
	return -1;
}

static int sink_commit(
	struct operator* op, uint64_t epoch, const uint8_t *handle, size_t len, struct error *e)
{
	struct postgres_sink *s = sink_of(op);
	struct handle h = {(const char *)handle, (const char *)handle + len};
	struct epoch_file x;

	if (!s->o.supervised)
		return s->begun ? apply_commit_once(s->apply, e) : 0;
	if (!len)
		return 0;
	open_files(s);
	if (persist(s, commit_once, &h, e) < 0)
		return -1;
	while (epoch_file_next(&h.at, h.end, &x, e) == 0) {
		know(s, x.subtask, x.epoch);
		epoch_files_done(s->files, &x);
	}
	return 0;
}

static void sink_abort(struct operator* op)
{
	struct postgres_sink *s = sink_of(op);

	apply_roll_back(s->apply);
}

/* ---- state: the rows that are kept, the epochs that are known to be committed ---- */

enum { E_JOB, E_SUBTASK, E_EPOCH, E_COLUMNS };

static const struct named_column epoch_columns[E_COLUMNS] = {
	[E_JOB] = {"job", TYPE_STRING},
	[E_SUBTASK] = {"subtask", TYPE_INT},
	[E_EPOCH] = {"epoch", TYPE_INT},
};

static int save_known(const struct postgres_sink *s, struct snapshot_writer *w, struct error *e)
{
	struct named_section out;

	named_section_begin(&out, w, "epochs", epoch_columns, E_COLUMNS, e);
	for (size_t i = 0; i < s->known_len; i++) {
		builder_put_string(&out.columns[E_JOB], stage_job(s->op.stage));
		builder_put_int(&out.columns[E_SUBTASK], (int64_t)s->known[i].subtask);
		builder_put_int(&out.columns[E_EPOCH], (int64_t)s->known[i].epoch);
		named_section_row(&out);
	}
	return named_section_end(&out);
}

/* Those of another job, whose savepoint this is, say nothing of this one's. */
static int load_known(struct postgres_sink *s, const struct batch *b, struct error *e)
{
	const char *own = stage_job(s->op.stage);
	const struct column *c[E_COLUMNS];

	if (named_section_find(b, epoch_columns, E_COLUMNS, c, e) < 0)
		return -1;
	for (uint32_t r = 0; r < b->rows; r++) {
		struct text_view t = column_text(c[E_JOB], r);

		if (t.len == strlen(own) && !memcmp(t.text, own, t.len))
			know(s, (uint64_t)column_int(c[E_SUBTASK], r), (uint64_t)column_int(c[E_EPOCH], r));
	}
	return 0;
}

static int sink_snapshot(struct operator* op, struct snapshot_writer *w, struct error *e)
{
	struct postgres_sink *s = sink_of(op);

	if (s->known_len && save_known(s, w, e) < 0)
		return -1;
	return s->upsert ? upsert_save(s->upsert, w, e) : 0;
}

static int load_section(struct postgres_sink *s, const struct batch *b, struct error *e)
{
	const char *name = b->schema->name ? b->schema->name : "";

	if (!strcmp(name, "epochs"))
		return load_known(s, b, e);
	if (!strcmp(name, "rows"))
		return upsert_load(&s->upsert, b, e);
	error_set(e, ERROR_STATE, "the state is of a sink that doesn't write to a table ('%s')",
		name);
	return error_hint(e, "to go on without it: --drop-state %s", stage_name(s->op.stage));
}

static int check_restored(const struct postgres_sink *s, struct error *e)
{
	if (!s->upsert || upsert_has_keys(s->upsert, s->keys, s->keys_len))
		return 0;
	error_set(e, ERROR_STATE, "rows were kept by other columns than those of --upsert now");
	return error_hint(e, "to go on without them: --drop-state %s", stage_name(s->op.stage));
}

static int sink_restore(struct operator* op, struct snapshot_reader *r, struct error *e)
{
	struct postgres_sink *s = sink_of(op);
	const struct batch *b;
	int status;

	while ((status = snapshot_next(r, &b, e)) == 0) {
		if (load_section(s, b, e) < 0)
			return -1;
	}
	if (status < 0)
		return -1;
	if (s->upsert)
		upsert_settle(s->upsert);
	return check_restored(s, e);
}

static const struct operator_ops sink_ops = {
	.type = "ssink",
	.free = sink_free,
	.schema = sink_schema,
	.batch = sink_batch,
	.end = sink_end,
	.snapshot = sink_snapshot,
	.restore = sink_restore,
	.prepare = sink_prepare,
	.commit = sink_commit,
	.abort = sink_abort,
};

/* ---- making one ---- */

static const char *quote(struct arena *a, const char *name)
{
	struct buf b = BUF_INIT;
	const char *text;

	postgres_put_name(&b, name);
	text = arena_strndup(a, (const char *)b.data, b.len);
	buf_clear(&b);
	return text;
}

static int bad_keys(const char *text, struct error *e)
{
	return error_set(e, ERROR_USAGE,
		"--upsert '%s': columns with a comma between, for example 'shop, id'; "
		"odd names in double quotes",
		text);
}

/* A name, "quoted" or not, from *at on. */
static int read_key(struct postgres_sink *s, const char **at, struct error *e)
{
	char *name = arena_alloc(&s->arena, strlen(*at) + 1);
	size_t n = 0;
	const char *c = *at + strspn(*at, " \t\n");

	if (*c == '"') {
		for (c++; *c && (*c != '"' || c[1] == '"'); c++) {
			name[n++] = *c;
			c += *c == '"';
		}
		if (*c++ != '"')
			return bad_keys(s->o.upsert, e);
	} else {
		while (*c && *c != ',' && *c != ' ')
			name[n++] = *c++;
	}
	c += strspn(c, " \t\n");
	if (!n || (*c && *c != ',') || s->keys_len == KEYS_MAX)
		return bad_keys(s->o.upsert, e);
	name[n] = '\0';
	s->quoted[s->keys_len] = quote(&s->arena, name);
	s->keys[s->keys_len++] = name;
	*at = c;
	return 0;
}

static int read_keys(struct postgres_sink *s, struct error *e)
{
	const char *at = s->o.upsert;

	while (at) {
		if (read_key(s, &at, e) < 0)
			return -1;
		at = *at ? at + 1 : NULL;
	}
	for (size_t i = 0; i < s->keys_len; i++) {
		for (size_t k = 0; k < i; k++) {
			if (!strcmp(s->keys[i], s->keys[k]))
				return error_set(
					e, ERROR_USAGE, "--upsert names '%s' twice", s->keys[i]);
		}
	}
	return 0;
}

/* Beside the table, unless said. */
static int read_epochs(struct postgres_sink *s, const char *said, struct error *e)
{
	if (said)
		return postgres_table_parse(said, &s->epochs_table, e);
	s->epochs_table.schema = s->to.table.schema ? mem_strdup(s->to.table.schema) : NULL;
	s->epochs_table.name = mem_strdup("runnel_epochs");
	return 0;
}

static int read_url(struct postgres_sink *s, struct error *e)
{
	const char *table, *epochs;

	table = url_take(&s->url, "table");
	epochs = url_take(&s->url, "epochs");
	if (!table || !*table) {
		error_set(e, ERROR_USAGE, "which table?");
		return error_hint(e, "postgresql://host/database?table=t");
	}
	if (postgres_table_parse(table, &s->to.table, e) < 0)
		return -1;
	return read_epochs(s, epochs, e);
}

/* Sinks that add rows to one table don't disturb each other; those that upsert do. */
static void describe(struct postgres_sink *s, struct stage_description *about)
{
	struct buf name = BUF_INIT;

	url_put_safe(s->o.output, &name);
	s->place = arena_strndup(&s->arena, (const char *)name.data, name.len);
	s->guarantee = arena_printf(&s->arena,
		"%s%s: exactly once, each epoch in one transaction with its number", s->place,
		s->keys_len ? " by key" : "");
	buf_clear(&name);
	about->guarantee = s->guarantee;
	about->writes = s->keys_len ? s->place : NULL;
	about->spread = s->keys_len ? STAGE_KEYED : STAGE_ANY;
	about->keeps =
		s->keys_len ? "rows by the columns of --upsert, if the changelog's key is another"
			    : NULL;
	about->keys_len[0] = s->keys_len;
	for (size_t k = 0; k < s->keys_len; k++)
		about->keys[0][k] = s->quoted[k];
}

static int sink_init(struct postgres_sink *s, struct error *e)
{
	struct buf name = BUF_INIT;

	if (url_parse(s->o.output, &s->url, e) < 0)
		return -1;
	if (read_url(s, e) < 0 || (s->o.upsert && read_keys(s, e) < 0)) {
		url_put_safe(s->o.output, &name);
		error_context(e, "%s", buf_cstr(&name));
		buf_clear(&name);
		return -1;
	}
	s->to.setup = (struct postgres_setup){
		.url = &s->url, .program = "ssink", .wait = {sink_alive, s}, .await = sink_await};
	s->to.keys = s->keys;
	s->to.keys_len = s->keys_len;
	s->to.create = s->o.create;
	s->to.lock_timeout_ms = s->o.supervised ? LOCK_TIMEOUT_MS : 0;
	s->apply = apply_new(&s->to);
	return 0;
}

int sink_new_postgres(const struct sink_options *o, struct stage_description *about,
	struct operator** out, struct error *e)
{
	struct postgres_sink *s = mem_zero(sizeof *s);

	s->op = (struct operator){.ops = &sink_ops, .inputs = 1, .outputs = 0};
	s->o = *o;
	schema_init(&s->schema);
	if (sink_init(s, e) < 0) {
		sink_free(&s->op);
		return -1;
	}
	describe(s, about);
	*out = &s->op;
	return 0;
}
