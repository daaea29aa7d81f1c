/*
 * Threads call functions without pause while main goes through the life of the library again and again: TIMInit, TIMLogin, TIMUninit. Each call that
 * returned 0 is called back exactly once. The parameters are the number of lives and a ticket for ann.
 */
#include <TIMCloud.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { threads = 4, most = 2000000 };

static const char* message = "{\"message_elem_array\":[{\"elem_type\":0,\"text_elem_content\":\"x\"}]}";
static atomic_int stop, bad, open_calls, calls;
static _Atomic(unsigned char) answers[most];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void on_answer(int32_t code, const char* desc, const char* json, const void* ud) {
  (void)code;
  if (!desc || !json || atomic_fetch_add(&answers[(intptr_t)ud], 1) != 0) atomic_fetch_add(&bad, 1);
  atomic_fetch_sub(&open_calls, 1);
  pthread_mutex_lock(&lock);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static void on_messages(const char* json, const void* ud) {
  (void)json;
  (void)ud;
}

static void* caller(void* arg) {
  unsigned seed = (unsigned)(intptr_t)arg;
  while (!atomic_load(&stop)) {
    char id[128];
    int r = -1;
    int n = atomic_fetch_add(&calls, 1);
    if (n >= most) break;
    void* ud = (void*)(intptr_t)n;
    atomic_fetch_add(&open_calls, 1);
    switch (rand_r(&seed) % 10) {
      case 0: r = TIMMsgSendMessage("ann", kTIMConv_C2C, message, id, on_answer, ud); break;
      case 1: r = TIMConvGetConvList(on_answer, ud); break;
      case 2: r = TIMSetConfig("{}", on_answer, ud); break;
      case 3: r = TIMGroupGetJoinedGroupList(on_answer, ud); break;
      case 4: r = TIMMsgGetMsgList("ann", kTIMConv_C2C, "{}", on_answer, ud); break;
      case 5: r = TIMMsgMarkAllMessageAsRead(on_answer, ud); break;
      case 6: r = TIMConvCreate("bob", kTIMConv_C2C, on_answer, ud); break;
      case 7: TIMAddRecvNewMsgCallback(on_messages, ud); break;
      case 8: TIMRemoveRecvNewMsgCallback(on_messages); break;
      default: TIMGetLoginStatus(); TIMGetLoginUserID(id); break;
    }
    if (r != 0) atomic_fetch_sub(&open_calls, 1);
    /* Not more than the library lets be open. */
    pthread_mutex_lock(&lock);
    while (atomic_load(&open_calls) > 200 && !atomic_load(&stop)) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

int main(int argc, char** argv) {
  pthread_t t[threads];
  struct timespec limit;
  if (argc < 3) return 2;
  TIMSetConfig("{\"set_config_is_log_output_console\":false}", NULL, NULL);
  for (intptr_t i = 0; i < threads; i++) pthread_create(&t[i], NULL, caller, (void*)i);
  for (int life = 0; life < atoi(argv[1]); life++) {
    int n = atomic_fetch_add(&calls, 1);
    TIMInit(1400000000, NULL);
    atomic_fetch_add(&open_calls, 1);
    if (TIMLogin("ann", argv[2], on_answer, (void*)(intptr_t)n) != 0) return 3;
    if (life % 2) { /* some lives end during their login, others some calls later */
      pthread_mutex_lock(&lock);
      while (!atomic_load(&answers[n])) pthread_cond_wait(&changed, &lock);
      pthread_mutex_unlock(&lock);
    }
    if (TIMUninit() != 0) return 4;
  }
  atomic_store(&stop, 1);
  pthread_mutex_lock(&lock);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  for (int i = 0; i < threads; i++) pthread_join(t[i], NULL);

  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += 30;
  pthread_mutex_lock(&lock);
  while (atomic_load(&open_calls) > 0 && pthread_cond_timedwait(&changed, &lock, &limit) == 0) continue;
  pthread_mutex_unlock(&lock);
  TIMUninit();
  printf("%d calls, %d left open, %d answered twice or wrongly\n", atomic_load(&calls), atomic_load(&open_calls), atomic_load(&bad));
  return atomic_load(&open_calls) != 0 || atomic_load(&bad) != 0;
}
