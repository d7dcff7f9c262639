/*
 * im-topics.c -- creates the Kafka topics that the system needs.
 *
 *   im-topics --brokers H:P --topic im.msg --partitions 4 \
 *             --topic im.dead --partitions 1 [--replication N] [--timeout S]
 *
 * --partitions belongs to the --topic before it.  With one replica, which is
 * the default, the broker syncs each write of these topics to disk before it
 * acknowledges it (flush.messages=1).  Exits 0 when all exist; waits for the
 * broker until the time-out.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_kafka.h"


#define TOPICS_MAX  16


typedef struct {
    const char  *name;
    int          partitions;
} topic_t;


static int number(const char *text);
static int usage(void);
static int create(const char *brokers, const topic_t *topic, int replication,
    time_t until);
static void tell_sync(const char *brokers, const char *topic);


int
main(int argc, char **argv)
{
    int          i, n, replication, timeout;
    time_t       until;
    topic_t      topics[TOPICS_MAX];
    const char  *brokers;

    brokers = NULL;
    replication = 1;
    timeout = 30;
    n = 0;

    for (i = 1; i + 1 < argc; i += 2) {

        if (strcmp(argv[i], "--brokers") == 0) {
            brokers = argv[i + 1];

        } else if (strcmp(argv[i], "--topic") == 0 && n < TOPICS_MAX) {
            topics[n].name = argv[i + 1];
            topics[n++].partitions = 1;

        } else if (strcmp(argv[i], "--partitions") == 0 && n > 0) {
            topics[n - 1].partitions = number(argv[i + 1]);

        } else if (strcmp(argv[i], "--replication") == 0) {
            replication = number(argv[i + 1]);

        } else if (strcmp(argv[i], "--timeout") == 0) {
            timeout = number(argv[i + 1]);

        } else {
            return usage();
        }
    }

    if (i != argc || brokers == NULL || n == 0 || replication == 0
        || timeout == 0)
    {
        return usage();
    }

    for (i = 0; i < n; i++) {
        if (topics[i].partitions == 0) {
            return usage();
        }
    }

    until = time(NULL) + timeout;

    for (i = 0; i < n; i++) {
        if (create(brokers, &topics[i], replication, until) != IM_OK) {
            return 1;
        }
    }

    return 0;
}


/* 0, which none of the options may be, if it is no number. */
static int
number(const char *text)
{
    char  *end;
    long   n;

    n = strtol(text, &end, 10);

    return (*end == '\0' && n > 0 && n <= 1000000) ? (int) n : 0;
}


static int
usage(void)
{
    fprintf(stderr, "usage: im-topics --brokers HOST:PORT --topic NAME "
            "[--partitions N] ... [--replication N] [--timeout SECONDS]\n");
    return 2;
}


static int
create(const char *brokers, const topic_t *topic, int replication,
    time_t until)
{
    char             error[256];
    struct timespec  pause = { 0, 200000000 };

    for ( ;; ) {
        if (im_kafka_topic_create(brokers, topic->name, topic->partitions,
                                  replication, 3000, error, sizeof(error))
            == IM_OK)
        {
            printf("topic %s: %d partitions\n", topic->name,
                   topic->partitions);

            if (replication == 1) {
                tell_sync(brokers, topic->name);
            }

            return IM_OK;
        }

        if (time(NULL) >= until) {
            fprintf(stderr, "topic %s: %s\n", topic->name, error);
            return IM_ERROR;
        }

        nanosleep(&pause, NULL);
    }
}


/* A topic that an earlier version has made may not be kept so. */
static void
tell_sync(const char *brokers, const char *topic)
{
    int   rc;
    char  error[256];

    rc = im_kafka_topic_syncs(brokers, topic, 3000, error, sizeof(error));

    if (rc == IM_OK) {
        printf("topic %s: each write is synced to disk\n", topic);

    } else if (rc == IM_DECLINED) {
        fprintf(stderr, "topic %s: a power cut may lose acknowledged messages; "
                "mend it by: kafka-configs.sh --bootstrap-server %s --alter "
                "--entity-type topics --entity-name %s --add-config "
                "flush.messages=1\n", topic, brokers, topic);

    } else {
        fprintf(stderr, "topic %s: whether writes are synced is not known: "
                "%s\n", topic, error);
    }
}
