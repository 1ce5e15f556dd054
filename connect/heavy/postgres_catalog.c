#include "connect/heavy/postgres_catalog.h"

#include "libcore/base/memory.h"
#include "libcore/base/number.h"
#include "libcore/base/suggest.h"

#include <stdio.h>

enum { NAMES_MAX = 1000 };

/* Domains are followed down; a true array is one whose text has braces (int2vector's has none). */
static const char resolve_sql[] =
	"with recursive r(n, oid, modifier) as ("
	" select n, o, m from unnest($1::oid[], $2::int4[]) with ordinality u(o, m, n)"
	" union all select r.n, t.typbasetype, t.typtypmod from r"
	" join pg_catalog.pg_type t on t.oid = r.oid where t.typtype = 'd')"
	" select t.oid, r.modifier, t.typtype, coalesce(el.oid, 0), coalesce(el.typtype, 'b'),"
	" coalesce(el.typdelim, ',')"
	" from r join pg_catalog.pg_type t on t.oid = r.oid"
	" left join pg_catalog.pg_type el on el.oid = t.typelem"
	" and t.typinput = 'pg_catalog.array_in'::pg_catalog.regproc"
	" where t.typtype <> 'd' order by r.n";

static int64_t int_at(const PGresult *r, int row, int column)
{
	const char *text = PQgetvalue(r, row, column);
	int64_t v = 0;

	int_parse(text, strlen(text), &v);
	return v;
}

int postgres_resolve(struct postgres *p, struct postgres_column *columns, size_t n, struct error *e)
{
	struct buf oids = BUF_INIT, modifiers = BUF_INIT;
	const char *values[2];
	PGresult *r;
	int status;

	for (size_t i = 0; i < n; i++) {
		buf_printf(&oids, "%s%u", i ? "," : "{", columns[i].type.oid);
		buf_printf(&modifiers, "%s%d", i ? "," : "{", columns[i].type.modifier);
	}
	buf_put_text(&oids, n ? "}" : "{}");
	buf_put_text(&modifiers, n ? "}" : "{}");
	values[0] = buf_cstr(&oids);
	values[1] = buf_cstr(&modifiers);
	status = postgres_run_with(p, resolve_sql, values, 2, false, &r, e);
	buf_clear(&oids);
	buf_clear(&modifiers);
	if (status < 0)
		return -1;
	if ((size_t)PQntuples(r) != n) {
		PQclear(r);
		return error_set(e, ERROR_DATA, "%s: the catalog doesn't know every column's type",
			postgres_server(p));
	}
	for (int i = 0; i < (int)n; i++) {
		columns[i].declared_oid = columns[i].type.oid;
		columns[i].declared_modifier = columns[i].type.modifier;
		columns[i].type = (struct postgres_type){.oid = (uint32_t)int_at(r, i, 0),
			.modifier = (int32_t)int_at(r, i, 1),
			.kind = *PQgetvalue(r, i, 2),
			.element = (uint32_t)int_at(r, i, 3),
			.element_kind = *PQgetvalue(r, i, 4),
			.delimiter = *PQgetvalue(r, i, 5)};
	}
	PQclear(r);
	return 0;
}

static int prepare(struct postgres *p, const char *sql, PGresult **out, struct error *e)
{
	PGconn *conn = postgres_connection(p);

	if (!PQsendPrepare(conn, "", sql, 0, NULL))
		return postgres_error(p, NULL, e);
	if (postgres_finish(p, NULL, e) < 0)
		return -1;
	if (!PQsendDescribePrepared(conn, ""))
		return postgres_error(p, NULL, e);
	return postgres_finish(p, out, e);
}

int postgres_describe(struct postgres *p, const char *sql, struct arena *a,
	struct postgres_column **out, size_t *n, struct error *e)
{
	PGresult *r;

	if (prepare(p, sql, &r, e) < 0)
		return -1;
	*n = (size_t)PQnfields(r);
	*out = ARENA_ARRAY(a, struct postgres_column, *n + 1);
	for (int i = 0; i < (int)*n; i++) {
		(*out)[i] = (struct postgres_column){.name = arena_strdup(a, PQfname(r, i)),
			.type = {.oid = PQftype(r, i), .modifier = PQfmod(r, i)}};
	}
	PQclear(r);
	if (!*n)
		return error_set(
			e, ERROR_USAGE, "%s: the statement gives no columns", postgres_server(p));
	return postgres_resolve(p, *out, *n, e);
}

/* ---- tables ---- */

static int no_table(struct postgres *p, const char *shown, struct error *e)
{
	static const char sql[] =
		"select case when pg_catalog.pg_table_is_visible(c.oid) then c.relname"
		" else n.nspname || '.' || c.relname end from pg_catalog.pg_class c"
		" join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
		" where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not in"
		" ('pg_catalog', 'information_schema', 'pg_toast') limit 1000";
	const char *names[NAMES_MAX];
	struct error ignored = ERROR_INIT;
	PGresult *r;
	int like, n;

	error_set(e, ERROR_USAGE, "%s: there is no table %s", postgres_server(p), shown);
	if (postgres_run(p, sql, &r, &ignored) < 0)
		return -1;
	n = PQntuples(r);
	for (int i = 0; i < n; i++)
		names[i] = PQgetvalue(r, i, 0);
	like = suggest(shown, strlen(shown), names, (size_t)n);
	if (like >= 0)
		error_hint(e, "did you mean %s?", names[like]);
	PQclear(r);
	return -1;
}

int postgres_find_table(struct postgres *p, const struct postgres_table *t,
	struct postgres_relation *out, struct error *e)
{
	static const char sql[] = "select c.oid, n.nspname, c.relname, c.relkind, c.relreplident"
				  " from pg_catalog.pg_class c join pg_catalog.pg_namespace n on "
				  "n.oid = c.relnamespace"
				  " where c.oid = pg_catalog.to_regclass($1)";
	struct buf quoted = BUF_INIT;
	const char *value;
	PGresult *r = NULL;
	int status;

	*out = (struct postgres_relation){.oid = NULL};
	postgres_table_put(t, &quoted);
	value = buf_cstr(&quoted);
	status = postgres_run_with(p, sql, &value, 1, false, &r, e);
	if (status == 0 && PQntuples(r) == 0) {
		char *shown = t->schema ? mem_printf("%s.%s", t->schema, t->name)
					: mem_strdup(t->name);

		status = no_table(p, shown, e);
		mem_free(shown);
	} else if (status == 0) {
		*out = (struct postgres_relation){.oid = mem_strdup(PQgetvalue(r, 0, 0)),
			.schema = mem_strdup(PQgetvalue(r, 0, 1)),
			.name = mem_strdup(PQgetvalue(r, 0, 2)),
			.kind = *PQgetvalue(r, 0, 3),
			.identity = *PQgetvalue(r, 0, 4)};
	}
	PQclear(r);
	buf_clear(&quoted);
	return status;
}

void postgres_relation_clear(struct postgres_relation *r)
{
	mem_free(r->oid);
	mem_free(r->schema);
	mem_free(r->name);
	*r = (struct postgres_relation){.oid = NULL};
}
