#include "shim.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Exported by Go, hidden from applications. */
extern int64_t tidingsgo_call(int function, tidings_args* args);
extern void tidingsgo_run(uintptr_t handle);

/*
 * A child of fork has one thread: Go cannot run in it. The flag is set in the child before fork returns, and only the flag is
 * checked there.
 */
static volatile sig_atomic_t in_forked_child;

static void after_fork_in_child(void) { in_forked_child = 1; }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, after_fork_in_child); }

/*
 * What the application wrote before a call happens before what the callback thread reads, and the other way round. Go ensures that, but tools
 * like ThreadSanitizer do not see Go: this mutex, which is held for no time, shows it to them.
 */
static pthread_mutex_t handover = PTHREAD_MUTEX_INITIALIZER;

static void hand_over(void) {
  pthread_mutex_lock(&handover);
  pthread_mutex_unlock(&handover);
}

static __thread uintptr_t callback_thread;

int64_t tidings_call(int function, tidings_args* args, int64_t in_child) {
  if (in_forked_child) return in_child;
  args->thread = callback_thread;
  hand_over();
  int64_t result = tidingsgo_call(function, args);
  hand_over();
  return result;
}

size_t tidings_length(const char* s) { return strnlen(s, TIDINGS_TEXT_MAX + 1); }

static void* run_thread(void* handle) {
  callback_thread = (uintptr_t)handle;
  tidingsgo_run((uintptr_t)handle);
  return NULL;
}

int tidings_start_thread(uintptr_t handle) {
  pthread_attr_t attr;
  pthread_t thread;
  int err = pthread_attr_init(&attr);
  if (err != 0) return err;
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  err = pthread_create(&thread, &attr, run_thread, (void*)handle);
  pthread_attr_destroy(&attr);
  return err;
}

const char* tidings_getenv(const char* name) { return getenv(name); }

void tidings_fire(int shape, uintptr_t cb, tidings_event event) {
  hand_over();
  tidings_call_back(shape, cb, &event);
  hand_over();
  free(event.s[0]);
}
