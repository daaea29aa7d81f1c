/* Between the exported C functions and Go. */
#ifndef TIDINGS_SHIM_H
#define TIDINGS_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include "TIMCloud.h"

/* The parameters of a call, by kind and in their order. Addresses that belong to the application are numbers to Go. */
typedef struct {
  const char* s[3];
  int64_t n[5];
  char* out;
  uintptr_t cb[2];
  uintptr_t ud;
  uintptr_t thread; /* the callback thread that calls; 0: another thread */
} tidings_args;

/* Enters Go; in a forked child it returns in_child instead. */
int64_t tidings_call(int function, tidings_args* args, int64_t in_child);

/* The limit of a text, in bytes. */
#define TIDINGS_TEXT_MAX ((size_t)16 << 20)

/* The length of s, or TIDINGS_TEXT_MAX + 1 if it is longer than that. */
size_t tidings_length(const char* s);

/*
 * Starts a thread that runs tidingsgo_run(handle); returns an errno. It inherits the signal mask of its creator: garbage collectors suspend every
 * thread that has run their code with a signal, and wait forever for one that blocks it.
 */
int tidings_start_thread(uintptr_t handle);

/* The present value of an environment variable, or NULL: Go's own copy was made when the library was loaded. */
const char* tidings_getenv(const char* name);

/* What a callback passes, in the order of its parameters. The first text is the start of a block that contains them all. */
typedef struct {
  char* s[5];
  int64_t n[3];
  uintptr_t ud;
} tidings_event;

/* Calls a callback whose type has the given shape, and frees the texts. */
void tidings_fire(int shape, uintptr_t cb, tidings_event event);

/* The call itself; generated. */
void tidings_call_back(int shape, uintptr_t cb, const tidings_event* event);

#endif
