#include "libcore/table/schema.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/base/suggest.h"

#include <ctype.h>

void schema_init(struct schema *s)
{
	*s = (struct schema)SCHEMA_INIT;
}

void schema_clear(struct schema *s)
{
	for (size_t i = 0; i < s->fields_len; i++)
		mem_free(s->fields[i].name);
	mem_free(s->fields);
	mem_free(s->keys);
	mem_free(s->name);
	schema_init(s);
}

void schema_set_name(struct schema *s, const char *name)
{
	mem_free(s->name);
	s->name = name ? mem_strdup(name) : NULL;
}

void schema_copy(struct schema *to, const struct schema *from)
{
	MUST(to != from && !to->fields_len && !to->keys_len);
	for (size_t i = 0; i < from->fields_len; i++)
		schema_add_field(to, &from->fields[i]);
	schema_set_keys(to, from->keys, from->keys_len);
	schema_set_name(to, from->name);
	to->time_column = from->time_column;
	to->time_offset_us = from->time_offset_us;
	to->changelog = from->changelog;
}

int schema_add(struct schema *s, const char *name, size_t name_len, struct type type)
{
	MUST(s->fields_len < SCHEMA_FIELDS_MAX);
	MEM_GROW(s->fields, s->fields_cap, s->fields_len + 1);
	s->fields[s->fields_len].name = mem_strndup(name, name_len);
	s->fields[s->fields_len].type = type;
	return (int)s->fields_len++;
}

int schema_add_field(struct schema *s, const struct field *f)
{
	return schema_add(s, f->name, strlen(f->name), f->type);
}

int schema_find(const struct schema *s, const char *name, size_t name_len)
{
	for (size_t i = 0; i < s->fields_len; i++) {
		const char *own = s->fields[i].name;

		if (strlen(own) == name_len && (!name_len || !memcmp(own, name, name_len)))
			return (int)i;
	}
	return -1;
}

int schema_require(const struct schema *s, const char *name, size_t name_len, const char *where,
	struct error *e)
{
	int found = schema_find(s, name, name_len), near;
	const char **names;
	struct buf list = BUF_INIT;

	if (found >= 0)
		return found;
	names = mem_alloc(s->fields_len * sizeof *names);
	for (size_t i = 0; i < s->fields_len; i++) {
		names[i] = s->fields[i].name;
		if (list.len < 512)
			buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
	}
	near = suggest(name, name_len, names, s->fields_len);
	error_set(e, ERROR_USAGE, "%s has no column '%.*s'", where,
		(int)(name_len < 128 ? name_len : 128), name);
	if (near >= 0)
		error_hint(e, "did you mean '%s'?", names[near]);
	error_hint(e, "its columns: %s", s->fields_len ? buf_cstr(&list) : "none");
	buf_clear(&list);
	mem_free(names);
	return -1;
}

void schema_set_keys(struct schema *s, const int *columns, size_t n)
{
	int *copy = n ? mem_alloc(n * sizeof *copy) : NULL;

	if (n)
		memcpy(copy, columns, n * sizeof *copy);
	mem_free(s->keys);
	s->keys = copy;
	s->keys_len = n;
}

bool schema_equal(const struct schema *a, const struct schema *b)
{
	if (a == b)
		return true;
	if (a->fields_len != b->fields_len || a->keys_len != b->keys_len ||
		a->time_column != b->time_column || a->time_offset_us != b->time_offset_us ||
		a->changelog != b->changelog || !a->name != !b->name ||
		(a->name && strcmp(a->name, b->name) != 0))
		return false;
	for (size_t i = 0; i < a->fields_len; i++) {
		if (!type_equal(a->fields[i].type, b->fields[i].type) ||
			strcmp(a->fields[i].name, b->fields[i].name) != 0)
			return false;
	}
	return !a->keys_len || !memcmp(a->keys, b->keys, a->keys_len * sizeof *a->keys);
}

static bool is_plain_name(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_')
		return false;
	for (; *name; name++) {
		if (!isalnum((unsigned char)*name) && *name != '_')
			return false;
	}
	return true;
}

void schema_put_name(const char *name, struct buf *b)
{
	if (is_plain_name(name)) {
		buf_put_text(b, name);
		return;
	}
	buf_put_byte(b, '"');
	for (; *name; name++) {
		if (*name == '"')
			buf_put_byte(b, '"');
		buf_put_byte(b, (uint8_t)*name);
	}
	buf_put_byte(b, '"');
}

void schema_put(const struct schema *s, struct buf *b)
{
	for (size_t i = 0; i < s->fields_len; i++) {
		if (i)
			buf_put_text(b, ", ");
		schema_put_name(s->fields[i].name, b);
		buf_put_byte(b, ' ');
		type_put(s->fields[i].type, b);
	}
}
