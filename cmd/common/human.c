#include "cmd/common/human.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

const char *human_count(char out[HUMAN_TEXT_MAX], double count)
{
	static const char units[] = "kMGTPE";
	int unit = -1;

	if (!isfinite(count) || count < 0 || count >= 999.5e18) {
		snprintf(out, HUMAN_TEXT_MAX, "-");
		return out;
	}
	/* What would be rounded to 1000 belongs to the next unit. */
	while (count >= 999.5) {
		count /= 1000;
		unit++;
	}
	if (unit < 0)
		snprintf(out, HUMAN_TEXT_MAX, "%.*f", count < 9.95 && count != floor(count), count);
	else
		snprintf(out, HUMAN_TEXT_MAX, "%.*f%c", count < 99.95, count, units[unit]);
	return out;
}

const char *human_bytes(char out[HUMAN_TEXT_MAX], uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	double size = (double)bytes / 1024;
	int unit = 0;

	if (bytes < 1024) {
		snprintf(out, HUMAN_TEXT_MAX, "%" PRIu64 " B", bytes);
		return out;
	}
	while (size >= 1023.5) {
		size /= 1024;
		unit++;
	}
	snprintf(out, HUMAN_TEXT_MAX, "%.*f %ciB", size < 99.95, size, units[unit]);
	return out;
}

const char *human_span(char out[HUMAN_TEXT_MAX], int64_t us)
{
	const char *sign = us < 0 ? "-" : "";
	uint64_t u = us < 0 ? -(uint64_t)us : (uint64_t)us, s = u / 1000000;

	if (u < 1000)
		snprintf(out, HUMAN_TEXT_MAX, "%s%" PRIu64 "us", sign, u);
	else if (u < 1000000)
		snprintf(out, HUMAN_TEXT_MAX, "%s%" PRIu64 "ms", sign, u / 1000);
	else if (s < 10)
		snprintf(out, HUMAN_TEXT_MAX, "%s%" PRIu64 ".%" PRIu64 "s", sign, s,
			u / 100000 % 10);
	else if (s < 60)
		snprintf(out, HUMAN_TEXT_MAX, "%s%" PRIu64 "s", sign, s);
	else if (s < 3600)
		snprintf(out, HUMAN_TEXT_MAX, "%s%" PRIu64 "m%" PRIu64 "s", sign, s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, HUMAN_TEXT_MAX, "%s%" PRIu64 "h%" PRIu64 "m", sign, s / 3600,
			s / 60 % 60);
	else if (s < 100 * UINT64_C(86400))
		snprintf(out, HUMAN_TEXT_MAX, "%s%" PRIu64 "d%" PRIu64 "h", sign, s / 86400,
			s / 3600 % 24);
	else
		snprintf(out, HUMAN_TEXT_MAX, "%s%" PRIu64 "d", sign, s / 86400);
	return out;
}
