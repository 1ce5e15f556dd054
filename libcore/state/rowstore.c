#include "libcore/state/rowstore.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"
#include "libcore/table/keytable.h"

#include <string.h>

void rowstore_init(struct rowstore *s, const struct schema *schema)
{
	*s = (struct rowstore){.schema = schema, .slack_rows = ROWSTORE_SLACK};
	batch_builder_init(&s->rows, schema);
}

void rowstore_clear(struct rowstore *s)
{
	if (s->schema)
		batch_builder_clear(&s->rows);
	mem_free(s->time_us);
	mem_free(s->key);
	mem_free(s->flags);
	*s = (struct rowstore){.schema = NULL};
}

uint32_t rowstore_add(struct rowstore *s, const struct batch *b, const uint32_t *pick, uint32_t n,
	const int64_t *time_us, const uint32_t *keys)
{
	uint32_t first = s->len;

	MUST(n < ROW_NONE - first);
	if (n == 0)
		return first;
	if (pick)
		batch_builder_put_picked(&s->rows, b, pick, n);
	else
		batch_builder_put_rows(&s->rows, b, 0, n);
	MEM_GROW(s->time_us, s->time_cap, first + (size_t)n);
	MEM_GROW(s->key, s->key_cap, first + (size_t)n);
	MEM_GROW(s->flags, s->flags_cap, first + (size_t)n);
	if (time_us)
		memcpy(s->time_us + first, time_us, n * sizeof *time_us);
	else
		memset(s->time_us + first, 0, n * sizeof *s->time_us);
	if (keys)
		memcpy(s->key + first, keys, n * sizeof *keys);
	else
		memset(s->key + first, 0xff, n * sizeof *s->key); /* KEY_NONE */
	memset(s->flags + first, 0, n);
	s->len += n;
	return first;
}

const struct batch *rowstore_view(struct rowstore *s)
{
	return batch_builder_view(&s->rows);
}

void rowstore_kill(struct rowstore *s, uint32_t row)
{
	MUST(row < s->len);
	s->dead += !(s->flags[row] & ROW_DEAD);
	s->flags[row] |= ROW_DEAD;
}

bool rowstore_wants_compact(const struct rowstore *s, uint32_t others)
{
	return s->dead > s->slack_rows && s->dead > (uint64_t)(s->len - s->dead) + others;
}

void rowstore_compact(struct rowstore *s, uint32_t *remap)
{
	uint32_t *live = mem_alloc((s->len - s->dead + 1) * sizeof *live);
	struct batch_builder kept;
	uint32_t n = 0;

	for (uint32_t r = 0; r < s->len; r++) {
		bool lives = !(s->flags[r] & ROW_DEAD);

		remap[r] = lives ? n : ROW_NONE;
		if (!lives)
			continue;
		s->time_us[n] = s->time_us[r];
		s->key[n] = s->key[r];
		s->flags[n] = s->flags[r];
		live[n++] = r;
	}
	MUST(n == s->len - s->dead);
	batch_builder_init(&kept, s->schema);
	if (n)
		batch_builder_put_picked(&kept, rowstore_view(s), live, n);
	batch_builder_clear(&s->rows);
	s->rows = kept;
	s->len = n;
	s->dead = 0;
	mem_free(live);
}

static size_t builder_bytes(const struct column_builder *b)
{
	size_t bytes = (size_t)b->rows_cap * b->width + b->bytes.cap;

	if (b->valid)
		bytes += b->rows_cap / 8;
	if (b->offsets)
		bytes += (b->rows_cap + (size_t)1) * sizeof *b->offsets;
	return bytes;
}

size_t rowstore_bytes(const struct rowstore *s)
{
	size_t bytes = s->time_cap * sizeof *s->time_us + s->key_cap * sizeof *s->key +
		       s->flags_cap;

	for (size_t i = 0; s->schema && i < s->schema->fields_len; i++)
		bytes += builder_bytes(&s->rows.columns[i]);
	return bytes;
}

bool rowstore_is_full(const struct rowstore *s)
{
	const size_t room = (size_t)256 << 20; /* for a batch of large values */

	for (size_t i = 0; s->schema && i < s->schema->fields_len; i++) {
		if (s->rows.columns[i].bytes.len > UINT32_MAX - room)
			return true;
	}
	return false;
}

void rowlists_clear(struct rowlists *l)
{
	for (size_t i = 0; i < l->len; i++)
		mem_free(l->lists[i].rows);
	mem_free(l->lists);
	*l = (struct rowlists){.lists = NULL};
}

void rowlists_resize(struct rowlists *l, size_t keys)
{
	if (keys <= l->len)
		return;
	MEM_GROW(l->lists, l->cap, keys);
	memset(l->lists + l->len, 0, (keys - l->len) * sizeof *l->lists);
	l->len = keys;
}

static uint32_t list_until(const struct rowlist *list, const int64_t *time_us, int64_t until_us)
{
	uint32_t low = 0, high = list->len;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (time_us[list->rows[middle]] <= until_us)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void rowlists_add(struct rowlists *l, const struct rowstore *s, uint32_t row)
{
	struct rowlist *list;
	size_t cap;
	uint32_t at;

	MUST(s->key[row] < l->len);
	list = &l->lists[s->key[row]];
	cap = list->cap;
	MEM_GROW(list->rows, cap, list->len + (size_t)1);
	l->held += cap - list->cap;
	list->cap = (uint32_t)cap;
	at = list->len;
	if (at && s->time_us[list->rows[at - 1]] > s->time_us[row]) {
		at = list_until(list, s->time_us, s->time_us[row]);
		memmove(list->rows + at + 1, list->rows + at,
			(list->len - at) * sizeof *list->rows);
	}
	list->rows[at] = row;
	list->len++;
}

uint32_t rowlists_until(
	const struct rowlists *l, const struct rowstore *s, uint32_t key, int64_t until_us)
{
	return key < l->len ? list_until(&l->lists[key], s->time_us, until_us) : 0;
}

static void list_compact(struct rowlist *list, const uint32_t *rows)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < list->len; i++) {
		list->rows[n] = rows[list->rows[i]];
		n += list->rows[n] != ROW_NONE;
	}
	list->len = n;
}

void rowlists_compact(struct rowlists *l, const uint32_t *keys, const uint32_t *rows)
{
	size_t n = 0;

	for (size_t k = 0; k < l->len; k++) {
		struct rowlist list = l->lists[k];

		if (keys[k] == UINT32_MAX) {
			l->held -= list.cap;
			mem_free(list.rows);
			continue;
		}
		list_compact(&list, rows);
		MUST(keys[k] >= n && keys[k] <= k);
		for (; n < keys[k]; n++) /* keys that this side never had rows of */
			l->lists[n] = (struct rowlist){.rows = NULL};
		l->lists[n++] = list;
	}
	l->len = n;
}

size_t rowlists_bytes(const struct rowlists *l)
{
	return l->cap * sizeof *l->lists + l->held * sizeof(uint32_t);
}
