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

static const char* friend = "{\"friendship_add_friend_param_identifier\":\"bob\"}";
static const char* friends = "{\"friendship_delete_friend_param_identifier_array\":[\"bob\"]}";
static const char* name = "{\"user_profile_item_nick_name\":\"Ann\"}";
static const char* group = "{\"create_group_param_group_name\":\"Mine\",\"create_group_param_group_id\":\"mine\"}";
static const char* attributes = "[{\"group_attribute_key\":\"k\",\"group_attribute_value\":\"v\"}]";
static const char* members = "{\"group_get_members_info_list_param_group_id\":\"ops\"}";
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
    switch (rand_r(&seed) % 32) {
      case 0: r = TIMMsgSendMessage("ann", kTIMConv_C2C, message, id, on_answer, ud); break;
      case 1: r = TIMConvGetConvList(on_answer, ud); break;
      case 2: r = TIMSetConfig("{}", on_answer, ud); break;
      case 3: r = TIMGroupGetJoinedGroupList(on_answer, ud); break;
      case 4: r = TIMMsgGetMsgList("ann", kTIMConv_C2C, "{}", on_answer, ud); break;
      case 5: r = TIMMsgMarkAllMessageAsRead(on_answer, ud); break;
      case 6: r = TIMConvCreate("bob", kTIMConv_C2C, on_answer, ud); break;
      case 7: TIMAddRecvNewMsgCallback(on_messages, ud); break;
      case 8: TIMRemoveRecvNewMsgCallback(on_messages); break;
      case 9: r = TIMFriendshipAddFriend(friend, on_answer, ud); break;
      case 10: r = TIMFriendshipDeleteFriend(friends, on_answer, ud); break;
      case 11: r = TIMFriendshipAddToBlackList("[\"bob\"]", on_answer, ud); break;
      case 12: r = TIMFriendshipDeleteFromBlackList("[\"bob\"]", on_answer, ud); break;
      case 13: r = TIMFriendshipGetFriendProfileList(on_answer, ud); break;
      case 14: r = TIMProfileModifySelfUserProfile(name, on_answer, ud); break;
      case 15: TIMSetOnAddFriendCallback(on_messages, ud); break;
      case 16: TIMSetOnAddFriendCallback(NULL, NULL); break;
      case 17: TIMSetFriendBlackListAddedCallback(on_messages, ud); break;
      case 18: r = TIMGroupCreate(group, on_answer, ud); break;
      case 19: r = TIMGroupDelete("mine", on_answer, ud); break;
      case 20: r = TIMGroupJoin("ops", "hi", on_answer, ud); break;
      case 21: r = TIMGroupQuit("ops", on_answer, ud); break;
      case 22: r = TIMGroupGetMemberInfoList(members, on_answer, ud); break;
      case 23: r = TIMGroupSetGroupAttributes("ops", attributes, on_answer, ud); break;
      case 24: r = TIMGroupDeleteGroupAttributes("ops", NULL, on_answer, ud); break;
      case 25: r = TIMGroupGetGroupInfoList("[\"ops\",\"mine\"]", on_answer, ud); break;
      case 26: r = TIMMsgSendMessage("ops", kTIMConv_Group, message, id, on_answer, ud); break;
      case 27: TIMSetGroupTipsEventCallback(on_messages, ud); break;
      case 28: TIMSetGroupTipsEventCallback(NULL, NULL); break;
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
