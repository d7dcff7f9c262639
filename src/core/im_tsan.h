/*
 * im_tsan.h -- pointers that pass through a library to another thread.
 *
 * gRPC and librdkafka are not built with ThreadSanitizer.  So it does not see
 * that a pointer which we pass to them in one thread comes back in another one,
 * and needs these annotations.  They are empty in other builds.
 */

#ifndef IM_TSAN_H
#define IM_TSAN_H

#if (__SANITIZE_THREAD__)

void __tsan_acquire(void *addr);
void __tsan_release(void *addr);

#define im_tsan_give(ptr)   __tsan_release(ptr)
#define im_tsan_take(ptr)   __tsan_acquire(ptr)

#else

#define im_tsan_give(ptr)   (void) (ptr)
#define im_tsan_take(ptr)   (void) (ptr)

#endif

#endif
