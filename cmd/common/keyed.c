#include "cmd/common/keyed.h"

#include "libcore/expr/expr.h"

int keyed_describe(const char *keys, const char *what, struct arena *a,
	struct stage_description *about, struct error *e)
{
	struct select_list list = {.len = 0};

	if (!keys)
		return 0;
	if (select_parse(keys, what, a, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.len; i++) {
		struct buf b = BUF_INIT;

		if (list.items[i].kind == SELECT_STAR || i == DESCRIPTION_KEYS_MAX)
			return 0;
		expr_put(list.items[i].expr, &b);
		about->keys[0][i] = arena_strndup(a, (const char *)b.data, b.len);
		buf_clear(&b);
	}
	about->keys_len[0] = list.len;
	about->spread = STAGE_KEYED;
	return 0;
}
