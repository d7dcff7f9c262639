/*
 * bench_main.c -- the loop.
 *
 *     im-bench --address HOST:PORT --key FILE --users FILE [options]
 *
 * The file of users has one uid a line; they must exist on the server
 * (bench/run puts them there).  What is done is told on standard output, a
 * line each, so that bench/run can look at the server at the same moments:
 *
 *     opened N S    all connections are open and authenticated, after S s
 *     measure       the measured window begins
 *     measured      it has ended; messages under way still count
 *     {...}         the figures, as JSON; the last line
 *
 * With --idle nothing is sent.  A number on standard input is the next number
 * of connections to open, answered by another "opened"; its end is the end.
 *
 * Everything that goes wrong is told on standard error.  The whole run has a
 * hard limit, after which SIGALRM ends the process.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"


#define MAIN_EVENTS     512
#define MAIN_OPEN_S     60          /* for each number of connections */
#define MAIN_IDLE_S     900
#define MAIN_BEAT_NS    50000000ULL


static int main_open(bench_t *b, uint32_t target);
static int main_idle(bench_t *b);
static int main_load(bench_t *b);
static int main_settled(const bench_t *b);
static void main_wait(bench_t *b, uint64_t wake);


int
main(int argc, char **argv)
{
    int             rc;
    uint32_t        i;
    struct rlimit   files;
    static bench_t  b;

    rc = bench_options(&b, argc, argv);
    if (rc != IM_OK) {
        return (rc == IM_DONE) ? 0 : 2;
    }

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &files);
    }

    /* sleep as long as asked, not 50 us longer */
    (void) prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);

    b.epoll = epoll_create1(EPOLL_CLOEXEC);

    if (b.epoll < 0
        || getrandom(&b.random, sizeof(b.random), 0) != sizeof(b.random)
        || getrandom(&b.mark, sizeof(b.mark), 0) != sizeof(b.mark))
    {
        bench_say("%s", strerror(errno));
        return 1;
    }

    b.random |= 1;

    alarm((unsigned) (b.idle ? MAIN_IDLE_S
                      : MAIN_OPEN_S + b.warmup_s + b.seconds + b.drain_s
                        + 30));

    rc = main_open(&b, b.connections + b.publishers);

    if (rc == IM_OK) {
        rc = b.idle ? main_idle(&b) : main_load(&b);
    }

    if (rc == IM_OK && !b.idle) {

        if (b.rooms != NULL) {
            bench_rooms_report(&b);

        } else {
            bench_report(&b);
        }
    }

    for (i = 0; i < b.started; i++) {
        bench_conn_close(&b, &b.conns[i]);
    }

    free(b.retries);
    free(b.dues);
    free(b.rooms);
    free(b.conns);
    close(b.epoll);

    return (rc == IM_OK) ? 0 : 1;
}


static int
main_open(bench_t *b, uint32_t target)
{
    uint64_t  begin, until;

    if (bench_shake_prepare(b, target) != IM_OK) {
        return IM_ERROR;
    }

    begin = bench_now_ns();
    until = begin + MAIN_OPEN_S * 1000000000ULL;

    while (b->opened < target) {

        if (bench_conn_open_some(b, target) != IM_OK) {
            return IM_ERROR;
        }

        if (b->faults.disconnects > 0) {
            bench_say("%u of %u connections are open", b->opened, target);
            return IM_ERROR;
        }

        if (bench_now_ns() > until) {
            bench_say("%u of %u connections are open after %d s", b->opened,
                      target, MAIN_OPEN_S);
            return IM_ERROR;
        }

        main_wait(b, bench_now_ns() + MAIN_BEAT_NS);
    }

    printf("opened %u %.3f\n", b->opened,
           (double) (bench_now_ns() - begin) / 1e9);
    fflush(stdout);

    return IM_OK;
}


static int
main_idle(bench_t *b)
{
    int                  eof;
    char                 line[64];
    size_t               len;
    ssize_t              n;
    unsigned long        target;
    struct epoll_event   ev;

    ev.events = EPOLLIN;
    ev.data.ptr = NULL;

    if (epoll_ctl(b->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &ev) != 0) {
        bench_say("standard input: %s", strerror(errno));
        return IM_ERROR;
    }

    for (eof = 0; !eof; /* void */ ) {

        /* one byte at a time: what comes next stays in the pipe */

        for (len = 0; len < sizeof(line) - 1; /* void */ ) {

            if (len == 0) {
                b->input = 0;

                while (!b->input) {
                    main_wait(b, bench_now_ns() + 1000000000);
                }
            }

            n = read(STDIN_FILENO, line + len, 1);

            if (n <= 0 || line[len] == '\n') {
                eof = (n <= 0);
                break;
            }

            len++;
        }

        if (eof) {
            break;
        }

        line[len] = '\0';
        target = strtoul(line, NULL, 10);

        if (target > b->users) {
            bench_say("there are %u users", b->users);
            return IM_ERROR;
        }

        if (main_open(b, (uint32_t) target) != IM_OK) {
            return IM_ERROR;
        }
    }

    return b->faults.disconnects ? IM_ERROR : IM_OK;
}


static int
main_load(bench_t *b)
{
    int       rc;
    uint64_t  now, wake, end;

    now = bench_now_ns();

    rc = (b->rooms != NULL) ? bench_rooms_init(b, now)
                            : bench_load_init(b, now);
    if (rc != IM_OK) {
        bench_say("not enough memory for %u windows of %u messages",
                  b->connections, b->window);
        return IM_ERROR;
    }

    end = b->until_ns + (uint64_t) (b->drain_s * 1e9);

    for ( ;; ) {
        wake = (b->rooms != NULL) ? bench_rooms_turn(b, now)
                                  : bench_load_turn(b, now);

        if (now >= b->until_ns && (main_settled(b) || now >= end)
            && b->next_ns >= (double) b->until_ns)
        {
            return IM_OK;
        }

        if (b->tick_us > 0 && wake < now + (uint64_t) b->tick_us * 1000) {
            wake = now + (uint64_t) b->tick_us * 1000;
        }

        main_wait(b, wake);

        now = bench_now_ns();
    }
}


static int
main_settled(const bench_t *b)
{
    return (b->rooms != NULL) ? bench_rooms_done(b) : b->in_flight == 0;
}


/*
 * Serves events until wake (or the first of them).  Under load a turn begins
 * at most once a tick: a wake-up for each of 50,000 frames a second would cost
 * the server the core that it shares with us.  The tick is in the latencies.
 */
static void
main_wait(bench_t *b, uint64_t wake)
{
    int                        i, n;
    uint64_t                   now;
    struct timespec            t;
    static uint64_t            last;
    static struct epoll_event  events[MAIN_EVENTS];

    now = bench_now_ns();

    if (b->tick_us > 0 && b->begin_ns != 0) {

        last += (uint64_t) b->tick_us * 1000;

        if (last > now) {
            t.tv_sec = (time_t) (last / 1000000000);
            t.tv_nsec = (long) (last % 1000000000);
            (void) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
            now = bench_now_ns();
        }

        last = now;
    }

    t.tv_sec = 0;
    t.tv_nsec = 0;

    if (wake > now) {
        t.tv_sec = (time_t) ((wake - now) / 1000000000);
        t.tv_nsec = (long) ((wake - now) % 1000000000);
    }

    n = epoll_pwait2(b->epoll, events, MAIN_EVENTS, &t, NULL);

    for (i = 0; i < n; i++) {

        if (events[i].data.ptr == NULL) {
            b->input = 1;
            continue;
        }

        bench_conn_event(b, events[i].data.ptr, events[i].events);
    }
}


uint64_t
bench_now_ns(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}


void
bench_say(const char *fmt, ...)
{
    va_list  args;

    fputs("im-bench: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}
