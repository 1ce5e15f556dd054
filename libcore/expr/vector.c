#include "libcore/expr/kernel.h"

#include "libcore/base/must.h"

static size_t bitmap_bytes(uint32_t rows)
{
	return ((size_t)rows + 7) / 8;
}

void *vector_data(struct kernel *k)
{
	void *data = arena_alloc(k->arena, k->rows * type_width(k->out->col.type));

	k->out->col.data = data;
	return data;
}

uint32_t *vector_offsets(struct kernel *k)
{
	uint32_t *offsets = arena_alloc(k->arena, ((size_t)k->rows + 1) * sizeof *offsets);

	offsets[0] = 0;
	k->out->col.offsets = offsets;
	return offsets;
}

void vector_text_overflow(struct kernel *k, uint32_t from, uint32_t row)
{
	k->text->len = from;
	vector_fail(k, row, "a text too long for a batch");
}

void vector_text_finish(struct kernel *k)
{
	MUST(k->text->len <= UINT32_MAX);
	k->out->col.bytes = k->text->data ? k->text->data : (const uint8_t *)"";
}

uint8_t *vector_own_valid(struct kernel *k)
{
	uint8_t *own = arena_alloc(k->arena, bitmap_bytes(k->rows));

	if (k->out->col.valid)
		memcpy(own, k->out->col.valid, bitmap_bytes(k->rows));
	else
		memset(own, 0xff, bitmap_bytes(k->rows));
	k->out->col.valid = own;
	return own;
}

uint8_t *vector_own_failed(struct kernel *k)
{
	uint8_t *own = arena_alloc(k->arena, bitmap_bytes(k->rows));

	if (k->out->failed)
		memcpy(own, k->out->failed, bitmap_bytes(k->rows));
	else
		memset(own, 0, bitmap_bytes(k->rows));
	k->out->failed = own;
	return own;
}

/* Failures and nulls that turn up in a row are rare: the first copies the bitmap it writes to, which
 * until then is an argument's. */
void vector_null(struct kernel *k, uint32_t row)
{
	uint8_t *valid;

	if (k->out->col.valid && !column_is_valid(&k->out->col, row))
		return;
	valid = (uint8_t *)(uintptr_t)k->out->col.valid;
	if (!k->out->owns_valid) {
		valid = vector_own_valid(k);
		k->out->owns_valid = true;
	}
	valid[row >> 3] &= (uint8_t)~(1u << (row & 7));
}

void vector_fail(struct kernel *k, uint32_t row, const char *why)
{
	uint8_t *failed = (uint8_t *)(uintptr_t)k->out->failed;

	if (!k->out->owns_failed) {
		failed = vector_own_failed(k);
		k->out->owns_failed = true;
	}
	failed[row >> 3] |= (uint8_t)(1u << (row & 7));
	if (!*k->why)
		*k->why = why;
	vector_null(k, row);
}

void kernel_keep(struct kernel *k, const struct column *c)
{
	const uint8_t *failed = k->out->failed;
	uint32_t *all = arena_alloc(k->arena, k->rows * sizeof *all);

	for (uint32_t r = 0; r < k->rows; r++)
		all[r] = r;
	column_gather(c, all, k->rows, k->arena, &k->out->col);
	k->out->owns_valid = k->out->col.valid != NULL;
	for (uint32_t r = 0; failed && r < k->rows; r++) {
		if (failed[r >> 3] >> (r & 7) & 1)
			vector_null(k, r);
	}
}
