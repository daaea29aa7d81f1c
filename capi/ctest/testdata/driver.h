/*
 * The fixed half of the driver. Lines of standard input are commands, their fields separated by tabs; in a field \t, \n and \\ are escaped,
 * \N is NULL and \R<n> is n times the letter a.
 *
 *   call FUNCTION PARAMETERS... ID   calls a function: 1 or 0 for a callback or buffer, nothing for user data, which is ID
 *   hook CALLBACK COMMAND...         the next call of CALLBACK runs COMMAND before it returns
 *   block / release                  waits in a hook until released
 *   fork / stats / quit
 */
#define _GNU_SOURCE
#include <TIMCloud.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int call(const char* name, int n, char** a);
int in_child(void);
static void run_line(char* line);

static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;

static void die(const char* what) {
  fprintf(stderr, "driver: %s\n", what);
  abort();
}

static long long number(const char* s) { return s ? strtoll(s, NULL, 10) : 0; }

static void begin(const char* kind) {
  pthread_mutex_lock(&out_lock);
  fputs(kind, stdout);
}

static void end(void) {
  putchar('\n');
  fflush(stdout);
  pthread_mutex_unlock(&out_lock);
}

static void put_number(long long n) { printf("\t%lld", n); }

static void put_text(const char* s) {
  putchar('\t');
  if (!s) fputs("(null)", stdout);
  for (; s && *s; s++) {
    if (*s == '\t') fputs("\\t", stdout);
    else if (*s == '\n') fputs("\\n", stdout);
    else if (*s == '\\') fputs("\\\\", stdout);
    else putchar(*s);
  }
}

static void returned(long long id, long long r, const char* text) {
  begin("ret");
  put_number(id);
  put_number(r);
  put_text(text);
  end();
}

/* Commands that wait for a callback. */
static struct hook {
  char* callback;
  char* line;
  struct hook* next;
} * first_hook;
static pthread_mutex_t hook_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hook_changed = PTHREAD_COND_INITIALIZER;
static int releases;

static void add_hook(const char* callback, const char* line) {
  struct hook* h = malloc(sizeof *h);
  h->callback = strdup(callback);
  h->line = strdup(line);
  h->next = NULL;
  pthread_mutex_lock(&hook_lock);
  struct hook** at = &first_hook;
  while (*at) at = &(*at)->next;
  *at = h;
  pthread_mutex_unlock(&hook_lock);
}

/* Taken before the callback is printed, so that a hook that is sent in answer to it is for the next one. */
static struct hook* take_hook(const char* callback) {
  pthread_mutex_lock(&hook_lock);
  struct hook** at = &first_hook;
  while (*at && strcmp((*at)->callback, callback)) at = &(*at)->next;
  struct hook* h = *at;
  if (h) *at = h->next;
  pthread_mutex_unlock(&hook_lock);
  return h;
}

static void run_hook(struct hook* h) {
  if (!h) return;
  run_line(h->line);
  free(h->callback);
  free(h->line);
  free(h);
}

static int entries(const char* dir) {
  int n = 0;
  DIR* d = opendir(dir);
  while (d && readdir(d)) n++;
  if (d) closedir(d);
  return n;
}

static long long resident(void) {
  long long pages = 0, rss = 0;
  FILE* f = fopen("/proc/self/statm", "r");
  if (!f || fscanf(f, "%lld %lld", &pages, &rss) != 2) die("statm");
  fclose(f);
  return rss * 4096;
}

/* Splits a line at its tabs and undoes the escapes. */
static int fields(char* line, char** a, int most) {
  int n = 0;
  for (char* s = line; s && n < most;) {
    char* tab = strchr(s, '\t');
    if (tab) *tab = 0;
    if (!strcmp(s, "\\N")) {
      a[n++] = NULL;
    } else if (s[0] == '\\' && s[1] == 'R') {
      size_t size = (size_t)strtoll(s + 2, NULL, 10);
      a[n] = malloc(size + 1);
      memset(a[n], 'a', size);
      a[n++][size] = 0;
    } else {
      char *from = s, *copy = malloc(strlen(s) + 1), *to = copy;
      for (; *from; from++) {
        if (*from == '\\' && from[1]) {
          from++;
          *to++ = *from == 't' ? '\t' : *from == 'n' ? '\n' : *from;
        } else {
          *to++ = *from;
        }
      }
      *to = 0;
      a[n++] = copy;
    }
    s = tab ? tab + 1 : NULL;
  }
  return n;
}

static void run_line(char* line) {
  if (!strncmp(line, "hook\t", 5)) {
    char* rest = strchr(line + 5, '\t');
    *rest = 0;
    add_hook(line + 5, rest + 1);
    return;
  }
  char* a[16] = {0};
  int n = fields(line, a, 16);
  if (!strcmp(a[0], "call")) {
    if (!call(a[1], n - 2, a + 2)) die(a[1]);
  } else if (!strcmp(a[0], "block")) {
    begin("blocked");
    end();
    pthread_mutex_lock(&hook_lock);
    while (!releases) pthread_cond_wait(&hook_changed, &hook_lock);
    releases--;
    pthread_mutex_unlock(&hook_lock);
  } else if (!strcmp(a[0], "release")) {
    pthread_mutex_lock(&hook_lock);
    releases++;
    pthread_cond_broadcast(&hook_changed);
    pthread_mutex_unlock(&hook_lock);
  } else if (!strcmp(a[0], "fork")) {
    pid_t child = fork();
    if (child == 0) _exit(in_child());
    int status = 0;
    waitpid(child, &status, 0);
    begin("forked");
    put_number(status);
    end();
  } else if (!strcmp(a[0], "stats")) {
    int threads = entries("/proc/self/task"), handles = entries("/proc/self/fd");
    begin("stats");
    put_number(threads);
    put_number(handles);
    put_number(resident());
    end();
  } else {
    die(a[0]);
  }
  for (int i = 0; i < n; i++) free(a[i]);
}

int main(void) {
  char* line = NULL;
  size_t size = 0;
  ssize_t n;
  while ((n = getline(&line, &size, stdin)) > 0) {
    if (line[n - 1] == '\n') line[n - 1] = 0;
    if (!strcmp(line, "quit")) break;
    run_line(line);
  }
  free(line);
  begin("quit");
  end();
  return 0;
}
