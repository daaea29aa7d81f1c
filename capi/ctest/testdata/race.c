/*
 * "race": a thread of the program and a callback write without any order. "handover": the calls of the library are the only order between them. "kept": main reads a
 * callback's text after the callback.
 */
#include <TIMCloud.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int before_call, in_callback;
static int shared;
static int done[2];
static const char* kept;

static void on_answer(int32_t code, const char* desc, const char* json, const void* ud) {
  (void)code;
  (void)desc;
  (void)ud;
  kept = json;
  in_callback = before_call + 1;
  shared++;
  if (write(done[1], "x", 1) != 1) return;
}

static void* write_shared(void* arg) {
  shared++;
  return arg;
}

int main(int argc, char** argv) {
  char c;
  pthread_t writer;
  int races;
  if (argc < 2 || pipe(done) != 0) return 2;
  races = !strcmp(argv[1], "race");
  TIMInit(1400000000, NULL);
  before_call = 41;
  if (races && pthread_create(&writer, NULL, write_shared, NULL) != 0) return 2;
  TIMConvGetConvList(on_answer, NULL);
  if (read(done[0], &c, 1) != 1) return 2;
  if (races && pthread_join(writer, NULL) != 0) return 2;
  TIMGetLoginStatus();
  TIMUninit();
  if (!strcmp(argv[1], "kept")) printf("%c\n", *kept);
  printf("%d\n", in_callback);
  return in_callback != 42;
}
