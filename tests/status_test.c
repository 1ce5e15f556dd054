/* What a job looks like from outside, in every form, byte by byte. */
#include "cmd/common/human.h"
#include "cmd/runnel/status.h"
#include "libcore/base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(array) (sizeof(array) / sizeof *(array))
#define NOW INT64_C(1704067200000000) /* 2024-01-01T00:00:00Z */
#define S INT64_C(1000000)

/* ---- numbers ---- */

static void counts_have_three_digits_and_a_unit(void **state)
{
	static const struct {
		double count;
		const char *text;
	} cases[] = {{0, "0"}, {0.04, "0.0"}, {0.3, "0.3"}, {1, "1"}, {9.94, "9.9"}, {9.96, "10"},
		{12.4, "12"}, {999, "999"}, {999.4, "999"}, {999.6, "1.0k"}, {1000, "1.0k"},
		{12345, "12.3k"}, {99949, "99.9k"}, {99951, "100k"}, {123456, "123k"},
		{999499, "999k"}, {999500, "1.0M"}, {4.5e6, "4.5M"}, {1e18, "1.0E"}, {9.9e20, "990E"},
		{1e30, "-"}, {-1, "-"}, {NAN, "-"}, {INFINITY, "-"}};
	char text[HUMAN_TEXT_MAX];

	for (size_t i = 0; i < LEN(cases); i++)
		assert_string_equal(human_count(text, cases[i].count), cases[i].text);
}

static void bytes_are_in_powers_of_1024(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1536, "1.5 KiB"},
		{128 << 20, "128 MiB"}, {1023 << 10, "1023 KiB"}, {(1 << 20) - 1, "1.0 MiB"},
		{UINT64_C(5) << 40, "5.0 TiB"}, {UINT64_MAX, "16.0 EiB"}};
	char text[HUMAN_TEXT_MAX];

	for (size_t i = 0; i < LEN(cases); i++)
		assert_string_equal(human_bytes(text, cases[i].bytes), cases[i].text);
}

static void spans_have_their_two_greatest_units(void **state)
{
	static const struct {
		int64_t us;
		const char *text;
	} cases[] = {{0, "0us"}, {999, "999us"}, {1000, "1ms"}, {999999, "999ms"}, {1 * S, "1.0s"},
		{9999999, "9.9s"}, {10 * S, "10s"}, {59999999, "59s"}, {60 * S, "1m0s"},
		{3599 * S, "59m59s"}, {3600 * S, "1h0m"}, {7980 * S, "2h13m"}, {86400 * S, "1d0h"},
		{99 * 86400 * S, "99d0h"}, {100 * 86400 * S, "100d"}, {-90 * S, "-1m30s"},
		{INT64_MAX, "106751991d"}, {INT64_MIN, "-106751991d"}};
	char text[HUMAN_TEXT_MAX];

	for (size_t i = 0; i < LEN(cases); i++)
		assert_string_equal(human_span(text, cases[i].us), cases[i].text);
}

/* ---- jobs ---- */

static const struct status_task flight_tasks[] = {
	{.stage = "ssource", .subtasks = 1, .state = "running", .pid = 101, .source = true,
		.rows_out = 4500000, .rows_out_rate = 12345, .bytes_out = 1000, .busy = 0.25, .idle = 0,
		.backpressured = 0.75, .watermark_us = NOW - 1200000, .state_bytes = 590},
	{.stage = "swindow", .subtask = 0, .subtasks = 2, .state = "running", .pid = 102,
		.rows_in = 2000000, .rows_out = 10, .late = 7, .rows_in_rate = 6000, .rows_out_rate = 0.5,
		.busy = 0.97, .idle = 0.03, .watermark_us = NOW - 2 * S, .state_bytes = 64 << 20,
		.alignment_us = 4000},
	{.stage = "swindow", .subtask = 1, .subtasks = 2, .state = "starting", .pid = 103,
		.watermark_us = STATUS_NO_TIME, .state_bytes = 64 << 20},
	{.stage = "ssink", .subtasks = 1, .state = "finished", .sink = true, .rows_in = 10,
		.watermark_us = INT64_MAX},
};

static struct status flights(void)
{
	return (struct status){.name = "flights", .pipeline = "/home/a/flights.sh",
		.directory = "/home/a/.local/state/runnel/flights", .job = "0f", .state = "running",
		.pid = 100, .parallelism = 2, .now_us = NOW, .started_us = NOW - 7980 * S, .attempt = 3,
		.restarts = 2, .failure = "swindow.1 was killed by signal 9\nits log is elsewhere",
		.checkpoints = 482, .declined = 1,
		.last = {.id = 483, .kind = "savepoint", .at_us = NOW - 3 * S, .duration_us = 120000,
			.bytes = 128 << 20, .alignment_us = 4000},
		.checkpoint_pending = true, .pending_us = 1200000, .tasks = flight_tasks,
		.tasks_len = LEN(flight_tasks)};
}

/* Nothing is known, nothing runs, and nobody was kind when naming it. */
static struct status strange(void)
{
	return (struct status){.name = "a\"b\\c\nd\xff\033[31m", .directory = "", .state = "starting",
		.now_us = NOW, .started_us = NOW + S, .last = {.at_us = STATUS_NO_TIME}};
}

static struct status stopped(void)
{
	return (struct status){.name = "flights", .directory = "/s/flights", .state = "not running",
		.now_us = NOW, .started_us = STATUS_NO_TIME,
		.last = {.id = 12, .at_us = STATUS_NO_TIME}};
}

static void assert_text(struct buf *got, const char *want)
{
	if (strcmp(buf_cstr(got), want) != 0)
		fail_msg("got:\n%s\nwant:\n%s", buf_cstr(got), want);
	buf_clear(got);
}

static const struct table_case {
	struct status (*status)(void);
	struct status_form form;
	const char *want;
} table_cases[] = {
	{flights, {.columns = 0},
		"flights  running  up 2h13m  -p 2  pid 100  restarts 2\n"
		"last failure  swindow.1 was killed by signal 9\n"
		"checkpoint 483 (savepoint)  3.0s ago  took 120ms  128 MiB  alignment 4ms\n"
		"checkpoints  482 completed, 1 given up, one under way for 1.2s\n"
		"\n"
		"STAGE        LOAD        BUSY  BACKP   IN/S  OUT/S   ROWS    WATERMARK   LATE     STATE\n"
		"ssource      ###+++++++   25%    75%      -  12.3k   4.5M  1.2s behind      -     590 B\n"
		"swindow 1/2  ##########   97%     0%   6.0k    0.5   2.0M            -      7   128 MiB\n"
		"ssink        finished       -      -      -      -     10          end      -         -\n"
		"bottleneck: swindow, 97% busy\n"},
	{flights, {.columns = 80, .per_subtask = true},
		"flights  running  up 2h13m  -p 2  pid 100  restarts 2\n"
		"last failure  swindow.1 was killed by signal 9\n"
		"checkpoint 483 (savepoint)  3.0s ago  took 120ms  128 MiB  alignment 4ms\n"
		"checkpoints  482 completed, 1 given up, one under way for 1.2s\n"
		"\n"
		"STAGE      LOAD        BUSY   IN/S  OUT/S   ROWS    WATERMARK   LATE     STATE\n"
		"ssource    ###+++++++   25%      -  12.3k   4.5M  1.2s behind      -     590 B\n"
		"swindow.0  ##########   97%   6.0k    0.5   2.0M  2.0s behind      7  64.0 MiB\n"
		"swindow.1  starting       -      -      -      0            -      -  64.0 MiB\n"
		"ssink      finished       -      -      -     10          end      -         -\n"
		"bottleneck: swindow.0, 97% busy\n"},
	{flights, {.columns = 64},
		"flights  running  up 2h13m  -p 2  pid 100  restarts 2\n"
		"last failure  swindow.1 was killed by signal 9\n"
		"checkpoint 483 (savepoint)  3.0s ago  took 120ms  128 MiB  align\n"
		"checkpoints  482 completed, 1 given up, one under way for 1.2s\n"
		"\n"
		"STAGE        LOAD         IN/S  OUT/S    WATERMARK   LATE\n"
		"ssource      ###+++++++      -  12.3k  1.2s behind      -\n"
		"swindow 1/2  ##########   6.0k    0.5            -      7\n"
		"ssink        finished        -      -          end      -\n"
		"bottleneck: swindow, 97% busy\n"},
	{flights, {.columns = 80, .color = true},
		"\033[1mflights\033[0m  \033[32mrunning\033[0m  up 2h13m  -p 2  pid 100\033[33m  restarts "
		"2\033[0m\n"
		"last failure  \033[31mswindow.1 was killed by signal 9\033[0m\n"
		"checkpoint 483 (savepoint)  3.0s ago  took 120ms  128 MiB  alignment 4ms\n"
		"checkpoints  482 completed\033[33m, 1 given up\033[0m, one under way for 1.2s\n"
		"\n"
		"\033[1mSTAGE\033[0m        \033[1mLOAD\033[0m        \033[1mBUSY\033[0m   "
		"\033[1mIN/S\033[0m  \033[1mOUT/S\033[0m   \033[1mROWS\033[0m    \033[1mWATERMARK\033[0m   "
		"\033[1mLATE\033[0m     \033[1mSTATE\033[0m\n"
		"ssource      \033[32m###\033[0m\033[33m+++++++\033[0m   25%      -  12.3k   4.5M  1.2s "
		"behind      -     590 B\n"
		"\033[1mswindow 1/2\033[0m  \033[31m##########\033[0m   \033[1m97%\033[0m   6.0k    0.5   "
		"2.0M            -      \033[33m7\033[0m   128 MiB\n"
		"ssink        \033[2mfinished\033[0m       -      -      -     10          end      -      "
		"   -\n"
		"\033[1mbottleneck: swindow, 97% busy\033[0m\n"},
	{strange, {.columns = 80},
		"a\"b\\c  starting  up 0us  -p 0  restarts 0\n"
		"checkpoint  none yet\n"
		"checkpoints  0 completed\n"},
	{stopped, {.columns = 80},
		"flights  not running  -p 0  restarts 0\n"
		"checkpoint 12  took 0us  0 B  alignment 0us\n"
		"checkpoints  0 completed\n"},
};

static void tables_are_as_drawn(void **state)
{
	for (size_t i = 0; i < LEN(table_cases); i++) {
		const struct table_case *c = &table_cases[i];
		struct status s = c->status();
		struct buf out = BUF_INIT;

		status_put_table(&s, &c->form, &out);
		assert_text(&out, c->want);
	}
}

static void no_line_is_wider_than_the_terminal(void **state)
{
	for (unsigned columns = 1; columns < 140; columns++) {
		struct status_form form = {.columns = columns, .per_subtask = columns % 2};
		struct status s = flights();
		struct buf out = BUF_INIT;
		char *line, *rest;

		status_put_table(&s, &form, &out);
		buf_cstr(&out);
		rest = (char *)out.data;
		while ((line = strsep(&rest, "\n")))
			if (strlen(line) > columns)
				fail_msg("%u columns: %s", columns, line);
		buf_clear(&out);
	}
}

static void a_table_of_80_columns_has_all_that_tells_who_is_slow(void **state)
{
	static const char *const titles[] = {"STAGE", "LOAD", "BUSY", "IN/S", "OUT/S", "WATERMARK",
		"LATE", "STATE"};
	struct status s = flights();
	struct buf out = BUF_INIT;

	status_put_table(&s, &(struct status_form){.columns = 80}, &out);
	for (size_t i = 0; i < LEN(titles); i++)
		assert_non_null(strstr(buf_cstr(&out), titles[i]));
	buf_clear(&out);
}

static void a_far_watermark_is_a_time_and_a_near_one_a_distance(void **state)
{
	static const struct {
		int64_t us;
		const char *text;
	} cases[] = {{NOW - 2 * S, "2.0s behind"}, {NOW, "0us behind"}, {NOW + 90 * S, "1m30s ahead"},
		{NOW - 86399 * S, "23h59m behind"}, {NOW - 86400 * S, "2023-12-31 00:00"},
		{0, "1970-01-01 00:00"}, {INT64_MAX, " end"}, {INT64_MAX - 1, "294247-01-10 04:00"},
		{STATUS_NO_TIME, " - "}, {STATUS_NO_TIME + 1, "-290308-12-21 19:59"}};

	for (size_t i = 0; i < LEN(cases); i++) {
		struct status_task t = {.stage = "smap", .subtasks = 1, .state = "running",
			.watermark_us = cases[i].us};
		struct status s = flights();
		struct buf out = BUF_INIT;

		s.tasks = &t;
		s.tasks_len = 1;
		status_put_table(&s, &(struct status_form){.columns = 0}, &out);
		if (!strstr(buf_cstr(&out), cases[i].text))
			fail_msg("no '%s' in:\n%s", cases[i].text, buf_cstr(&out));
		buf_clear(&out);
	}
}

static void a_long_name_is_cut_between_characters(void **state)
{
	struct status_task t = {.stage = "\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc"
		"\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc\u00e4\u00f6\u00fc\u00e4",
		.subtasks = 1, .state = "stopped", .watermark_us = STATUS_NO_TIME};
	struct status s = strange();
	struct buf out = BUF_INIT;

	s.tasks = &t;
	s.tasks_len = 1;
	status_put_table(&s, &(struct status_form){.columns = 0}, &out);
	assert_non_null(strstr(buf_cstr(&out), "\u00e4\u00f6~  stopped"));
	buf_clear(&out);
}

/* ---- lists and programs ---- */

static void a_line_stands_under_its_titles(void **state)
{
	struct status s = flights();
	struct buf out = BUF_INIT;

	status_put_line_head(&out);
	status_put_line(&s, &out);
	s = strange();
	status_put_line(&s, &out);
	s = stopped();
	status_put_line(&s, &out);
	assert_text(&out,
		"JOB                   STATE            UP   IN/S  CHECKPOINT        RESTARTS  DIRECTORY\n"
		"flights               running       2h13m  12.3k  483 3.0s ago             2  "
		"/home/a/.local/state/runnel/flights\n"
		"a\"b\\c                 starting        0us      0  -                        0  \n"
		"flights               not running       -      -  12                       -  /s/flights\n");
}

static void json_is_one_object_a_line(void **state)
{
	struct status (*const cases[])(void) = {flights, strange, stopped};

	for (size_t i = 0; i < LEN(cases); i++) {
		struct buf out = BUF_INIT, packed = BUF_INIT;
		struct status s = cases[i]();
		const char *why = "";
		size_t at = 0;

		status_put_json(&s, &out);
		assert_int_equal(strcspn(buf_cstr(&out), "\n"), out.len - 1);
		if (json_parse((const char *)out.data, out.len, &packed, &at, &why) < 0)
			fail_msg("byte %zu: %s in %s", at, why, buf_cstr(&out));
		buf_clear(&packed);
		buf_clear(&out);
	}
}

static void json_says_what_is_known(void **state)
{
	struct buf out = BUF_INIT;
	struct status s = strange();

	status_put_json(&s, &out);
	assert_text(&out,
		"{\"name\":\"a\\\"b\\\\c\\nd?\\u001b[31m\",\"pipeline\":null,\"directory\":\"\","
		"\"job\":null,\"state\":\"starting\",\"pid\":null,\"parallelism\":0,"
		"\"now\":\"2024-01-01T00:00:00Z\",\"started\":\"2024-01-01T00:00:01Z\",\"up_seconds\":-1,"
		"\"attempt\":0,\"restarts\":0,\"failure\":null,\"checkpoints\":0,\"declined\":0,"
		"\"pending_seconds\":null,\"checkpoint\":null,\"tasks\":[]}\n");
	s = stopped();
	status_put_json(&s, &out);
	assert_text(&out,
		"{\"name\":\"flights\",\"pipeline\":null,\"directory\":\"/s/flights\",\"job\":null,"
		"\"state\":\"not running\",\"pid\":null,\"parallelism\":null,"
		"\"now\":\"2024-01-01T00:00:00Z\",\"started\":null,\"up_seconds\":null,\"attempt\":null,"
		"\"restarts\":null,\"failure\":null,\"checkpoints\":null,\"declined\":null,"
		"\"pending_seconds\":null,\"checkpoint\":{\"id\":12,\"kind\":null,\"at\":null,"
		"\"age_seconds\":null,\"duration_seconds\":null,\"bytes\":null,\"alignment_seconds\":null},"
		"\"tasks\":[]}\n");
	s = flights();
	s.tasks = &flight_tasks[1];
	s.tasks_len = 1;
	status_put_json(&s, &out);
	assert_text(&out,
		"{\"name\":\"flights\",\"pipeline\":\"/home/a/flights.sh\","
		"\"directory\":\"/home/a/.local/state/runnel/flights\",\"job\":\"0f\","
		"\"state\":\"running\",\"pid\":100,\"parallelism\":2,\"now\":\"2024-01-01T00:00:00Z\","
		"\"started\":\"2023-12-31T21:47:00Z\",\"up_seconds\":7980,\"attempt\":3,\"restarts\":2,"
		"\"failure\":\"swindow.1 was killed by signal 9\\nits log is elsewhere\","
		"\"checkpoints\":482,\"declined\":1,\"pending_seconds\":1.2,\"checkpoint\":{\"id\":483,"
		"\"kind\":\"savepoint\",\"at\":\"2023-12-31T23:59:57Z\",\"age_seconds\":3,"
		"\"duration_seconds\":0.12,\"bytes\":134217728,\"alignment_seconds\":0.004},"
		"\"tasks\":[{\"stage\":\"swindow\",\"subtask\":0,\"subtasks\":2,\"state\":\"running\","
		"\"pid\":102,\"source\":false,\"sink\":false,\"rows_in\":2000000,\"rows_out\":10,"
		"\"bytes_out\":0,\"late\":7,\"bad\":0,\"rows_in_per_second\":6000,"
		"\"rows_out_per_second\":0.5,\"busy\":0.97,\"idle\":0.03,\"backpressured\":0,"
		"\"state_bytes\":67108864,\"alignment_seconds\":0.004,"
		"\"watermark\":\"2023-12-31T23:59:58Z\",\"lag_seconds\":2,\"at_end\":false}]}\n");
}

static void shares_that_are_no_numbers_are_null(void **state)
{
	struct status_task t = {.stage = "smap", .subtasks = 1, .state = "running", .busy = NAN,
		.idle = INFINITY, .watermark_us = INT64_MAX - 1};
	struct status s = flights();
	struct buf out = BUF_INIT;

	s.tasks = &t;
	s.tasks_len = 1;
	status_put_json(&s, &out);
	assert_non_null(strstr(buf_cstr(&out), "\"busy\":null,\"idle\":null"));
	assert_non_null(strstr(buf_cstr(&out), "\"watermark\":null"));
	buf_reset(&out);
	status_put_prometheus(&s, &out);
	assert_non_null(strstr(buf_cstr(&out), "subtask=\"0\"} NaN\n"));
	assert_non_null(strstr(buf_cstr(&out), "subtask=\"0\"} +Inf\n"));
	buf_clear(&out);
}

/* ---- Prometheus ---- */

static void metrics_are_as_written_down(void **state)
{
	struct status s = strange();
	struct buf out = BUF_INIT;
	struct status_task t = flight_tasks[1];

	t.stage = "a\"b\\c\nd\xff";
	s.tasks = &t;
	s.tasks_len = 1;
	status_put_prometheus(&s, &out);
	assert_text(&out,
		"# HELP runnel_state 1 for the state the job is in.\n"
		"# TYPE runnel_state gauge\n"
		"runnel_state{job=\"a\\\"b\\\\c\\nd?\033[31m\",state=\"starting\"} 1\n"
		"runnel_state{job=\"a\\\"b\\\\c\\nd?\033[31m\",state=\"running\"} 0\n"
		"runnel_state{job=\"a\\\"b\\\\c\\nd?\033[31m\",state=\"restarting\"} 0\n"
		"runnel_state{job=\"a\\\"b\\\\c\\nd?\033[31m\",state=\"stopping\"} 0\n"
		"runnel_state{job=\"a\\\"b\\\\c\\nd?\033[31m\",state=\"ended\"} 0\n"
		"# HELP runnel_start_time_seconds When the supervisor was started, since 1970.\n"
		"# TYPE runnel_start_time_seconds gauge\n"
		"runnel_start_time_seconds{job=\"a\\\"b\\\\c\\nd?\033[31m\"} 1704067201\n"
		"# HELP runnel_parallelism Subtasks of a stage that is parallel.\n"
		"# TYPE runnel_parallelism gauge\n"
		"runnel_parallelism{job=\"a\\\"b\\\\c\\nd?\033[31m\"} 0\n"
		"# HELP runnel_attempt Starts of the job in its whole life.\n"
		"# TYPE runnel_attempt gauge\n"
		"runnel_attempt{job=\"a\\\"b\\\\c\\nd?\033[31m\"} 0\n"
		"# HELP runnel_restarts_total Restarts after a failure.\n"
		"# TYPE runnel_restarts_total counter\n"
		"runnel_restarts_total{job=\"a\\\"b\\\\c\\nd?\033[31m\"} 0\n"
		"# HELP runnel_checkpoints_total Checkpoints completed.\n"
		"# TYPE runnel_checkpoints_total counter\n"
		"runnel_checkpoints_total{job=\"a\\\"b\\\\c\\nd?\033[31m\"} 0\n"
		"# HELP runnel_checkpoints_declined_total Checkpoints given up.\n"
		"# TYPE runnel_checkpoints_declined_total counter\n"
		"runnel_checkpoints_declined_total{job=\"a\\\"b\\\\c\\nd?\033[31m\"} 0\n"
		"# HELP runnel_checkpoint_pending_seconds How long one has been under way; 0: none is.\n"
		"# TYPE runnel_checkpoint_pending_seconds gauge\n"
		"runnel_checkpoint_pending_seconds{job=\"a\\\"b\\\\c\\nd?\033[31m\"} 0\n"
		"# HELP runnel_running 1 while the subtask runs.\n"
		"# TYPE runnel_running gauge\n"
		"runnel_running{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtask=\"0\"} "
		"1\n"
		"# HELP runnel_rows_in_total Rows that came in since this start of the job.\n"
		"# TYPE runnel_rows_in_total counter\n"
		"runnel_rows_in_total{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtask="
		"\"0\"} 2000000\n"
		"# HELP runnel_rows_out_total Rows that went out since this start of the job.\n"
		"# TYPE runnel_rows_out_total counter\n"
		"runnel_rows_out_total{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtask="
		"\"0\"} 10\n"
		"# HELP runnel_bytes_out_total Bytes that went out since this start of the job.\n"
		"# TYPE runnel_bytes_out_total counter\n"
		"runnel_bytes_out_total{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtask="
		"\"0\"} 0\n"
		"# HELP runnel_late_rows_total Rows that came after their window had closed.\n"
		"# TYPE runnel_late_rows_total counter\n"
		"runnel_late_rows_total{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtask="
		"\"0\"} 7\n"
		"# HELP runnel_bad_rows_total Rows that couldn't be read or computed.\n"
		"# TYPE runnel_bad_rows_total counter\n"
		"runnel_bad_rows_total{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtask="
		"\"0\"} 0\n"
		"# HELP runnel_busy_ratio Share of the last seconds spent at work.\n"
		"# TYPE runnel_busy_ratio gauge\n"
		"runnel_busy_ratio{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtask=\"0"
		"\"} 0.97\n"
		"# HELP runnel_idle_ratio Share of the last seconds spent waiting for input.\n"
		"# TYPE runnel_idle_ratio gauge\n"
		"runnel_idle_ratio{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtask=\"0"
		"\"} 0.03\n"
		"# HELP runnel_backpressured_ratio Share of the last seconds spent waiting for the stage "
		"behind.\n"
		"# TYPE runnel_backpressured_ratio gauge\n"
		"runnel_backpressured_ratio{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subt"
		"ask=\"0\"} 0\n"
		"# HELP runnel_state_bytes Bytes of the last snapshot.\n"
		"# TYPE runnel_state_bytes gauge\n"
		"runnel_state_bytes{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtask=\"0"
		"\"} 67108864\n"
		"# HELP runnel_alignment_seconds How long the last snapshot waited for the barriers of all "
		"inputs.\n"
		"# TYPE runnel_alignment_seconds gauge\n"
		"runnel_alignment_seconds{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtas"
		"k=\"0\"} 0.004\n"
		"# HELP runnel_watermark_seconds Event time of the watermark, since 1970; +Inf at the "
		"end.\n"
		"# TYPE runnel_watermark_seconds gauge\n"
		"runnel_watermark_seconds{job=\"a\\\"b\\\\c\\nd?\033[31m\",stage=\"a\\\"b\\\\c\\nd?\",subtas"
		"k=\"0\"} 1704067198\n");
}

/* Each line of a sample belongs to the family that the last TYPE named, and no family comes twice. */
static void families_are_whole(void **state)
{
	struct status s = flights();
	struct buf out = BUF_INIT;
	char *line, *rest, family[64] = "", seen[4096] = "";

	status_put_prometheus(&s, &out);
	buf_cstr(&out);
	rest = (char *)out.data;
	while ((line = strsep(&rest, "\n")) && *line) {
		char needle[80];

		if (sscanf(line, "# TYPE %63s", family) == 1) {
			snprintf(needle, sizeof needle, " %s ", family);
			assert_null(strstr(seen, needle));
			strncat(seen, needle, sizeof seen - strlen(seen) - 1);
		} else if (*line != '#') {
			assert_memory_equal(line, family, strlen(family));
			assert_int_equal(line[strlen(family)], '{');
		}
	}
	buf_clear(&out);
}

static void a_watermark_that_is_unknown_is_left_out(void **state)
{
	struct status s = flights();
	struct buf out = BUF_INIT;
	const char *at;
	int marks = 0;

	status_put_prometheus(&s, &out);
	at = buf_cstr(&out);
	while ((at = strstr(at, "\nrunnel_watermark_seconds{"))) {
		at++;
		marks++;
	}
	assert_int_equal(marks, 3);
	assert_non_null(strstr(buf_cstr(&out),
		"runnel_watermark_seconds{job=\"flights\",stage=\"ssink\",subtask=\"0\"} +Inf\n"));
	buf_clear(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_have_three_digits_and_a_unit),
		cmocka_unit_test(bytes_are_in_powers_of_1024),
		cmocka_unit_test(spans_have_their_two_greatest_units),
		cmocka_unit_test(tables_are_as_drawn),
		cmocka_unit_test(no_line_is_wider_than_the_terminal),
		cmocka_unit_test(a_table_of_80_columns_has_all_that_tells_who_is_slow),
		cmocka_unit_test(a_far_watermark_is_a_time_and_a_near_one_a_distance),
		cmocka_unit_test(a_long_name_is_cut_between_characters),
		cmocka_unit_test(a_line_stands_under_its_titles),
		cmocka_unit_test(json_is_one_object_a_line),
		cmocka_unit_test(json_says_what_is_known),
		cmocka_unit_test(shares_that_are_no_numbers_are_null),
		cmocka_unit_test(metrics_are_as_written_down),
		cmocka_unit_test(families_are_whole),
		cmocka_unit_test(a_watermark_that_is_unknown_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
