#include "cmd/ssource/connected/postgres.h"

#include "cmd/common/bad.h"
#include "libcore/base/memory.h"
#include "libcore/stage/description.h"

#include <ctype.h>
#include <string.h>

/* ---- the URL ---- */

static const char *trim_query(struct postgres_input *in, const char *text)
{
	size_t n = strlen(text);

	while (n && (isspace((unsigned char)text[n - 1]) || text[n - 1] == ';'))
		n--;
	return arena_strndup(&in->url.arena, text, n);
}

static int read_own(struct postgres_input *in, struct error *e)
{
	const char *table = url_take(&in->url, "table");
	const char *query = url_take(&in->url, "query");

	in->slot = url_take(&in->url, "slot");
	in->publication = url_take(&in->url, "publication");
	if (!table == !query)
		return error_set(e, ERROR_USAGE, "%s: %s", in->shown,
			table ? "table= or query=, not both"
			      : "what is to be read? ?table=NAME or ?query=SELECT ...");
	if (table && postgres_table_parse(table, &in->table, e) < 0)
		return -1;
	if (query)
		in->query = trim_query(in, query);
	if (query && (in->slot || in->publication))
		return error_set(e, ERROR_USAGE,
			"%s: a query's result has no changes to follow; say table=", in->shown);
	return 0;
}

int postgres_input_parse(const char *text, struct postgres_input *out, struct error *e)
{
	struct buf safe = BUF_INIT;

	memset(out, 0, sizeof *out);
	url_put_safe(text, &safe);
	out->shown = mem_strdup(buf_cstr(&safe));
	buf_clear(&safe);
	if (url_parse(text, &out->url, e) < 0 || read_own(out, e) < 0) {
		postgres_input_clear(out);
		return -1;
	}
	return 0;
}

void postgres_input_clear(struct postgres_input *in)
{
	url_clear(&in->url);
	mem_free(in->shown);
	postgres_table_clear(&in->table);
	in->shown = NULL;
}

static int show_alive(void *context, struct error *e)
{
	return stage_await(context, e);
}

int postgres_input_connect(const struct postgres_input *in, struct stage *st, bool replicates,
	struct postgres **out, struct error *e)
{
	struct postgres_setup setup = {.url = &in->url,
		.program = "runnel ssource",
		.replicates = replicates,
		.wait = {.alive = show_alive, .context = st}};

	return postgres_open(&setup, out, e);
}

/* ---- the source ---- */

static void put_guarantee(const struct postgres_input *in, bool changes, struct buf *out)
{
	buf_printf(out, "%s: ", in->shown);
	if (!changes)
		buf_put_text(out,
			"one consistent view; the first checkpoint waits for its end, until "
			"then a restart reads anew");
	else if (in->slot)
		buf_put_text(
			out, "goes back to a log position; the slot moves on with the checkpoints");
	else
		buf_put_text(out, "can't go back without slot=NAME");
}

/* Reading by another format, or several inputs, has no meaning here. */
static int check_options(const struct source_options *o, const struct postgres_input *in,
	bool changes, struct error *e)
{
	const char *no = o->records.format             ? "-f"
			 : o->records.filename_column  ? "--filename"
			 : o->records.infer_rows       ? "--infer"
			 : o->records.reader.nulls_len ? "--null"
			 : o->records.reader.delimiter ? "--delimiter"
			 : o->records.reader.regex     ? "--regex"
			 : o->merges                   ? "--merge"
			 : o->from                     ? "--from"
			 : o->until_end                ? "--until"
						       : NULL;

	if (no)
		return error_set(e, ERROR_USAGE, "%s is not for a database", no);
	no = o->has_ahead ? "--max-ahead" : o->time_is_now && !changes ? "-t now" : NULL;
	if (no)
		return error_set(e, ERROR_USAGE, "%s is for live inputs of records", no);
	no = o->meta ? "--meta" : o->snapshot ? "--snapshot" : o->idle_us ? "--idle" : NULL;
	if (no && !changes)
		return error_set(e, ERROR_USAGE,
			"%s is for the changes of a table: slot=NAME, or --follow", no);
	if (o->idle_us && !o->time_column)
		return error_set(
			e, ERROR_USAGE, "--idle needs the column of the event time: -t COLUMN");
	if (changes && in->query)
		return error_set(e, ERROR_USAGE,
			"--follow: a query's result has no changes to follow; say table=");
	if (o->has_delay && !o->time_column)
		return error_set(
			e, ERROR_USAGE, "-d needs the column of the event time: -t COLUMN");
	return 0;
}

int source_new_postgres(const struct source_options *o, const char *url,
	struct stage_description *about, struct operator** out, struct error *e)
{
	static struct buf guarantee; /* lives as long as the process */
	struct postgres_input in;
	bool changes;

	if (postgres_input_parse(url, &in, e) < 0)
		return -1;
	changes = o->follows || in.slot || in.publication;
	if (check_options(o, &in, changes, e) < 0) {
		postgres_input_clear(&in);
		return -1;
	}
	put_guarantee(&in, changes, &guarantee);
	about->guarantee = buf_cstr(&guarantee);
	about->cannot_replay = changes && !in.slot;
	about->spread = STAGE_SINGLE;
	if (o->bad_output)
		about->sides[SOURCE_BAD_OUTPUT - 1] = (struct stage_side){o->bad, "ndjson"};
	return changes ? source_new_postgres_changes(o, &in, out, e)
		       : source_new_postgres_query(o, &in, out, e);
}
