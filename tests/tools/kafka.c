/* What tests need of a Kafka cluster that kcat hasn't got, without the seconds a JVM takes to start:
 *
 *   kafka BROKERS create TOPIC PARTITIONS [name=value...]
 *   kafka BROKERS grow TOPIC PARTITIONS
 *   kafka BROKERS trim TOPIC PARTITION OFFSET          removes what stands before the offset
 *   kafka BROKERS delete TOPIC
 *   kafka BROKERS transact ID TOPIC < commands         begin | put PARTITION TEXT | flush | commit | abort
 *   kafka BROKERS committed GROUP TOPIC                "partition offset" a line
 *
 * transact says "ok" after each command but put. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 15000, TEXT_BYTES = 512, LINE_BYTES = 1 << 16, PARTITIONS_MAX = 64 };

static char why[TEXT_BYTES];

static int fail(const char *what, const char *reason)
{
	fprintf(stderr, "kafka: %s: %s\n", what, reason);
	return 1;
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *brokers, const char *name,
	const char *value)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk = NULL;

	rd_kafka_conf_set_log_cb(conf, NULL);
	if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof why) ==
			RD_KAFKA_CONF_OK &&
		(!name || rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK))
		rk = rd_kafka_new(type, conf, why, sizeof why);
	if (!rk)
		exit(fail("client", why));
	return rk;
}

/* The error of the one topic that was asked for. */
static int topic_result(rd_kafka_event_t *event, const char *what)
{
	const rd_kafka_topic_result_t **topics = NULL;
	size_t n = 0;

	if (!event || rd_kafka_event_error(event))
		return fail(what, event ? rd_kafka_event_error_string(event) : "no answer");
	if (rd_kafka_event_CreateTopics_result(event))
		topics = rd_kafka_CreateTopics_result_topics(
			rd_kafka_event_CreateTopics_result(event), &n);
	else if (rd_kafka_event_CreatePartitions_result(event))
		topics = rd_kafka_CreatePartitions_result_topics(
			rd_kafka_event_CreatePartitions_result(event), &n);
	else if (rd_kafka_event_DeleteTopics_result(event))
		topics = rd_kafka_DeleteTopics_result_topics(
			rd_kafka_event_DeleteTopics_result(event), &n);
	for (size_t i = 0; i < n; i++) {
		if (rd_kafka_topic_result_error(topics[i]))
			return fail(what, rd_kafka_err2str(rd_kafka_topic_result_error(topics[i])));
	}
	return 0;
}

static int create(rd_kafka_t *rk, rd_kafka_queue_t *queue, int argc, char **argv)
{
	rd_kafka_NewTopic_t *topic =
		rd_kafka_NewTopic_new(argv[0], (int)strtol(argv[1], NULL, 10), 1, why, sizeof why);

	for (int i = 2; topic && i < argc; i++) {
		char *equals = strchr(argv[i], '=');

		if (!equals)
			return fail(argv[i], "name=value");
		*equals = '\0';
		rd_kafka_NewTopic_set_config(topic, argv[i], equals + 1);
	}
	if (!topic)
		return fail("create", why);
	rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
	rd_kafka_NewTopic_destroy(topic);
	return topic_result(rd_kafka_queue_poll(queue, WAIT_MS), "create");
}

static int grow(rd_kafka_t *rk, rd_kafka_queue_t *queue, char **argv)
{
	rd_kafka_NewPartitions_t *more = rd_kafka_NewPartitions_new(
		argv[0], (size_t)strtol(argv[1], NULL, 10), why, sizeof why);

	if (!more)
		return fail("grow", why);
	rd_kafka_CreatePartitions(rk, &more, 1, NULL, queue);
	rd_kafka_NewPartitions_destroy(more);
	return topic_result(rd_kafka_queue_poll(queue, WAIT_MS), "grow");
}

static int delete_topic(rd_kafka_t *rk, rd_kafka_queue_t *queue, char **argv)
{
	rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(argv[0]);

	rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
	rd_kafka_DeleteTopic_destroy(topic);
	return topic_result(rd_kafka_queue_poll(queue, WAIT_MS), "delete");
}

static int trim(rd_kafka_t *rk, rd_kafka_queue_t *queue, char **argv)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_DeleteRecords_t *records;
	rd_kafka_event_t *event;

	rd_kafka_topic_partition_list_add(list, argv[0], (int32_t)strtol(argv[1], NULL, 10))->offset =
		strtoll(argv[2], NULL, 10);
	records = rd_kafka_DeleteRecords_new(list);
	rd_kafka_DeleteRecords(rk, &records, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, WAIT_MS);
	if (!event || rd_kafka_event_error(event))
		return fail("trim", event ? rd_kafka_event_error_string(event) : "no answer");
	return 0;
}

static int answer(rd_kafka_error_t *error)
{
	if (error)
		return fail("transact", rd_kafka_error_string(error));
	puts("ok");
	return fflush(stdout);
}

static int put(rd_kafka_t *rk, const char *topic, char *line)
{
	char *text;
	int32_t partition = (int32_t)strtol(line, &text, 10);
	rd_kafka_resp_err_t err;

	text += *text == ' ';
	err = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
		RD_KAFKA_V_VALUE(text, strlen(text)), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
		RD_KAFKA_V_END);
	return err ? fail("put", rd_kafka_err2str(err)) : 0;
}

static int transact(rd_kafka_t *rk, const char *topic)
{
	char line[LINE_BYTES];
	rd_kafka_error_t *error = rd_kafka_init_transactions(rk, WAIT_MS);
	int status = error ? fail("transact", rd_kafka_error_string(error)) : 0;

	while (!status && fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "put ", 4) == 0)
			status = put(rk, topic, line + 4);
		else if (strcmp(line, "begin") == 0)
			status = answer(rd_kafka_begin_transaction(rk));
		else if (strcmp(line, "commit") == 0)
			status = answer(rd_kafka_commit_transaction(rk, WAIT_MS));
		else if (strcmp(line, "abort") == 0)
			status = answer(rd_kafka_abort_transaction(rk, WAIT_MS));
		else if (strcmp(line, "flush") == 0)
			status = rd_kafka_flush(rk, WAIT_MS) ? fail("flush", "no answer")
							     : answer(NULL);
		else
			status = fail(line, "what is that?");
	}
	return status;
}

static int committed(rd_kafka_t *rk, const char *topic)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS_MAX);
	const struct rd_kafka_metadata *found;
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
	rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, rkt, &found, WAIT_MS);

	if (err)
		return fail("committed", rd_kafka_err2str(err));
	for (int32_t i = 0; i < found->topics[0].partition_cnt; i++)
		rd_kafka_topic_partition_list_add(list, topic, i);
	err = rd_kafka_committed(rk, list, WAIT_MS);
	if (err)
		return fail("committed", rd_kafka_err2str(err));
	for (int i = 0; i < list->cnt; i++)
		printf("%d %lld\n", (int)list->elems[i].partition,
			(long long)list->elems[i].offset);
	return 0;
}

static int run(int argc, char **argv)
{
	const char *what = argv[2];
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;

	if (argc == 5 && strcmp(what, "transact") == 0)
		return transact(
			client(RD_KAFKA_PRODUCER, argv[1], "transactional.id", argv[3]), argv[4]);
	if (argc == 5 && strcmp(what, "committed") == 0)
		return committed(client(RD_KAFKA_CONSUMER, argv[1], "group.id", argv[3]), argv[4]);
	rk = client(RD_KAFKA_PRODUCER, argv[1], NULL, NULL);
	queue = rd_kafka_queue_new(rk);
	if (argc >= 5 && strcmp(what, "create") == 0)
		return create(rk, queue, argc - 3, argv + 3);
	if (argc == 5 && strcmp(what, "grow") == 0)
		return grow(rk, queue, argv + 3);
	if (argc == 6 && strcmp(what, "trim") == 0)
		return trim(rk, queue, argv + 3);
	if (argc == 4 && strcmp(what, "delete") == 0)
		return delete_topic(rk, queue, argv + 3);
	return fail(what, "what is that?");
}

int main(int argc, char **argv)
{
	int status = argc > 3 ? run(argc, argv) : fail("usage", "see tests/tools/kafka.c");

	/* The client's threads go with the process. */
	fflush(stdout);
	_Exit(status);
}
