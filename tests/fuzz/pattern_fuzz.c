/* Patterns.  What is accepted keeps to the limits: every step leads to steps that are there, none twice,
 * nothing behind DONE, every variable is used.  It is the same pattern in parentheses and with space and
 * a comment around it.  What is refused is told with its place, and a caret below it. */
#include "cmd/smatch/pattern.h"

#include "libcore/base/buf.h"
#include "libcore/base/memory.h"
#include "libcore/base/must.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_next(const struct pattern *p, struct pattern_next next)
{
	bool *seen = mem_zero(p->steps_len + 1);

	for (uint32_t i = 0; i < next.len; i++) {
		if (next.steps[i] == PATTERN_DONE) {
			MUST(i == next.len - 1);
			continue;
		}
		MUST(next.steps[i] < p->steps_len && !seen[next.steps[i]]);
		seen[next.steps[i]] = true;
	}
	mem_free(seen);
}

static void check(const struct pattern *p)
{
	uint64_t used = 0;

	MUST(p->variables_len && p->variables_len <= PATTERN_VARIABLES_MAX);
	MUST(p->steps_len <= PATTERN_STEPS_MAX);
	for (size_t i = 0; i < p->variables_len; i++)
		MUST(pattern_find(p, p->variables[i], strlen(p->variables[i])) == (int)i);
	check_next(p, p->start);
	for (size_t i = 0; i < p->steps_len; i++) {
		MUST(p->steps[i].variable < p->variables_len);
		used |= UINT64_C(1) << p->steps[i].variable;
		if (i < 64)
			check_next(p, p->steps[i].next);
	}
	MUST(!(used >> p->variables_len));
}

static void check_refusal(const struct error *e)
{
	MUST(e->code == ERROR_USAGE && strncmp(e->text, "fuzz", 4) == 0);
	MUST(strlen(e->text) < ERROR_TEXT_MAX);
}

static void check_same_next(struct pattern_next a, struct pattern_next b)
{
	MUST(a.len == b.len && (!a.len || !memcmp(a.steps, b.steps, a.len * sizeof *a.steps)));
}

/* In a group, with a comment behind it; one level deeper may be too deep. */
static void check_group(const char *text, const struct pattern *p)
{
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	struct buf b = BUF_INIT;
	struct pattern again;

	buf_printf(&b, "\n ( %s\n) -- that's all", text);
	if (pattern_parse(buf_cstr(&b), "fuzz", &arena, &again, &e) == 0) {
		MUST(again.steps_len == p->steps_len && again.variables_len == p->variables_len);
		check_same_next(again.start, p->start);
		for (size_t i = 0; i < p->steps_len && i < 64; i++) {
			MUST(again.steps[i].variable == p->steps[i].variable);
			MUST(again.steps[i].excluded == p->steps[i].excluded);
			check_same_next(again.steps[i].next, p->steps[i].next);
		}
	} else {
		MUST(strstr(e.text, "too deeply"));
	}
	buf_clear(&b);
	arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = ARENA_INIT;
	struct error e = ERROR_INIT;
	struct pattern p;
	char *text = mem_alloc(size + 1);

	if (size)
		memcpy(text, data, size);
	text[size] = 0;
	if (pattern_parse(text, "fuzz", &arena, &p, &e) < 0) {
		check_refusal(&e);
	} else {
		check(&p);
		check_group(text, &p);
	}
	mem_free(text);
	arena_clear(&arena);
	return 0;
}
