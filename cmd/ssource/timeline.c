#include "cmd/ssource/timeline.h"

#include "libcore/base/memory.h"
#include "libcore/frame/frame.h"

void timeline_clear(struct timeline *t)
{
	for (size_t i = 0; i < t->len; i++)
		mem_free(t->items[i]);
	mem_free(t->items);
	*t = (struct timeline){.items = NULL};
}

struct partition *timeline_add(struct timeline *t, int64_t mono_us)
{
	struct partition *p = mem_zero(sizeof *p);

	p->greatest_us = WATERMARK_NONE;
	p->active_us = mono_us;
	MEM_GROW(t->items, t->cap, t->len + 1);
	return t->items[t->len++] = p;
}

void timeline_remove(struct timeline *t, struct partition *p)
{
	for (size_t i = 0; i < t->len; i++) {
		if (t->items[i] != p)
			continue;
		t->items[i] = t->items[--t->len];
		mem_free(p);
		return;
	}
}

static bool is_idle(const struct timeline *t, const struct partition *p, int64_t mono_us)
{
	return t->idle_us && mono_us - p->active_us >= t->idle_us;
}

static int64_t subtract(int64_t a, int64_t b)
{
	int64_t out;

	return __builtin_sub_overflow(a, b, &out) ? INT64_MIN + 1 : out;
}

static int64_t add(int64_t a, int64_t b)
{
	int64_t out;

	return __builtin_add_overflow(a, b, &out) ? a : out;
}

/* All are silent: as far as the one that is farthest would be by now. */
static int64_t go_on(const struct timeline *t, int64_t mono_us)
{
	int64_t farthest = WATERMARK_NONE;

	for (size_t i = 0; i < t->len; i++) {
		const struct partition *p = t->items[i];
		int64_t by_now;

		if (p->over || p->greatest_us == WATERMARK_NONE)
			continue;
		by_now = subtract(
			subtract(add(p->greatest_us, mono_us - p->active_us), t->delay_us), 1);
		if (by_now > farthest)
			farthest = by_now;
	}
	return farthest;
}

int64_t timeline_watermark(const struct timeline *t, int64_t mono_us, bool *all_idle)
{
	int64_t least = INT64_MAX;
	bool any_active = false, any_unknown = false;

	for (size_t i = 0; i < t->len; i++) {
		const struct partition *p = t->items[i];

		if (p->over || is_idle(t, p, mono_us))
			continue;
		any_active = true;
		any_unknown |= p->greatest_us == WATERMARK_NONE;
		if (p->greatest_us < least)
			least = p->greatest_us;
	}
	*all_idle = !any_active;
	if (!any_active)
		return go_on(t, mono_us);
	return any_unknown ? WATERMARK_NONE : subtract(subtract(least, t->delay_us), 1);
}

int64_t timeline_until_idle(const struct timeline *t, int64_t mono_us)
{
	int64_t least = -1;

	for (size_t i = 0; i < t->len && t->idle_us; i++) {
		const struct partition *p = t->items[i];
		int64_t left = p->active_us + t->idle_us - mono_us;

		if (!p->over && left > 0 && (least < 0 || left < least))
			least = left;
	}
	return least;
}
