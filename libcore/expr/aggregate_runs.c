#include "libcore/expr/aggregate_runs.h"

#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <stdbool.h>
#include <string.h>

/* Sizes 16, 24, 32, 48, ...: two for every doubling. */
static uint32_t size_bytes(unsigned size)
{
	return (uint32_t)(size & 1 ? 24 : 16) << (size >> 1);
}

static unsigned size_for(uint32_t bytes)
{
	unsigned size = 0;

	if (bytes > 16)
		size = 2 * (28 - (unsigned)__builtin_clz(bytes - 1)); /* 16 << size / 2 holds it */
	return size && size_bytes(size - 1) >= bytes ? size - 1 : size;
}

static bool is_large(const struct run *r)
{
	return r->cap >= RUN_LARGE_BYTES;
}

void runs_clear(struct runs *s)
{
	runs_reset(s);
	mem_free(s->runs);
	mem_free(s->pool);
	*s = (struct runs){.runs = NULL};
}

void runs_reserve(struct runs *s, uint32_t slots)
{
	s->runs = mem_resize(s->runs, (size_t)slots * sizeof *s->runs);
	memset(s->runs + s->slots, 0, (size_t)(slots - s->slots) * sizeof *s->runs);
	s->slots = slots;
}

size_t runs_bytes(const struct runs *s)
{
	return s->slots * sizeof *s->runs + s->pool_cap + s->large_bytes;
}

void runs_drop(struct runs *s, uint32_t slot)
{
	struct run *r = &s->runs[slot];

	if (is_large(r)) {
		s->large_bytes -= r->cap;
		mem_free(r->large);
	} else if (r->cap) {
		unsigned size = size_for(r->cap);

		memcpy(s->pool + r->at, &s->free[size], sizeof s->free[size]);
		s->free[size] = r->at + 1;
	}
	*r = (struct run){.len = 0};
}

void runs_reset(struct runs *s)
{
	for (uint32_t i = 0; s->large_bytes && i < s->slots; i++) {
		if (is_large(&s->runs[i]))
			runs_drop(s, i);
	}
	if (s->slots)
		memset(s->runs, 0, s->slots * sizeof *s->runs);
	memset(s->free, 0, sizeof s->free);
	s->pool_len = 0;
}

static uint64_t block_take(struct runs *s, unsigned size)
{
	uint64_t at = s->free[size];
	uint32_t bytes = size_bytes(size);

	if (at) {
		memcpy(&s->free[size], s->pool + at - 1, sizeof s->free[size]);
		return at - 1;
	}
	MEM_GROW(s->pool, s->pool_cap, s->pool_len + bytes);
	at = s->pool_len;
	s->pool_len += bytes;
	return at;
}

static void grow_large(struct runs *s, uint32_t slot, uint32_t bytes)
{
	struct run *r = &s->runs[slot], old = *r;

	if (is_large(r)) {
		s->large_bytes -= r->cap;
		r->large = mem_resize(r->large, bytes);
	} else {
		uint8_t *large = mem_alloc(bytes);

		if (old.len)
			memcpy(large, s->pool + old.at, old.len);
		runs_drop(s, slot);
		r->large = large;
	}
	r->len = old.len;
	r->cap = bytes;
	s->large_bytes += bytes;
}

uint8_t *runs_grow(struct runs *s, uint32_t slot, size_t more)
{
	struct run *r = &s->runs[slot], old = *r;
	uint32_t bytes;
	uint64_t at;

	if (more > RUN_BYTES_MAX - old.len)
		return NULL;
	bytes = old.len + (uint32_t)more;
	if (bytes > RUN_LARGE_BYTES / 4 * 3) {
		bytes += bytes / 2;
		grow_large(s, slot, bytes < RUN_LARGE_BYTES ? RUN_LARGE_BYTES : bytes);
		return r->large + r->len;
	}
	at = block_take(s, size_for(bytes));
	if (old.len)
		memcpy(s->pool + at, s->pool + old.at, old.len);
	runs_drop(s, slot);
	*r = (struct run){.at = at, .len = old.len, .cap = size_bytes(size_for(bytes))};
	MUST(r->cap >= bytes && r->cap < RUN_LARGE_BYTES);
	return s->pool + at + r->len;
}

bool runs_append(struct runs *to, const uint32_t *to_slots, const struct runs *from,
	const uint32_t *from_slots, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len = runs_len(from, from_slots[i]);
		uint8_t *room;

		if (len == 0)
			continue;
		room = runs_room(to, to_slots[i], len);
		if (!room)
			return false;
		memcpy(room, runs_data(from, from_slots[i]), len);
		to->runs[to_slots[i]].len += len;
	}
	return true;
}
