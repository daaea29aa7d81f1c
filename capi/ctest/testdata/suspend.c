/*
 * Suspends the callback thread the way a garbage collector does: by a real-time signal to each thread that has run its code, whose handler
 * says that it stands, and waits to be resumed. The parameter is a ticket for ann.
 */
#define _GNU_SOURCE
#include <TIMCloud.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

enum { rounds = 100, suspend_within = 30 };

static pthread_t seen; /* the thread that called back */
static sem_t answered, inside, leave, stands;
static int suspend_signal, resume_signal;

static void on_suspend(int sig) {
  sigset_t wait;
  int saved = errno;
  (void)sig;
  sigfillset(&wait);
  sigdelset(&wait, resume_signal);
  sem_post(&stands);
  sigsuspend(&wait); /* the resume signal is blocked until here, by sa_mask */
  sem_post(&stands);
  errno = saved;
}

static void on_resume(int sig) { (void)sig; }

static int wait_within(sem_t* s) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += suspend_within;
  while (sem_timedwait(s, &until) != 0)
    if (errno != EINTR) return 0;
  return 1;
}

static int stop_and_go(const char* when) {
  pthread_kill(seen, suspend_signal);
  if (!wait_within(&stands)) {
    fprintf(stderr, "the callback thread does not take the signal %s\n", when);
    return 0;
  }
  pthread_kill(seen, resume_signal);
  if (!wait_within(&stands)) {
    fprintf(stderr, "the callback thread does not come back %s\n", when);
    return 0;
  }
  return 1;
}

static void on_answer(int32_t code, const char* desc, const char* json, const void* ud) {
  (void)desc;
  (void)json;
  seen = pthread_self();
  if (code != 0) fprintf(stderr, "code %d\n", (int)code);
  if (ud) { /* asked to stay, so that it is suspended inside a callback */
    sem_post(&inside);
    while (sem_wait(&leave) != 0) {}
  }
  sem_post(&answered);
}

int main(int argc, char** argv) {
  struct sigaction act = {0};
  static char stay;
  if (argc < 2) return 2;
  suspend_signal = SIGRTMIN + 4;
  resume_signal = SIGRTMIN + 5;
  sem_init(&answered, 0, 0);
  sem_init(&inside, 0, 0);
  sem_init(&leave, 0, 0);
  sem_init(&stands, 0, 0);
  sigfillset(&act.sa_mask);
  act.sa_flags = SA_RESTART | SA_ONSTACK;
  act.sa_handler = on_suspend;
  sigaction(suspend_signal, &act, NULL);
  act.sa_handler = on_resume;
  sigaction(resume_signal, &act, NULL);

  if (TIMInit(1400000000, NULL) != 0) return 2;
  TIMLogin("ann", argv[1], on_answer, NULL);
  if (!wait_within(&answered)) return 3;
  for (int i = 0; i < rounds; i++) {
    if (!stop_and_go("between callbacks")) return 1;
    TIMSetConfig("{}", on_answer, &stay);
    if (!wait_within(&inside)) return 3;
    if (!stop_and_go("in a callback")) return 1;
    sem_post(&leave);
    if (!wait_within(&answered)) return 3;
  }
  if (TIMUninit() != 0) return 4;
  printf("suspended %d times\n", 2 * rounds);
  return 0;
}
