#include "cmd/ssink/connected/postgres_epochs.h"

#include "libcore/base/memory.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	MAKE_LOCK = 0x72756e65, /* "rune": of those who make the table at the same moment */
	NUMBER_BYTES = 24,
};

static int hint_place(struct error *e)
{
	return error_hint(e, "another place for it: ...?table=t&epochs=schema.table");
}

static int make(struct postgres *p, const char *name, struct error *e)
{
	struct buf sql = BUF_INIT;
	int status;

	buf_printf(&sql,
		"begin; select pg_advisory_xact_lock(%d); create table if not exists %s ("
		"job uuid, stage text, subtask int, epoch bigint not null, "
		"at timestamptz not null default now(), primary key (job, stage, subtask)); commit",
		MAKE_LOCK, name);
	status = postgres_run(p, buf_cstr(&sql), NULL, e);
	if (status < 0) {
		struct error ignored = ERROR_INIT;

		if (!postgres_is_lost(p))
			postgres_run(p, "rollback", NULL, &ignored);
		error_context(e, "table %s, where epochs are written down, can't be made", name);
		hint_place(e);
	}
	buf_clear(&sql);
	return status;
}

int epochs_make(struct postgres *p, const struct postgres_table *t, struct error *e)
{
	struct buf name = BUF_INIT;
	const char *text;
	char *found = NULL;
	int status;

	postgres_table_put(t, &name);
	text = buf_cstr(&name);
	status = postgres_ask(p, "select to_regclass($1)::oid", &text, 1, &found, e);
	if (status == 0 && !found)
		status = make(p, text, e);
	mem_free(found);
	buf_clear(&name);
	return status;
}

struct words {
	char subtask[NUMBER_BYTES], epoch[NUMBER_BYTES];
	const char *values[4];
};

static void set_words(struct words *w, const char *job, const struct epoch_file *x)
{
	snprintf(w->subtask, sizeof w->subtask, "%llu", (unsigned long long)x->subtask);
	snprintf(w->epoch, sizeof w->epoch, "%llu", (unsigned long long)x->epoch);
	w->values[0] = job;
	w->values[1] = x->stage;
	w->values[2] = w->subtask;
	w->values[3] = w->epoch;
}

static char *statement(const char *before, const struct postgres_table *t, const char *after)
{
	struct buf b = BUF_INIT;
	size_t len;

	buf_put_text(&b, before);
	postgres_table_put(t, &b);
	buf_put_text(&b, after);
	buf_put_byte(&b, '\0');
	return (char *)buf_take(&b, &len);
}

int epochs_lock(struct postgres *p, const struct postgres_table *t, const char *job,
	const struct epoch_file *x, uint64_t *epoch, struct error *e)
{
	char *insert = statement("insert into ", t,
		" (job, stage, subtask, epoch) "
		"values ($1, $2, $3, 0) on conflict do nothing");
	char *look = statement("select epoch from ", t,
		" where job = $1 and stage = $2 and subtask = $3 for update");
	char *found = NULL;
	struct words w;
	int status;

	set_words(&w, job, x);
	status = postgres_run_with(p, insert, w.values, 3, false, NULL, e);
	if (status == 0)
		status = postgres_ask(p, look, w.values, 3, &found, e);
	if (status < 0 && e->code == ERROR_USAGE)
		hint_place(e);
	if (status == 0 && !found)
		status = error_set(e, ERROR_IO, "%s: the row of an epoch was removed meanwhile",
			postgres_server(p));
	if (status == 0)
		*epoch = strtoull(found, NULL, 10);
	mem_free(found);
	mem_free(insert);
	mem_free(look);
	return status;
}

int epochs_put(struct postgres *p, const struct postgres_table *t, const char *job,
	const struct epoch_file *x, struct error *e)
{
	char *update = statement("update ", t,
		" set epoch = $4, at = now() "
		"where job = $1 and stage = $2 and subtask = $3");
	struct words w;
	int status;

	set_words(&w, job, x);
	status = postgres_run_with(p, update, w.values, 4, false, NULL, e);
	mem_free(update);
	return status;
}
