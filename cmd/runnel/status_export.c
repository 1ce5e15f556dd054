/* status.h for programs: JSON and Prometheus's text format.  What a task counts is in one table
 * that both are put from. */
#include "cmd/runnel/status.h"

#include "cmd/common/json_put.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

enum value_kind { VALUE_COUNT, VALUE_SHARE, VALUE_US };

struct task_value {
	const char *json;       /* the key */
	const char *prometheus; /* the metric, without "runnel_"; NULL: JSON only */
	const char *type, *help;
	enum value_kind kind;
	size_t offset;
};

#define AT(field) offsetof(struct status_task, field)

static const struct task_value task_values[] = {
	{"rows_in", "rows_in_total", "counter", "Rows that came in since this start of the job.",
		VALUE_COUNT, AT(rows_in)},
	{"rows_out", "rows_out_total", "counter", "Rows that went out since this start of the job.",
		VALUE_COUNT, AT(rows_out)},
	{"bytes_out", "bytes_out_total", "counter",
		"Bytes that went out since this start of the job.", VALUE_COUNT, AT(bytes_out)},
	{"late", "late_rows_total", "counter", "Rows that came after their window had closed.",
		VALUE_COUNT, AT(late)},
	{"bad", "bad_rows_total", "counter", "Rows that couldn't be read or computed.", VALUE_COUNT,
		AT(bad)},
	{"rows_in_per_second", NULL, NULL, NULL, VALUE_SHARE, AT(rows_in_rate)},
	{"rows_out_per_second", NULL, NULL, NULL, VALUE_SHARE, AT(rows_out_rate)},
	{"busy", "busy_ratio", "gauge", "Share of the last seconds spent at work.", VALUE_SHARE,
		AT(busy)},
	{"idle", "idle_ratio", "gauge", "Share of the last seconds spent waiting for input.",
		VALUE_SHARE, AT(idle)},
	{"backpressured", "backpressured_ratio", "gauge",
		"Share of the last seconds spent waiting for the stage behind.", VALUE_SHARE,
		AT(backpressured)},
	{"state_bytes", "state_bytes", "gauge", "Bytes of the last snapshot.", VALUE_COUNT,
		AT(state_bytes)},
	{"alignment_seconds", "alignment_seconds", "gauge",
		"How long the last snapshot waited for the barriers of all inputs.", VALUE_US,
		AT(alignment_us)},
};

enum { TASK_VALUES = sizeof task_values / sizeof *task_values };

static double us_to_seconds(int64_t us)
{
	return (double)us / 1e6;
}

/* ---- JSON ---- */

/* From then to now; null if either isn't known. */
static void json_age(struct buf *out, const char *key, const struct status *s, int64_t then_us)
{
	int64_t age;

	json_put_key(out, key);
	if (then_us == STATUS_NO_TIME || then_us == INT64_MAX ||
		__builtin_sub_overflow(s->now_us, then_us, &age))
		buf_put_text(out, "null");
	else
		json_put_real(out, us_to_seconds(age));
}

static void json_known(struct buf *out, const char *key, bool known, uint64_t value)
{
	if (known)
		json_put_uint(out, key, value);
	else
		json_put_text(out, key, NULL);
}

static void json_task(const struct status *s, const struct status_task *t, struct buf *out)
{
	buf_put_byte(out, '{');
	json_put_text(out, "stage", t->stage);
	json_put_uint(out, "subtask", t->subtask);
	json_put_uint(out, "subtasks", t->subtasks);
	json_put_text(out, "state", t->state);
	json_put_key(out, "pid");
	buf_printf(out, t->pid ? "%d" : "null", t->pid);
	json_put_bool(out, "source", t->source);
	json_put_bool(out, "sink", t->sink);
	for (size_t i = 0; i < TASK_VALUES; i++) {
		const struct task_value *v = &task_values[i];
		const char *field = (const char *)t + v->offset;
		uint64_t count = 0;
		double share = 0;

		memcpy(v->kind == VALUE_SHARE ? (void *)&share : (void *)&count, field, 8);
		switch (v->kind) {
		case VALUE_COUNT: json_put_uint(out, v->json, count); break;
		case VALUE_SHARE: json_put_number(out, v->json, share); break;
		case VALUE_US: json_put_number(out, v->json, us_to_seconds((int64_t)count)); break;
		}
	}
	json_put_time(out, "watermark", t->watermark_us);
	json_age(out, "lag_seconds", s, t->watermark_us);
	json_put_bool(out, "at_end", t->watermark_us == INT64_MAX);
	buf_put_byte(out, '}');
}

static void json_checkpoint(const struct status *s, struct buf *out)
{
	const struct status_checkpoint *c = &s->last;
	bool known = c->at_us != STATUS_NO_TIME;

	json_put_key(out, "checkpoint");
	if (!c->id) {
		buf_put_text(out, "null");
		return;
	}
	buf_put_byte(out, '{');
	json_put_uint(out, "id", c->id);
	json_put_text(out, "kind", c->kind);
	json_put_time(out, "at", c->at_us);
	json_age(out, "age_seconds", s, c->at_us);
	json_put_number(
		out, "duration_seconds", known ? us_to_seconds((int64_t)c->duration_us) : NAN);
	json_known(out, "bytes", known, c->bytes);
	json_put_number(
		out, "alignment_seconds", known ? us_to_seconds((int64_t)c->alignment_us) : NAN);
	buf_put_byte(out, '}');
}

void status_put_json(const struct status *s, struct buf *out)
{
	bool known = s->started_us != STATUS_NO_TIME;

	buf_put_byte(out, '{');
	json_put_text(out, "name", s->name);
	json_put_text(out, "pipeline", s->pipeline);
	json_put_text(out, "directory", s->directory);
	json_put_text(out, "job", s->job);
	json_put_text(out, "state", s->state);
	json_put_key(out, "pid");
	buf_printf(out, s->pid ? "%d" : "null", s->pid);
	json_known(out, "parallelism", known, s->parallelism);
	json_put_time(out, "now", s->now_us);
	json_put_time(out, "started", s->started_us);
	json_age(out, "up_seconds", s, s->started_us);
	json_known(out, "attempt", known, s->attempt);
	json_known(out, "restarts", known, s->restarts);
	json_put_text(out, "failure", s->failure);
	json_known(out, "checkpoints", known, s->checkpoints);
	json_known(out, "declined", known, s->declined);
	json_put_key(out, "pending_seconds");
	if (s->checkpoint_pending)
		json_put_real(out, us_to_seconds((int64_t)s->pending_us));
	else
		buf_put_text(out, "null");
	json_checkpoint(s, out);
	json_put_key(out, "tasks");
	buf_put_byte(out, '[');
	for (size_t i = 0; i < s->tasks_len; i++) {
		if (i)
			buf_put_byte(out, ',');
		json_task(s, &s->tasks[i], out);
	}
	buf_put_text(out, "]}\n");
}

/* ---- Prometheus ---- */

static void prometheus_head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP runnel_%s %s\n# TYPE runnel_%s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and newline are escaped, nothing else. */
static void prometheus_label(struct buf *out, const char *name, const char *value)
{
	struct buf utf8 = BUF_INIT;

	json_put_utf8(&utf8, value ? value : "");
	buf_printf(out, "%s=\"", name);
	for (size_t i = 0; i < utf8.len; i++) {
		uint8_t c = utf8.data[i];

		if (c == '\\' || c == '"' || c == '\n')
			buf_put_byte(out, '\\');
		buf_put_byte(out, c == '\n' ? 'n' : c);
	}
	buf_put_byte(out, '"');
	buf_clear(&utf8);
}

static void prometheus_value(struct buf *out, double value)
{
	if (isnan(value))
		buf_put_text(out, "NaN");
	else if (isinf(value))
		buf_put_text(out, value < 0 ? "-Inf" : "+Inf");
	else
		json_put_real(out, value);
	buf_put_byte(out, '\n');
}

static void prometheus_name(struct buf *out, const struct status *s, const char *name)
{
	buf_printf(out, "runnel_%s{", name);
	prometheus_label(out, "job", s->name);
}

static void prometheus_task_name(
	struct buf *out, const struct status *s, const char *name, const struct status_task *t)
{
	prometheus_name(out, s, name);
	buf_put_byte(out, ',');
	prometheus_label(out, "stage", t->stage);
	buf_printf(out, ",subtask=\"%" PRIu32 "\"} ", t->subtask);
}

struct job_value {
	const char *name, *type, *help;
	bool known;
	double value;
};

static void prometheus_job(const struct status *s, struct buf *out)
{
	const struct status_checkpoint *c = &s->last;
	bool any = c->id != 0, started = s->started_us != STATUS_NO_TIME;
	const struct job_value values[] = {
		{"start_time_seconds", "gauge", "When the supervisor was started, since 1970.",
			started, us_to_seconds(s->started_us)},
		{"parallelism", "gauge", "Subtasks of a stage that is parallel.", true,
			s->parallelism},
		{"attempt", "gauge", "Starts of the job in its whole life.", true,
			(double)s->attempt},
		{"restarts_total", "counter", "Restarts after a failure.", true,
			(double)s->restarts},
		{"checkpoints_total", "counter", "Checkpoints completed.", true,
			(double)s->checkpoints},
		{"checkpoints_declined_total", "counter", "Checkpoints given up.", true,
			(double)s->declined},
		{"checkpoint_pending_seconds", "gauge",
			"How long one has been under way; 0: none is.", true,
			s->checkpoint_pending ? us_to_seconds((int64_t)s->pending_us) : 0},
		{"checkpoint_id", "gauge", "Number of the last checkpoint.", any, (double)c->id},
		{"checkpoint_timestamp_seconds", "gauge", "When the last checkpoint was complete.",
			any && c->at_us != STATUS_NO_TIME, us_to_seconds(c->at_us)},
		{"checkpoint_duration_seconds", "gauge", "From its order until it was complete.",
			any, us_to_seconds((int64_t)c->duration_us)},
		{"checkpoint_bytes", "gauge", "Bytes of the last checkpoint.", any,
			(double)c->bytes},
		{"checkpoint_alignment_seconds", "gauge", "The longest alignment of any task.", any,
			us_to_seconds((int64_t)c->alignment_us)},
	};

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		if (!values[i].known)
			continue;
		prometheus_head(out, values[i].name, values[i].type, values[i].help);
		prometheus_name(out, s, values[i].name);
		buf_put_text(out, "} ");
		prometheus_value(out, values[i].value);
	}
}

static void prometheus_state(const struct status *s, struct buf *out)
{
	static const char *const states[] = {
		"starting", "running", "restarting", "stopping", "ended"};

	prometheus_head(out, "state", "gauge", "1 for the state the job is in.");
	for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
		prometheus_name(out, s, "state");
		buf_put_byte(out, ',');
		prometheus_label(out, "state", states[i]);
		buf_printf(out, "} %d\n", !strcmp(states[i], s->state));
	}
}

static void prometheus_family(const struct status *s, const struct task_value *v, struct buf *out)
{
	prometheus_head(out, v->prometheus, v->type, v->help);
	for (size_t i = 0; i < s->tasks_len; i++) {
		const char *field = (const char *)&s->tasks[i] + v->offset;
		uint64_t count = 0;
		double share = 0;

		prometheus_task_name(out, s, v->prometheus, &s->tasks[i]);
		memcpy(v->kind == VALUE_SHARE ? (void *)&share : (void *)&count, field, 8);
		switch (v->kind) {
		case VALUE_COUNT: buf_printf(out, "%" PRIu64 "\n", count); break;
		case VALUE_SHARE: prometheus_value(out, share); break;
		case VALUE_US: prometheus_value(out, us_to_seconds((int64_t)count)); break;
		}
	}
}

static void prometheus_running(const struct status *s, struct buf *out)
{
	prometheus_head(out, "running", "gauge", "1 while the subtask runs.");
	for (size_t i = 0; i < s->tasks_len; i++) {
		prometheus_task_name(out, s, "running", &s->tasks[i]);
		buf_printf(out, "%d\n", !strcmp(s->tasks[i].state, "running"));
	}
}

/* Absent until there is one; +Inf at the end of the input. */
static void prometheus_watermarks(const struct status *s, struct buf *out)
{
	prometheus_head(out, "watermark_seconds", "gauge",
		"Event time of the watermark, since 1970; +Inf at the end.");
	for (size_t i = 0; i < s->tasks_len; i++) {
		int64_t mark = s->tasks[i].watermark_us;

		if (mark == STATUS_NO_TIME)
			continue;
		prometheus_task_name(out, s, "watermark_seconds", &s->tasks[i]);
		prometheus_value(out, mark == INT64_MAX ? INFINITY : us_to_seconds(mark));
	}
}

void status_put_prometheus(const struct status *s, struct buf *out)
{
	prometheus_state(s, out);
	prometheus_job(s, out);
	if (!s->tasks_len)
		return;
	prometheus_running(s, out);
	for (size_t i = 0; i < TASK_VALUES; i++)
		if (task_values[i].prometheus)
			prometheus_family(s, &task_values[i], out);
	prometheus_watermarks(s, out);
}
