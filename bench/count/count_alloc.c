/*
 * count_alloc.c -- counts the allocations of a program that it is loaded into.
 *
 *     LD_PRELOAD=im-count-alloc.so IM_COUNT_DIR=/folder program
 *
 * Each process has a file named by its pid in that folder, mapped, so that
 * bench/profile reads the counters while the program runs and nothing has to
 * be asked of it:
 *
 *     COUNT_SLOTS times (64 bytes):  allocations, frees, bytes asked for
 *
 * A thread counts in a slot of its own, as long as there are enough of them:
 * one counter for all would be a cache line that all cores fight for.
 *
 * The next malloc in the order of loading does the work, which need not be the
 * C library's.  To find it, dlsym() may itself allocate; what it gets comes out
 * of a small array and is never freed.
 *
 * Not counted: programs that do not ask malloc (Go's, or a JVM's objects).
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


#define COUNT_SLOTS  64
#define COUNT_EARLY  (64 * 1024)
#define COUNT_ALIGN  16
#define COUNT_PATH   480


typedef struct {
    uint64_t  allocations;
    uint64_t  frees;
    uint64_t  bytes;
    uint64_t  unused[5];
} count_slot_t;

_Static_assert(sizeof(count_slot_t) == 64, "a slot is a cache line");


static void count_find(void);
static void count_open(void);
static void *count_early(size_t size);
static int count_is_early(const void *p);
static count_slot_t *count_slot(void);
static void count_allocation(size_t size);


static void *(*count_malloc)(size_t);
static void *(*count_calloc)(size_t, size_t);
static void *(*count_realloc)(void *, size_t);
static void (*count_free)(void *);
static int (*count_posix_memalign)(void **, size_t, size_t);
static void *(*count_aligned_alloc)(size_t, size_t);

static count_slot_t    count_unmapped[COUNT_SLOTS];
static count_slot_t   *count_slots = count_unmapped;
static uint32_t        count_threads;
static char            count_folder[COUNT_PATH];
static unsigned char   count_array[COUNT_EARLY]
                       __attribute__((aligned(COUNT_ALIGN)));
static size_t          count_used;

static __thread uint32_t  count_thread
                          __attribute__((tls_model("initial-exec")));


__attribute__((constructor)) static void
count_start(void)
{
    const char  *folder;

    count_find();

    /* nginx takes its environment away from its workers */

    folder = getenv("IM_COUNT_DIR");

    if (folder != NULL && strlen(folder) < COUNT_PATH) {
        memcpy(count_folder, folder, strlen(folder) + 1);
    }

    count_open();
    (void) pthread_atfork(NULL, NULL, count_open);
}


/* ISO C knows no conversion of a pointer to a function; POSIX does. */
#define count_next(f, name)                                                  \
    do {                                                                     \
        void  *count_p = dlsym(RTLD_NEXT, name);                             \
        memcpy(&(f), &count_p, sizeof(count_p));                             \
    } while (0)

static void
count_find(void)
{
    static int  finding;

    if (finding) {
        return;
    }

    finding = 1;

    count_next(count_calloc, "calloc");
    count_next(count_free, "free");
    count_next(count_realloc, "realloc");
    count_next(count_posix_memalign, "posix_memalign");
    count_next(count_aligned_alloc, "aligned_alloc");
    count_next(count_malloc, "malloc");
}


/* In a child, too: a worker of nginx has counters of its own. */
static void
count_open(void)
{
    int    fd;
    char   path[COUNT_PATH + 32];
    void  *p;

    count_slots = count_unmapped;

    if (count_folder[0] == '\0') {
        return;
    }

    snprintf(path, sizeof(path), "%s/%ld", count_folder, (long) getpid());

    fd = open(path, O_RDWR|O_CREAT|O_TRUNC|O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }

    if (ftruncate(fd, sizeof(count_unmapped)) == 0) {
        p = mmap(NULL, sizeof(count_unmapped), PROT_READ|PROT_WRITE,
                 MAP_SHARED, fd, 0);

        if (p != MAP_FAILED) {
            count_slots = p;
        }
    }

    close(fd);
}


static void *
count_early(size_t size)
{
    void  *p;

    size = (size + COUNT_ALIGN - 1) & ~(size_t) (COUNT_ALIGN - 1);

    if (size > COUNT_EARLY - count_used) {
        errno = ENOMEM;
        return NULL;
    }

    p = count_array + count_used;
    count_used += size;

    return p;
}


static int
count_is_early(const void *p)
{
    const unsigned char  *c = p;

    return c >= count_array && c < count_array + COUNT_EARLY;
}


static count_slot_t *
count_slot(void)
{
    if (count_thread == 0) {
        count_thread = __atomic_add_fetch(&count_threads, 1,
                                          __ATOMIC_RELAXED);
    }

    return &count_slots[count_thread % COUNT_SLOTS];
}


static void
count_allocation(size_t size)
{
    count_slot_t  *s;

    s = count_slot();

    (void) __atomic_add_fetch(&s->allocations, 1, __ATOMIC_RELAXED);
    (void) __atomic_add_fetch(&s->bytes, size, __ATOMIC_RELAXED);
}


void *
malloc(size_t size)
{
    if (count_malloc == NULL) {
        count_find();

        if (count_malloc == NULL) {
            return count_early(size);
        }
    }

    count_allocation(size);

    return count_malloc(size);
}


void *
calloc(size_t n, size_t size)
{
    if (count_malloc == NULL) {
        count_find();

        if (count_malloc == NULL) {
            /* the array is zeroed, and no part of it is used twice */
            return (size != 0 && n > COUNT_EARLY / size)
                   ? NULL : count_early(n * size);
        }
    }

    count_allocation(n * size);

    return count_calloc(n, size);
}


void *
realloc(void *p, size_t size)
{
    void    *to;
    size_t   room;

    if (p != NULL && count_is_early(p)) {
        to = malloc(size);

        if (to != NULL) {
            room = (size_t) (count_array + COUNT_EARLY - (unsigned char *) p);
            memcpy(to, p, (size < room) ? size : room);
        }

        return to;
    }

    if (count_malloc == NULL) {
        return malloc(size);
    }

    count_allocation(size);

    return count_realloc(p, size);
}


void
free(void *p)
{
    if (p == NULL || count_is_early(p) || count_free == NULL) {
        return;
    }

    (void) __atomic_add_fetch(&count_slot()->frees, 1, __ATOMIC_RELAXED);

    count_free(p);
}


int
posix_memalign(void **p, size_t align, size_t size)
{
    if (count_malloc == NULL) {
        count_find();
    }

    count_allocation(size);

    return count_posix_memalign(p, align, size);
}


void *
aligned_alloc(size_t align, size_t size)
{
    if (count_malloc == NULL) {
        count_find();
    }

    count_allocation(size);

    return count_aligned_alloc(align, size);
}
