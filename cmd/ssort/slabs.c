#include "cmd/ssort/slabs.h"

#include "libcore/base/memory.h"

#include <sys/mman.h>

enum { ALIGN = 64, HUGE_BYTES = 2 << 20 };

void slabs_init(struct slabs *s, size_t slab_bytes)
{
	*s = (struct slabs){.slab_bytes = slab_bytes};
}

static void slab_free(struct slab *x)
{
	mem_column_free(x->data, x->bytes);
}

void slabs_clear(struct slabs *s)
{
	for (size_t i = 0; i < s->len; i++)
		slab_free(&s->slabs[i]);
	mem_free(s->slabs);
	slabs_init(s, s->slab_bytes);
}

void slabs_reset(struct slabs *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->len; i++) {
		if (s->slabs[i].bytes == s->slab_bytes)
			s->slabs[kept++] = s->slabs[i];
		else
			slab_free(&s->slabs[i]);
	}
	s->len = kept;
	s->at = s->used = s->taken = 0;
}

/* The slab to fill is there and has no room: the next one that was kept, or a new one. */
static void next_slab(struct slabs *s, size_t bytes)
{
	struct slab x = {.bytes = bytes > s->slab_bytes ? bytes : s->slab_bytes};

	s->at += s->len > 0 && s->used > 0;
	s->used = 0;
	if (s->at < s->len && s->slabs[s->at].bytes >= bytes)
		return;
	x.data = mem_column_resize(NULL, 0, x.bytes);
	if (x.bytes >= 4 * HUGE_BYTES) /* else it is no mapping of its own */
		madvise(x.data, x.bytes, MADV_HUGEPAGE);
	MEM_GROW(s->slabs, s->cap, s->len + 1);
	for (size_t i = s->len; i > s->at; i--)
		s->slabs[i] = s->slabs[i - 1];
	s->slabs[s->at] = x;
	s->len++;
}

void *slabs_alloc(struct slabs *s, size_t bytes)
{
	void *p;

	bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
	if (!s->len || s->slabs[s->at].bytes - s->used < bytes)
		next_slab(s, bytes);
	p = s->slabs[s->at].data + s->used;
	s->used += bytes;
	s->taken += bytes;
	return p;
}

size_t slabs_bytes(const struct slabs *s)
{
	return s->taken;
}
