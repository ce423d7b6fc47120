/* Locks, conditions, threads, CPUs and processes, on pthreads or Win32. */
#ifndef REALIZAR_PLATFORM_H
#define REALIZAR_PLATFORM_H

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <errno.h>
#include <process.h>
#include <windows.h>

typedef SRWLOCK rz_mutex;
typedef CONDITION_VARIABLE rz_cond;
typedef HANDLE rz_thread;
typedef unsigned rz_thread_result;
#define RZ_THREAD_CALL __stdcall

static inline void rz_mutex_init(rz_mutex *m) { InitializeSRWLock(m); }
static inline void rz_mutex_destroy(rz_mutex *m) { (void)m; }
static inline void rz_mutex_lock(rz_mutex *m) { AcquireSRWLockExclusive(m); }
static inline void rz_mutex_unlock(rz_mutex *m) { ReleaseSRWLockExclusive(m); }
static inline void rz_cond_init(rz_cond *c) { InitializeConditionVariable(c); }
static inline void rz_cond_destroy(rz_cond *c) { (void)c; }
static inline void rz_cond_wait(rz_cond *c, rz_mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static inline void rz_cond_broadcast(rz_cond *c) { WakeAllConditionVariable(c); }
static inline void rz_yield(void) { SwitchToThread(); }
static inline long rz_process_id(void) { return 1; } /* no fork here: always the same process */

static inline int rz_thread_start(rz_thread *t, rz_thread_result(RZ_THREAD_CALL *fn)(void *), void *arg)
{
    *t = (HANDLE)_beginthreadex(NULL, 0, fn, arg, 0, NULL);
    return *t ? 0 : errno;
}

static inline void rz_thread_join(rz_thread t)
{
    WaitForSingleObject(t, INFINITE);
    CloseHandle(t);
}

/* CPUs that this process may run on. */
static inline int rz_n_cpus(void)
{
    DWORD_PTR mine = 0, all = 0;
    int n = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &mine, &all))
        for (; mine; mine &= mine - 1) n++;
    return n > 0 ? n : 1;
}

#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

typedef pthread_mutex_t rz_mutex;
typedef pthread_cond_t rz_cond;
typedef pthread_t rz_thread;
typedef void *rz_thread_result;
#define RZ_THREAD_CALL

static inline void rz_mutex_init(rz_mutex *m) { pthread_mutex_init(m, NULL); }
static inline void rz_mutex_destroy(rz_mutex *m) { pthread_mutex_destroy(m); }
static inline void rz_mutex_lock(rz_mutex *m) { pthread_mutex_lock(m); }
static inline void rz_mutex_unlock(rz_mutex *m) { pthread_mutex_unlock(m); }
static inline void rz_cond_init(rz_cond *c) { pthread_cond_init(c, NULL); }
static inline void rz_cond_destroy(rz_cond *c) { pthread_cond_destroy(c); }
static inline void rz_cond_wait(rz_cond *c, rz_mutex *m) { pthread_cond_wait(c, m); }
static inline void rz_cond_broadcast(rz_cond *c) { pthread_cond_broadcast(c); }
static inline void rz_yield(void) { sched_yield(); }
static inline long rz_process_id(void) { return (long)getpid(); }

/* The new thread blocks all signals: the threads of the host program handle Ctrl-C. */
static inline int rz_thread_start(rz_thread *t, rz_thread_result(RZ_THREAD_CALL *fn)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(t, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static inline void rz_thread_join(rz_thread t) { pthread_join(t, NULL); }

/* CPUs that this process may run on. */
static inline int rz_n_cpus(void)
{
#ifdef __linux__
    cpu_set_t set; /* holds 1024 CPUs; a larger machine returns EINVAL and is counted below */
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}
#endif

#endif
