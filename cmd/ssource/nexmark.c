#include "cmd/ssource/nexmark.h"
#include "libcore/base/civil.h"
#include "libcore/base/digits.h"
#include "libcore/base/must.h"

#include <math.h>
#include <string.h>

/* The site's proportions and sizes, as published. */
enum {
	CYCLE = 50, /* events: 1 person, 3 auctions, 46 bids */
	AUCTIONS = 3,
	BIDS = 46,
	FIRST_ID = 1000,
	FIRST_CATEGORY = 10,
	CATEGORIES = 5,
	ID_LEAD = 10, /* ids that are drawn before they exist */
	ACTIVE_PEOPLE = 1000,
	IN_FLIGHT_AUCTIONS = 100,
	HOT_GROUP = 100, /* of so many auctions or people one is hot */
	CHANNELS = 10000,
	HOT_CHANNELS = 4,
	AUCTION_BYTES = 500,
	PERSON_BYTES = 200,
	EVENTS_AT_ONCE = 1024,
};

/* What is drawn for an event, each from its own number, so that columns don't depend on each other.
 */
enum draw {
	DRAW_AUCTION = 1,
	DRAW_BIDDER,
	DRAW_PRICE,
	DRAW_CHANNEL,
	DRAW_EXTRA_LEN,
	DRAW_SELLER,
	DRAW_CATEGORY,
	DRAW_RESERVE,
	DRAW_EXPIRES,
	DRAW_NAME,
	DRAW_CARD,
	DRAW_CITY,
	DRAW_STATE,
	DRAW_GROUP,
	DRAW_URL = 0x100, /* from here on: the first of several numbers, 0x100 apart */
	DRAW_EXTRA = 0x200,
	DRAW_ITEM = 0x300,
	DRAW_DESCRIPTION = 0x400,
	DRAW_EMAIL = 0x500,
	DRAW_HOST = 0x600,
};

/* splitmix64's finalizer (Steele, Lea, Flood 2014): every bit of the result depends on each of n.
 */
static inline uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline uint64_t draw(const struct nexmark *g, uint64_t n, uint64_t what)
{
	return mix(n * UINT64_C(0x9e3779b97f4a7c15) + what * UINT64_C(0xd1342543de82ef95) +
		   g->options.seed * UINT64_C(0xda942042e4dd58b5) + 1);
}

/* 0 .. bound - 1, by the high half of a product (Lemire 2019), bias below bound / 2^64. */
static inline uint64_t below(uint64_t random, uint64_t bound)
{
	return (uint64_t)((unsigned __int128)random * bound >> 64);
}

/* ---- ids and times ---- */

/* From 0; what the newest person and auction are when event n comes.  Of the first event there is
 * no auction yet: its number is -1. */
static inline int64_t last_person(uint64_t n)
{
	return (int64_t)(n / CYCLE);
}

static inline int64_t last_auction(uint64_t n)
{
	int64_t cycle = (int64_t)(n / CYCLE), at = (int64_t)(n % CYCLE);

	return cycle * AUCTIONS + (at > AUCTIONS ? AUCTIONS : at) - 1;
}

static int64_t any_person(const struct nexmark *g, uint64_t n, uint64_t random)
{
	int64_t people = last_person(n) + 1;
	int64_t active = people < ACTIVE_PEOPLE ? people : ACTIVE_PEOPLE;

	return people - active + (int64_t)below(random, (uint64_t)active + ID_LEAD);
}

static inline int64_t time_us(const struct nexmark *g, uint64_t n)
{
	uint64_t group = g->group_events, rate = g->options.rate;
	unsigned __int128 ms;

	if (group > 1) {
		uint64_t first = n / group * group;
		uint64_t turn = below(draw(g, n / group, DRAW_GROUP), group);

		n = first +
		    (uint64_t)(((unsigned __int128)(n - first) * g->group_step + turn) % group);
	}
	ms = n < UINT64_MAX / 1000 ? n * 1000 / rate : (unsigned __int128)n * 1000 / rate;
	return (int64_t)((uint64_t)g->options.start_us + (uint64_t)ms * 1000);
}

static inline int64_t price(const struct nexmark *g, uint64_t random)
{
	uint64_t at = random >> 54, part = random >> 38 & 0xffff;
	uint64_t low = g->price[at], high = g->price[at + 1];

	return (int64_t)((low + ((high - low) * part >> 16) + 0x8000) >> 16);
}

static int64_t bid_auction(const struct nexmark *g, uint64_t n)
{
	uint64_t random = draw(g, n, DRAW_AUCTION);
	int64_t newest = last_auction(n);
	int64_t oldest = newest > IN_FLIGHT_AUCTIONS ? newest - IN_FLIGHT_AUCTIONS : 0;
	int64_t any = oldest +
		      (int64_t)below(random << 1, (uint64_t)(newest - oldest) + 1 + ID_LEAD);
	int64_t hot = newest / HOT_GROUP * HOT_GROUP;

	return FIRST_ID + (random >> 63 ? hot : any);
}

/* The second of each group, so that hot bidders and hot sellers differ. */
static int64_t bid_bidder(const struct nexmark *g, uint64_t n)
{
	uint64_t random = draw(g, n, DRAW_BIDDER);
	int64_t hot = last_person(n) / HOT_GROUP * HOT_GROUP + 1;

	return FIRST_ID + (random >> 62 ? hot : any_person(g, n, random << 2));
}

static int64_t auction_seller(const struct nexmark *g, uint64_t n)
{
	uint64_t random = draw(g, n, DRAW_SELLER);
	int64_t hot = last_person(n) / HOT_GROUP * HOT_GROUP;

	return FIRST_ID + (random >> 62 ? hot : any_person(g, n, random << 2));
}

/* Within twice the time in which as many auctions come as are in flight. */
static int64_t auction_expires(const struct nexmark *g, uint64_t n)
{
	uint64_t events = (uint64_t)IN_FLIGHT_AUCTIONS * CYCLE / AUCTIONS;
	uint64_t horizon_ms = events * 1000 / g->options.rate;
	uint64_t ms = 1 + below(draw(g, n, DRAW_EXPIRES), horizon_ms ? 2 * horizon_ms : 1);

	return time_us(g, n) + (int64_t)ms * 1000;
}

/* ---- text ---- */

/* n letters from the numbers what, what + 1, ...; writes up to 7 bytes more. */
static char *put_letters(const struct nexmark *g, char *out, uint64_t n, uint64_t what, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t r = draw(g, n, what++);
		/* Each byte * 26 / 256, four at a time in lanes of 16 bits. */
		uint64_t even = (r & UINT64_C(0x00ff00ff00ff00ff)) * 26 >> 8;
		uint64_t odd = (r >> 8 & UINT64_C(0x00ff00ff00ff00ff)) * 26;

		r = (even & UINT64_C(0x00ff00ff00ff00ff)) | (odd & UINT64_C(0xff00ff00ff00ff00));
		r += DIGITS_EACH('a');
		r = htole64(r);
		memcpy(out + i, &r, 8);
	}
	return out + len;
}

/* Words: letters, one in 13 a space, none at the ends; 3 .. len_max - 1 characters. */
static char *put_words(
	const struct nexmark *g, char *out, uint64_t n, uint64_t what, size_t len_max)
{
	size_t len = 3 + below(draw(g, n, what), len_max - 3);

	put_letters(g, out, n, what + 1, len);
	for (size_t i = 1; i + 1 < len; i++)
		if (below(draw(g, n, what + 0x80 + i), 13) == 0)
			out[i] = ' ';
	return out + len;
}

static char *put_text(char *out, const char *text)
{
	size_t len = strlen(text);

	memcpy(out, text, len);
	return out + len;
}

static size_t put_extra(const struct nexmark *g, char *out, uint64_t n, size_t have, size_t average)
{
	size_t wanted = average > have ? average - have : 0;
	size_t delta = (wanted + 2) / 5;
	size_t len = wanted - delta + below(draw(g, n, DRAW_EXTRA_LEN), 2 * delta + !delta);

	put_letters(g, out, n, DRAW_EXTRA, len);
	return len;
}

/* Which of the channels; the hot ones come last. */
static inline uint64_t channel_of(const struct nexmark *g, uint64_t n)
{
	uint64_t random = draw(g, n, DRAW_CHANNEL);

	return random >> 63 ? CHANNELS + (random >> 61 & 3) : below(random << 1, CHANNELS);
}

static size_t put_channel(const struct nexmark *g, char *out, uint64_t n)
{
	static const char hot[HOT_CHANNELS][9] = {"Google", "Facebook", "Baidu", "Apple"};
	uint64_t channel = channel_of(g, n);

	if (channel >= CHANNELS)
		return (size_t)(put_text(out, hot[channel - CHANNELS]) - out);
	memcpy(out, "channel-", 8);
	return 8 + uint_put(out + 8, channel);
}

static uint32_t reverse_bits(uint32_t x)
{
	x = (x >> 1 & 0x55555555) | (x & 0x55555555) << 1;
	x = (x >> 2 & 0x33333333) | (x & 0x33333333) << 2;
	x = (x >> 4 & 0x0f0f0f0f) | (x & 0x0f0f0f0f) << 4;
	return __builtin_bswap32(x);
}

/* A function of the channel alone; nine of ten have their number in it. */
static size_t put_url(const struct nexmark *g, char *out, uint64_t n)
{
	static const char site[] = "https://www.nexmark.com/", page[] = "item.htm?query=1";
	uint64_t channel = channel_of(g, n), random = draw(g, channel, DRAW_URL);
	char *p = out, letters[16];

	memcpy(p, site, sizeof(site) - 1);
	p += sizeof(site) - 1;
	put_letters(g, letters, channel, DRAW_URL + 1, 12);
	for (int i = 0; i < 3; i++) {
		memcpy(p, letters + 4 * i, 4);
		p += 3 + (random >> i & 1);
		*p++ = '/';
	}
	memcpy(p, page, sizeof(page) - 1);
	p += sizeof(page) - 1;
	if (channel < CHANNELS && below(random << 3, 10)) {
		int32_t id = (int32_t)reverse_bits((uint32_t)channel);

		p = put_text(p, "&channel_id=");
		p += uint_put(p, (uint64_t)(id < 0 ? -(int64_t)id : id));
	}
	return (size_t)(p - out);
}

static size_t put_name(const struct nexmark *g, char *out, uint64_t n)
{
	static const char *const first[] = {"Peter", "Paul", "Luke", "John", "Saul", "Vicky",
		"Kate", "Julie", "Sarah", "Deiter", "Walter"};
	static const char *const last[] = {"Shultz", "Abrams", "Spencer", "White", "Bartels",
		"Walton", "Smith", "Jones", "Noris"};
	uint64_t random = draw(g, n, DRAW_NAME);
	char *p = put_text(out, first[below(random, 11)]);

	*p++ = ' ';
	return (size_t)(put_text(p, last[below(random << 32, 9)]) - out);
}

static size_t put_email(const struct nexmark *g, char *out, uint64_t n)
{
	char *p = put_words(g, out, n, DRAW_EMAIL, 7);

	*p++ = '@';
	p = put_words(g, p, n, DRAW_HOST, 5);
	return (size_t)(put_text(p, ".com") - out);
}

static size_t put_card(const struct nexmark *g, char *out, uint64_t n)
{
	uint64_t random = draw(g, n, DRAW_CARD);

	for (int i = 0; i < 4; i++) {
		digits_put4(out + 5 * i, (unsigned)below(random << (16 * i), 10000));
		if (i < 3)
			out[5 * i + 4] = ' ';
	}
	return 19;
}

static size_t put_city(const struct nexmark *g, char *out, uint64_t n)
{
	static const char *const cities[] = {"Phoenix", "Los Angeles", "San Francisco", "Boise",
		"Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"};

	return (size_t)(put_text(out, cities[below(draw(g, n, DRAW_CITY), 10)]) - out);
}

static size_t put_state(const struct nexmark *g, char *out, uint64_t n)
{
	static const char states[6][3] = {"AZ", "CA", "ID", "OR", "WA", "WY"};

	memcpy(out, states[below(draw(g, n, DRAW_STATE), 6)], 2);
	return 2;
}

static size_t put_item(const struct nexmark *g, char *out, uint64_t n)
{
	return (size_t)(put_words(g, out, n, DRAW_ITEM, 20) - out);
}

static size_t put_description(const struct nexmark *g, char *out, uint64_t n)
{
	return (size_t)(put_words(g, out, n, DRAW_DESCRIPTION, 100) - out);
}

static size_t put_bid_extra(const struct nexmark *g, char *out, uint64_t n)
{
	return put_extra(g, out, n, 32, g->options.bid_bytes);
}

static size_t put_auction_extra(const struct nexmark *g, char *out, uint64_t n)
{
	char text[128];

	return put_extra(
		g, out, n, 48 + put_item(g, text, n) + put_description(g, text, n), AUCTION_BYTES);
}

static size_t put_person_extra(const struct nexmark *g, char *out, uint64_t n)
{
	char text[128];
	size_t have = 8 + put_name(g, text, n) + put_email(g, text, n) + put_card(g, text, n) +
		      put_city(g, text, n) + put_state(g, text, n);

	return put_extra(g, out, n, have, PERSON_BYTES);
}

static enum nexmark_kind kind_of(uint64_t n)
{
	uint64_t at = n % CYCLE;

	return at == 0 ? NEXMARK_PERSON : at <= AUCTIONS ? NEXMARK_AUCTION : NEXMARK_BID;
}

static size_t put_event(const struct nexmark *g, char *out, uint64_t n)
{
	static const char *const names[] = {"person", "auction", "bid"};

	return (size_t)(put_text(out, names[kind_of(n)]) - out);
}

static int64_t person_id(const struct nexmark *g, uint64_t n)
{
	return FIRST_ID + last_person(n);
}

static int64_t auction_id(const struct nexmark *g, uint64_t n)
{
	return FIRST_ID + last_auction(n);
}

static int64_t bid_price(const struct nexmark *g, uint64_t n)
{
	return price(g, draw(g, n, DRAW_PRICE));
}

static int64_t auction_reserve(const struct nexmark *g, uint64_t n)
{
	return bid_price(g, n) + price(g, draw(g, n, DRAW_RESERVE));
}

static int64_t auction_category(const struct nexmark *g, uint64_t n)
{
	return FIRST_CATEGORY + (int64_t)below(draw(g, n, DRAW_CATEGORY), CATEGORIES);
}

/* ---- columns ---- */

enum { TEXT_MAX = 1024 }; /* of a text other than a bid's extra */

struct nexmark_column {
	const char *name;
	enum type_kind type;
	int64_t (*number)(const struct nexmark *g, uint64_t n);
	size_t (*text)(const struct nexmark *g, char *out, uint64_t n);
};

static const struct nexmark_column person_columns[] = {
	{"id", TYPE_INT, person_id, NULL},
	{"name", TYPE_STRING, NULL, put_name},
	{"emailAddress", TYPE_STRING, NULL, put_email},
	{"creditCard", TYPE_STRING, NULL, put_card},
	{"city", TYPE_STRING, NULL, put_city},
	{"state", TYPE_STRING, NULL, put_state},
	{"dateTime", TYPE_TIMESTAMP, time_us, NULL},
	{"extra", TYPE_STRING, NULL, put_person_extra},
};

static const struct nexmark_column auction_columns[] = {
	{"id", TYPE_INT, auction_id, NULL},
	{"itemName", TYPE_STRING, NULL, put_item},
	{"description", TYPE_STRING, NULL, put_description},
	{"initialBid", TYPE_INT, bid_price, NULL},
	{"reserve", TYPE_INT, auction_reserve, NULL},
	{"dateTime", TYPE_TIMESTAMP, time_us, NULL},
	{"expires", TYPE_TIMESTAMP, auction_expires, NULL},
	{"seller", TYPE_INT, auction_seller, NULL},
	{"category", TYPE_INT, auction_category, NULL},
	{"extra", TYPE_STRING, NULL, put_auction_extra},
};

static const struct nexmark_column bid_columns[] = {
	{"auction", TYPE_INT, bid_auction, NULL},
	{"bidder", TYPE_INT, bid_bidder, NULL},
	{"price", TYPE_INT, bid_price, NULL},
	{"channel", TYPE_STRING, NULL, put_channel},
	{"url", TYPE_STRING, NULL, put_url},
	{"dateTime", TYPE_TIMESTAMP, time_us, NULL},
	{"extra", TYPE_STRING, NULL, put_bid_extra},
};

static const struct nexmark_column event_column = {"event", TYPE_STRING, NULL, put_event};
static const struct nexmark_column time_column = {"dateTime", TYPE_TIMESTAMP, time_us, NULL};

static const struct {
	const char *name, *prefix;
	const struct nexmark_column *columns;
	int columns_len;
} kinds[] = {
	[NEXMARK_PERSON] = {"person", "person_", person_columns, 8},
	[NEXMARK_AUCTION] = {"auction", "auction_", auction_columns, 10},
	[NEXMARK_BID] = {"bid", "bid_", bid_columns, 7},
	[NEXMARK_ALL] = {"all", "", NULL, 0},
};

/* Column i of a kind, and the events that have it (NEXMARK_ALL: all).  NULL past the last. */
static const struct nexmark_column *find_column(
	enum nexmark_kind kind, int i, enum nexmark_kind *events)
{
	*events = kind;
	if (kind != NEXMARK_ALL)
		return i < kinds[kind].columns_len ? &kinds[kind].columns[i] : NULL;
	if (i < 2)
		return i ? &time_column : &event_column;
	i -= 2;
	for (int k = NEXMARK_PERSON; k <= NEXMARK_BID; k++)
		for (int c = 0; c < kinds[k].columns_len; c++) {
			if (kinds[k].columns[c].number == time_us)
				continue; /* is in front, for all kinds */
			*events = (enum nexmark_kind)k;
			if (i-- == 0)
				return &kinds[k].columns[c];
		}
	return NULL;
}

void nexmark_schema(enum nexmark_kind kind, struct schema *s)
{
	const struct nexmark_column *c;
	enum nexmark_kind events;
	struct buf name = BUF_INIT;

	schema_clear(s);
	schema_init(s);
	for (int i = 0; (c = find_column(kind, i, &events)); i++) {
		buf_reset(&name);
		if (kind == NEXMARK_ALL && events != NEXMARK_ALL)
			buf_put_text(&name, kinds[events].prefix);
		buf_put_text(&name, c->name);
		schema_add(s, (const char *)name.data, name.len, TYPE_OF(c->type));
	}
	buf_clear(&name);
	s->time_column = schema_find(s, "dateTime", 8);
}

/* ---- generating ---- */

static uint64_t greatest_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

void nexmark_init(struct nexmark *g, const struct nexmark_options *o)
{
	unsigned __int128 events;

	MUST(o->rate > 0);
	*g = (struct nexmark){.options = *o, .group_events = 1};
	for (int i = 0; i <= 1024; i++)
		g->price[i] = (uint64_t)(pow(10, 6.0 * i / 1024) * 100 * 65536 + 0.5);
	events = (unsigned __int128)o->disorder_us * o->rate / CIVIL_US_SECOND;
	if (events < 2)
		return;
	/* Near the golden section of the group neighbours come far apart. */
	g->group_events = events > UINT32_MAX ? UINT32_MAX : (uint64_t)events;
	g->group_step = (uint64_t)((double)g->group_events * 0.6180339887498949) | 1;
	while (greatest_divisor(g->group_step, g->group_events) != 1)
		g->group_step++;
}

static void put_numbers(const struct nexmark *g, const struct nexmark_column *c,
	const uint64_t *events, uint32_t n, struct column_builder *b)
{
	int64_t values[EVENTS_AT_ONCE];

	for (uint32_t i = 0; i < n; i++)
		values[i] = c->number(g, events[i]);
	builder_put_values(b, values, n);
}

static void put_texts(const struct nexmark *g, const struct nexmark_column *c,
	const uint64_t *events, uint32_t n, struct column_builder *b)
{
	/* put_letters writes whole words, a bid's extra is up to 1.2 times its average. */
	size_t room = TEXT_MAX + (c->text == put_bid_extra ? 2 * (size_t)g->options.bid_bytes : 0);
	char few[TEXT_MAX], *text = few;
	struct buf many = BUF_INIT;

	if (room > sizeof(few))
		text = (char *)buf_reserve(&many, room);
	for (uint32_t i = 0; i < n; i++)
		builder_put_text(b, text, c->text(g, text, events[i]));
	buf_clear(&many);
}

static void put_column(const struct nexmark *g, int column, const uint64_t *events, uint32_t n,
	struct column_builder *b)
{
	enum nexmark_kind kind;
	const struct nexmark_column *c = find_column(g->options.kind, column, &kind);

	MUST(c != NULL);
	MUST(b->type.kind == c->type);
	if (kind == g->options.kind) {
		if (c->number)
			put_numbers(g, c, events, n, b);
		else
			put_texts(g, c, events, n, b);
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (kind_of(events[i]) != kind)
			builder_put_null(b);
		else if (c->number)
			put_numbers(g, c, &events[i], 1, b);
		else
			put_texts(g, c, &events[i], 1, b);
	}
}

/* The next events of the generator's kind; returns how many. */
static uint32_t pick_events(
	const struct nexmark *g, uint64_t *event, uint64_t end, uint32_t max, uint64_t *events)
{
	enum nexmark_kind kind = g->options.kind;
	uint64_t n = *event;
	uint32_t count = 0;

	if (kind == NEXMARK_ALL) {
		while (count < max && n < end)
			events[count++] = n++;
		*event = n;
		return count;
	}
	uint64_t first = kind == NEXMARK_PERSON ? 0 : kind == NEXMARK_AUCTION ? 1 : 1 + AUCTIONS;
	uint64_t past = kind == NEXMARK_PERSON ? 1 : kind == NEXMARK_AUCTION ? 1 + AUCTIONS : CYCLE;

	while (count < max && n < end) {
		uint64_t at = n % CYCLE;

		if (at < first)
			n += first - at;
		else if (at >= past)
			n += CYCLE - at;
		else
			events[count++] = n++;
	}
	*event = n < end ? n : end;
	return count;
}

uint32_t nexmark_generate(const struct nexmark *g, uint64_t *event, uint64_t end, uint32_t rows_max,
	const int *columns, struct batch_builder *b)
{
	uint64_t events[EVENTS_AT_ONCE];
	uint32_t rows = 0;

	if (g->options.events && end > g->options.events)
		end = g->options.events;
	while (rows < rows_max && *event < end) {
		uint32_t most = rows_max - rows < EVENTS_AT_ONCE ? rows_max - rows : EVENTS_AT_ONCE;
		uint32_t n = pick_events(g, event, end, most, events);

		for (size_t i = 0; i < b->schema->fields_len; i++)
			put_column(g, columns[i], events, n, &b->columns[i]);
		rows += n;
	}
	return rows;
}

/* ---- options ---- */

static int parse_option(struct nexmark_options *o, const char *name, size_t name_len,
	const char *value, size_t len, struct error *e)
{
	enum number_status status;
	uint64_t number;

#define IS(text) (name_len == sizeof(text) - 1 && !memcmp(name, text, name_len))
	if (IS("start")) {
		status = timestamp_parse(value, len, &o->start_us);
	} else if (IS("disorder")) {
		status = duration_parse(value, len, &o->disorder_us);
		if (status == NUMBER_OK && o->disorder_us < 0)
			status = NUMBER_RANGE;
	} else if (IS("events") || IS("rate") || IS("seed") || IS("bid_bytes")) {
		status = uint_parse(value, len, &number);
		if (status == NUMBER_OK && IS("events"))
			o->events = number;
		else if (status == NUMBER_OK && IS("seed"))
			o->seed = number;
		else if (status == NUMBER_OK && IS("rate") && number && number <= 1000000000000)
			o->rate = number;
		else if (status == NUMBER_OK && IS("bid_bytes") && number <= 65536)
			o->bid_bytes = (uint32_t)number;
		else if (status == NUMBER_OK)
			status = NUMBER_RANGE;
	} else {
		return error_set(e, ERROR_USAGE,
			"nexmark has no option '%.*s'; there are events, rate, seed, start, "
			"disorder and "
			"bid_bytes",
			(int)name_len, name);
	}
#undef IS
	if (status == NUMBER_OK)
		return 0;
	return error_set(e, ERROR_USAGE, "nexmark: %.*s=%.*s is %s", (int)name_len, name, (int)len,
		value, status == NUMBER_RANGE ? "out of range" : "not understood");
}

int nexmark_parse_url(const char *url, struct nexmark_options *out, struct error *e)
{
	struct nexmark_options o = {.rate = 10000, .bid_bytes = 100};
	const char *p = url;
	size_t len;
	int kind = 0;

	timestamp_parse("2026-01-01", 10, &o.start_us);
	if (!strncmp(p, "nexmark:", 8))
		p += 8;
	len = strcspn(p, "?");
	while (kind <= NEXMARK_ALL &&
		(strlen(kinds[kind].name) != len || memcmp(kinds[kind].name, p, len) != 0))
		kind++;
	if (kind > NEXMARK_ALL)
		return error_set(e, ERROR_USAGE,
			"nexmark has no '%.*s'; say nexmark:bid, auction, person or all", (int)len,
			p);
	o.kind = (enum nexmark_kind)kind;
	p += len;
	while (*p == '?' || *p == '&') {
		size_t name_len = strcspn(++p, "=&");
		const char *value = p + name_len;
		size_t value_len;

		if (!name_len && !*value)
			break;
		value += *value == '=';
		value_len = strcspn(value, "&");
		if (parse_option(&o, p, name_len, value, value_len, e))
			return -1;
		p = value + value_len;
	}
	*out = o;
	return 0;
}
