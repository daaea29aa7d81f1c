/* Measures what crossing from C to the library and back costs. The parameter is a ticket for ann. */
#include <TIMCloud.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { many = 20000, sends = 5000, alone = 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int answered, failed;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void on_answer(int32_t code, const char* desc, const char* json, const void* ud) {
  (void)desc;
  (void)json;
  (void)ud;
  pthread_mutex_lock(&lock);
  answered++;
  failed += code != 0;
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&lock);
}

static void wait_for(int n) {
  pthread_mutex_lock(&lock);
  while (answered < n) pthread_cond_wait(&changed, &lock);
  answered = 0;
  pthread_mutex_unlock(&lock);
}

static double times[sends];

static int compare(const void* a, const void* b) { return (*(const double*)a > *(const double*)b) - (*(const double*)a < *(const double*)b); }

int main(int argc, char** argv) {
  const char* message = "{\"message_elem_array\":[{\"elem_type\":0,\"text_elem_content\":\"hello\"}]}";
  if (argc < 2) return 2;
  double t = now();
  if (TIMInit(1400000000, NULL) != 0) return 2;
  printf("TIMInit                                 %8.0f ns\n", now() - t);
  TIMLogin("ann", argv[1], on_answer, NULL);
  wait_for(1);

  t = now();
  for (int i = 0; i < many; i++) TIMGetLoginStatus();
  printf("TIMGetLoginStatus                       %8.0f ns a call\n", (now() - t) / many);

  t = now();
  for (int i = 0; i < many; i++) TIMConvCreate("ann", 0, NULL, NULL);
  printf("a call without a callback               %8.0f ns a call\n", (now() - t) / many);

  t = now();
  for (int i = 0; i < many; i++) TIMSetConfig("{}", on_answer, NULL);
  wait_for(many);
  printf("TIMSetConfig with its callback          %8.0f ns a call and callback, queued\n", (now() - t) / many);

  t = now();
  for (int i = 0; i < many; i++) {
    TIMSetConfig("{}", on_answer, NULL);
    wait_for(1);
  }
  printf("TIMSetConfig with its callback          %8.0f ns there and back, waited for\n", (now() - t) / many);

  for (int i = 0; i < alone; i++) {
    char id[128];
    t = now();
    TIMMsgSendMessage("ann", kTIMConv_C2C, message, id, on_answer, NULL);
    times[i] = now() - t;
    wait_for(1);
  }
  qsort(times, alone, sizeof *times, compare);
  printf("TIMMsgSendMessage, alone, returns after %8.0f ns median, %.0f ns p99 (%d failed)\n", times[alone / 2], times[alone * 99 / 100], failed);

  for (int i = 0; i < sends; i++) {
    char id[128];
    t = now();
    TIMMsgSendMessage("ann", kTIMConv_C2C, message, id, on_answer, NULL);
    times[i] = now() - t;
    if (i % 500 == 499) wait_for(500);
  }
  qsort(times, sends, sizeof *times, compare);
  printf("TIMMsgSendMessage, 500 at once,         %8.0f ns median, %.0f ns p99 (%d failed)\n", times[sends / 2], times[sends * 99 / 100], failed);
  return TIMUninit();
}
