/*
 * chat logs a user in, sends one message, and prints what arrives until its input ends.
 *
 *   chat USER TICKET [PEER TEXT]
 *
 * A ticket comes from `tidings usersig --user USER`; the server is the one in TIDINGS_SERVER.
 */
#include <TIMCloud.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Results arrive on a thread of the library: main waits for them here. */
struct result {
  pthread_mutex_t lock;
  pthread_cond_t done;
  int ready;
  int32_t code;
};

static void on_result(int32_t code, const char* desc, const char* json, const void* user_data) {
  struct result* r = (struct result*)user_data;
  (void)json;
  if (code != 0) fprintf(stderr, "error %d: %s\n", (int)code, desc);
  pthread_mutex_lock(&r->lock);
  r->ready = 1;
  r->code = code;
  pthread_cond_signal(&r->done);
  pthread_mutex_unlock(&r->lock);
}

static int wait_for(struct result* r) {
  pthread_mutex_lock(&r->lock);
  while (!r->ready) pthread_cond_wait(&r->done, &r->lock);
  r->ready = 0;
  pthread_mutex_unlock(&r->lock);
  return (int)r->code;
}

static void on_messages(const char* json, const void* user_data) {
  (void)user_data;
  printf("new messages: %s\n", json);
  fflush(stdout);
}

/* Writes s as a JSON string; a real program would use a JSON library. */
static void quote(FILE* out, const char* s) {
  fputc('"', out);
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') fprintf(out, "\\%c", *s);
    else if ((unsigned char)*s < 0x20) fprintf(out, "\\u%04x", (unsigned)*s);
    else fputc(*s, out);
  }
  fputc('"', out);
}

static char* text_message(const char* text) {
  char* json = NULL;
  size_t size = 0;
  FILE* out = open_memstream(&json, &size);
  if (!out) return NULL;
  fprintf(out, "{\"%s\":[{\"%s\":%d,\"%s\":", kTIMMsgElemArray, kTIMElemType, kTIMElem_Text, kTIMTextElemContent);
  quote(out, text);
  fputs("}]}", out);
  fclose(out);
  return json;
}

int main(int argc, char** argv) {
  struct result r = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};
  char line[256];

  if (argc != 3 && argc != 5) {
    fprintf(stderr, "usage: %s USER TICKET [PEER TEXT]\n", argv[0]);
    return 2;
  }
  if (TIMInit(1400000000, getenv("CHAT_CONFIG")) != TIM_SUCC) return 1;
  TIMAddRecvNewMsgCallback(on_messages, NULL);
  if (TIMLogin(argv[1], argv[2], on_result, &r) != TIM_SUCC || wait_for(&r) != 0) return 1;
  printf("logged in as %s\n", argv[1]);
  fflush(stdout);

  if (argc == 5) {
    char id[128];
    char* json = text_message(argv[4]);
    if (!json || TIMMsgSendMessage(argv[3], kTIMConv_C2C, json, id, on_result, &r) != TIM_SUCC || wait_for(&r) != 0) return 1;
    free(json);
    printf("sent %s\n", id);
    fflush(stdout);
  }
  while (fgets(line, sizeof line, stdin)) continue;

  if (TIMLogout(on_result, &r) == TIM_SUCC) wait_for(&r);
  TIMUninit();
  return 0;
}
