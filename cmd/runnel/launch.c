#include "cmd/runnel/launch.h"

#include "libcore/base/memory.h"

#include <sys/resource.h>

void launch_raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int launch_find(void *context, const char *word, struct arena *a, const char **path)
{
	return process_find("runnel", word, a, path);
}

int launch(const struct plan_stage *s, struct process_options *o, struct process *out,
	struct error *e)
{
	o->variables = s->in->file->variables;
	o->variables_len = s->in->file->variables_len;
	return process_start(s->program, s->argv, o, out, e);
}

int launch_describe(void *context, struct plan *p, size_t first, size_t *failed, struct error *e)
{
	size_t n = p->stages_len - first;
	struct process_question *questions = mem_zero(n * sizeof *questions);
	int status;

	for (size_t i = 0; i < n; i++) {
		const struct plan_stage *s = &p->stages[first + i];

		questions[i] = (struct process_question){.program = s->program, .argv = s->argv,
			.variables = s->in->file->variables,
			.variables_len = s->in->file->variables_len};
	}
	status = process_ask(questions, n, p->arena, failed, e);
	*failed += first;
	for (size_t i = 0; i < n && status == 0; i++) {
		p->stages[first + i].d = questions[i].answer;
		p->stages[first + i].described = true;
	}
	mem_free(questions);
	return status;
}
