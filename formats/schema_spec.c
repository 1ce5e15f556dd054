/* The text of -s:  item (',' item)*;  item: '*' | path [type] ['as' name];  path: name ('.' name)*;
 * name: plain or in double quotes, in which "" is one quote. */
#include "formats/records.h"

#include "libcore/base/arena.h"
#include "libcore/base/memory.h"

#include <strings.h>

enum { PATH_MAX_NAMES = 32 };

struct spec_cursor {
	const char *text;
	const char *at;
	struct arena *arena;
	struct error *e;
};

static void skip_space(struct spec_cursor *c)
{
	while (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')
		c->at++;
}

static int spec_error(struct spec_cursor *c, const char *what)
{
	error_set(c->e, ERROR_USAGE, "-s: %s at byte %zu", what, (size_t)(c->at - c->text) + 1);
	error_hint(c->e, "  %s", c->text);
	return error_hint(c->e, "  %*s", (int)(c->at - c->text) + 1, "^");
}

static bool is_name_byte(char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
	       ch == '_' || (ch & 0x80);
}

static const char *quoted_name(struct spec_cursor *c)
{
	struct buf name = BUF_INIT;
	const char *copy = NULL;

	for (c->at++; *c->at; c->at++) {
		if (*c->at == '"' && c->at[1] != '"')
			break;
		if (*c->at == '"')
			c->at++;
		buf_put_byte(&name, (uint8_t)*c->at);
	}
	if (*c->at == '"' && name.len) {
		c->at++;
		copy = arena_strndup(c->arena, (const char *)name.data, name.len);
	} else {
		spec_error(c, *c->at ? "an empty name" : "a quote that is never closed");
	}
	buf_clear(&name);
	return copy;
}

static const char *one_name(struct spec_cursor *c)
{
	const char *start = c->at;

	if (*c->at == '"')
		return quoted_name(c);
	while (is_name_byte(*c->at))
		c->at++;
	if (c->at == start) {
		spec_error(c, *c->at ? "a column name is expected; put other names in double quotes"
				     : "a column name is expected");
		return NULL;
	}
	return arena_strndup(c->arena, start, (size_t)(c->at - start));
}

static int read_path(struct spec_cursor *c, struct wanted_column *w)
{
	const char *names[PATH_MAX_NAMES];
	const char **path;

	for (w->path_len = 0;; c->at++) {
		if (w->path_len == PATH_MAX_NAMES)
			return spec_error(c, "too many names in a path");
		if (!(names[w->path_len++] = one_name(c)))
			return -1;
		if (*c->at != '.')
			break;
	}
	path = ARENA_ARRAY(c->arena, const char *, w->path_len);
	memcpy(path, names, w->path_len * sizeof *path);
	w->path = path;
	return 0;
}

static bool word_is(const struct spec_cursor *c, const char *word)
{
	size_t len = strlen(word);

	return strncasecmp(c->at, word, len) == 0 && !is_name_byte(c->at[len]);
}

/* timestamp(ms): the unit of integers, which the type itself doesn't keep. */
static bool read_time_unit(struct spec_cursor *c, struct wanted_column *w)
{
	static const struct {
		const char *text;
		enum time_unit unit;
	} units[] = {{"timestamp(s)", TIME_S}, {"timestamp(ms)", TIME_MS},
		{"timestamp(us)", TIME_US}, {"timestamp(ns)", TIME_NS}};

	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		size_t len = strlen(units[i].text);

		if (strncasecmp(c->at, units[i].text, len) == 0) {
			c->at += len;
			w->type = TYPE_OF(TYPE_TIMESTAMP);
			w->unit = units[i].unit;
			return true;
		}
	}
	return false;
}

static int read_type(struct spec_cursor *c, struct wanted_column *w)
{
	const char *start = c->at, *end;
	struct error why = ERROR_INIT;
	char *hint;
	int depth = 0;

	if (read_time_unit(c, w))
		return 0;
	for (; *c->at && (depth || (*c->at != ',' && !word_is(c, "as"))); c->at++) {
		depth += (*c->at == '(') - (*c->at == ')');
		if (is_name_byte(*c->at)) { /* so that "as" within a word isn't one */
			while (is_name_byte(c->at[1]))
				c->at++;
		}
	}
	for (end = c->at; end > start && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n');)
		end--;
	if (type_parse(start, (size_t)(end - start), &w->type, &why) < 0) {
		c->at = start;
		hint = strchr(why.text, '\n');
		if (hint)
			*hint++ = 0;
		spec_error(c, why.text);
		return hint ? error_hint(c->e, "%s", hint) : -1;
	}
	return 0;
}

static int read_item(struct spec_cursor *c, struct wanted_column *w)
{
	*w = (struct wanted_column){.position = -1};
	if (read_path(c, w) < 0)
		return -1;
	w->name = w->path[w->path_len - 1];
	if (w->path_len > 1) { /* a.b int is called a.b, as an expression would be */
		struct buf name = BUF_INIT;

		for (size_t i = 0; i < w->path_len; i++)
			buf_printf(&name, "%s%s", i ? "." : "", w->path[i]);
		w->name = arena_strndup(c->arena, (const char *)name.data, name.len);
		buf_clear(&name);
	}
	skip_space(c);
	if (*c->at && *c->at != ',' && !word_is(c, "as") && read_type(c, w) < 0)
		return -1;
	skip_space(c);
	if (!word_is(c, "as"))
		return 0;
	c->at += 2;
	skip_space(c);
	return (w->name = one_name(c)) ? 0 : -1;
}

static int check_names(struct spec_cursor *c, const struct schema_spec *s)
{
	for (size_t i = 0; i < s->len; i++) {
		for (size_t k = 0; k < i; k++) {
			if (strcmp(s->columns[i].name, s->columns[k].name) == 0)
				return error_set(c->e, ERROR_USAGE,
					"-s: two columns are called '%s'; "
					"write '... as another'",
					s->columns[i].name);
		}
	}
	return 0;
}

int schema_spec_parse(const char *text, struct arena *a, struct schema_spec *out, struct error *e)
{
	struct spec_cursor c = {text, text, a, e};
	struct wanted_column *columns = NULL, *kept;
	size_t cap = 0;
	int status = 0;

	*out = (struct schema_spec){.columns = NULL};
	for (;; c.at++) {
		skip_space(&c);
		if (*c.at == '*') {
			out->star = true;
			c.at++;
		} else {
			MEM_GROW(columns, cap, out->len + 1);
			if ((status = read_item(&c, &columns[out->len])) < 0)
				break;
			out->len++;
		}
		skip_space(&c);
		if (*c.at == ',')
			continue;
		if (*c.at)
			status = spec_error(&c, "',' is expected");
		break;
	}
	kept = ARENA_ARRAY(a, struct wanted_column, out->len);
	if (out->len)
		memcpy(kept, columns, out->len * sizeof *kept);
	out->columns = kept;
	mem_free(columns);
	return status ? status : check_names(&c, out);
}

/* ---- against what an input has ---- */

/* The item of -s that takes the column of this name, or NULL. */
static struct wanted_column *spec_find(const struct schema_spec *s, const char *name)
{
	for (size_t i = 0; i < s->len; i++) {
		if (s->columns[i].path_len == 1 && strcmp(s->columns[i].path[0], name) == 0)
			return &s->columns[i];
	}
	return NULL;
}

/* '*': all columns in their order, those named besides with their own type and name in that place;
 * nested ones and copies behind. */
static int expand_star(struct schema_spec *spec, const struct schema *found, const char *input,
	struct arena *arena, struct error *e)
{
	struct schema_spec s = {.star = false};
	struct wanted_column *columns = ARENA_ARRAY(
		arena, struct wanted_column, found->fields_len + spec->len);

	for (size_t i = 0; i < found->fields_len; i++) {
		const char **path = ARENA_ARRAY(arena, const char *, 1);
		const struct wanted_column *named = spec_find(spec, found->fields[i].name);

		path[0] = arena_strdup(arena, found->fields[i].name);
		columns[s.len] = named ? *named
				       : (struct wanted_column){.name = path[0],
						 .path = path,
						 .path_len = 1,
						 .position = -1};
		if (!columns[s.len].type.kind) {
			columns[s.len].type = found->fields[i].type;
			columns[s.len].inferred = true;
		}
		s.len++;
	}
	for (size_t i = 0; i < spec->len; i++) {
		const struct wanted_column *w = &spec->columns[i];
		int field = schema_find(found, w->path[0], strlen(w->path[0]));

		if (field < 0)
			field = schema_require(found, w->path[0], strlen(w->path[0]), input, e);
		if (field < 0)
			return -1;
		if (w->path_len > 1 || spec_find(spec, w->path[0]) != w)
			columns[s.len++] = *w;
	}
	s.columns = columns;
	*spec = s;
	return 0;
}

static int infer_missing_types(struct schema_spec *spec, const struct schema *found,
	const char *input, struct error *e)
{
	for (size_t i = 0; i < spec->len; i++) {
		struct wanted_column *w = &spec->columns[i];
		int field;

		if (w->type.kind)
			continue;
		if (w->path_len > 1)
			return error_set(
				e, ERROR_USAGE, "-s: '%s' is nested: give its type", w->name);
		field = schema_require(found, w->path[0], strlen(w->path[0]), input, e);
		if (field < 0)
			return -1;
		w->type = found->fields[field].type;
		w->inferred = true;
	}
	return 0;
}

bool schema_spec_is_open(const struct schema_spec *s)
{
	bool needs = s->star;

	for (size_t i = 0; i < s->len; i++)
		needs |= !s->columns[i].type.kind;
	return needs;
}

int schema_spec_settle(struct schema_spec *s, const struct schema *found, const char *input,
	struct arena *a, struct error *e)
{
	if (s->star && expand_star(s, found, input, a, e) < 0)
		return -1;
	return infer_missing_types(s, found, input, e);
}

static void put_quoted(struct buf *out, const char *name)
{
	buf_put_byte(out, '"');
	for (; *name; name++) {
		if (*name == '"')
			buf_put_byte(out, '"');
		buf_put_byte(out, (uint8_t)*name);
	}
	buf_put_byte(out, '"');
}

void schema_spec_put(const struct schema_spec *s, struct buf *out)
{
	static const char *const units[] = {[TIME_ISO] = "",
		[TIME_S] = "(s)",
		[TIME_MS] = "(ms)",
		[TIME_US] = "(us)",
		[TIME_NS] = "(ns)"};

	for (size_t i = 0; i < s->len; i++) {
		const struct wanted_column *w = &s->columns[i];

		buf_put_text(out, i ? ", " : "");
		for (size_t k = 0; k < w->path_len; k++) {
			buf_put_text(out, k ? "." : "");
			put_quoted(out, w->path[k]);
		}
		buf_put_byte(out, ' ');
		type_put(w->type, out);
		buf_put_text(out, w->type.kind == TYPE_TIMESTAMP ? units[w->unit] : "");
		buf_put_text(out, " as ");
		put_quoted(out, w->name);
	}
}
