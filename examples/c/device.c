/*
 * device is a program that another one controls: it carries out the lines of its input, and prints what it gets. It knows only TIMCloud.h.
 *
 *   device USER FOLDER
 *
 * Each line of its input is a command of the table below. Each line of its output is a JSON object: {"event": NAME, ...} for a callback
 * of an event, {"result": COMMAND, "code": CODE, ...} for what became of a command. Two programs with a folder each are two devices. The
 * server is the one in TIDINGS_SERVER, and TIDINGS_PLATFORM says what kind of device this is.
 *
 * The tour of `make demo` (tour/main.go) and the tests of the event matrix (capi/ctest) drive it.
 */
#include <TIMCloud.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;

/* Everything that is printed goes through here: lines of the callback thread and of main do not mix. */
static void print(const char* format, const char* name, long long number, const char* json) {
  pthread_mutex_lock(&out_lock);
  printf(format, name, number, json && *json ? json : "null");
  putchar('\n');
  fflush(stdout);
  pthread_mutex_unlock(&out_lock);
}

/* The events. */

static void event(const char* name, long long number, const char* json) { print("{\"event\":\"%s\",\"number\":%lld,\"json\":%s}", name, number, json); }

/* Types with the same parameters may have the same function: its user data says which event it is. */
static void on_json(const char* json, const void* data) { event(data, 0, json); }
static void on_nothing(const void* data) { event(data, 0, NULL); }
static void on_conv(enum TIMConvEvent kind, const char* json, const void* data) { event(data, kind, json); }
static void on_total(int total, const void* data) { event(data, total, NULL); }

static void quote(FILE* out, const char* s);

static void on_attributes(const char* group, const char* attributes, const void* data) {
  char* json = NULL;
  size_t size = 0;
  FILE* out = open_memstream(&json, &size);
  if (!out) abort();
  fputs("{\"group\":", out);
  quote(out, group);
  fprintf(out, ",\"attributes\":%s}", attributes);
  fclose(out);
  event(data, 0, json);
  free(json);
}

static void on_progress(const char* message, uint32_t index, uint32_t sent, uint32_t size, const void* data) {
  char* json = NULL;
  size_t n = 0;
  FILE* out = open_memstream(&json, &n);
  if (!out) abort();
  fprintf(out, "{\"message\":%s,\"index\":%u,\"sent\":%u,\"size\":%u}", message, index, sent, size);
  fclose(out);
  event(data, 0, json);
  free(json);
}

static void on_log(enum TIMLogLevel level, const char* line, const void* data) {
  char* json = NULL;
  size_t size = 0;
  FILE* out = open_memstream(&json, &size);
  if (!out) abort();
  quote(out, line);
  fclose(out);
  event(data, level, json);
  free(json);
}

static void on_network(enum TIMNetworkStatus status, int32_t code, const char* desc, const void* data) {
  (void)desc;
  event(data, status, code ? "\"failed\"" : NULL);
}

/* The results. Each command's name is its user data. */

static void on_result(int32_t code, const char* desc, const char* json, const void* data) {
  (void)desc;
  print("{\"result\":\"%s\",\"code\":%lld,\"json\":%s}", data, code, json);
}

/* JSON. */

static void quote(FILE* out, const char* s) {
  fputc('"', out);
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') fprintf(out, "\\%c", *s);
    else if ((unsigned char)*s < 0x20) fprintf(out, "\\u%04x", (unsigned)*s);
    else fputc(*s, out);
  }
  fputc('"', out);
}

/* The JSON that the last command made. */
static char* made;

static const char* message(const char* before, const char* text, const char* after) {
  size_t size = 0;
  free(made);
  FILE* out = open_memstream(&made, &size);
  if (!out) abort();
  fprintf(out, "%s{\"%s\":[{\"%s\":%d,\"%s\":", before, kTIMMsgElemArray, kTIMElemType, kTIMElem_Text, kTIMTextElemContent);
  quote(out, text);
  fprintf(out, "}]%s", after);
  fclose(out);
  return made;
}

/* Makes JSON from a format, in which %q is a text in quotes, %d a number, and %j a text that is JSON. */
static const char* json(const char* format, ...) {
  size_t size = 0;
  va_list args;
  free(made);
  FILE* out = open_memstream(&made, &size);
  if (!out) abort();
  va_start(args, format);
  for (; *format; format++) {
    if (*format != '%') {
      fputc(*format, out);
      continue;
    }
    switch (*++format) {
    case 'q': quote(out, va_arg(args, const char*)); break;
    case 'd': fprintf(out, "%d", va_arg(args, int)); break;
    case 'j': fputs(va_arg(args, const char*), out); break;
    default: abort();
    }
  }
  va_end(args);
  fclose(out);
  return made;
}

/* The commands. a is the first word after the command, b the rest of the line. */

typedef int call(const char* name, const char* a, const char* b);

static const char* user;

#define CALL(name) static int name(const char* cmd, const char* a, const char* b)
#define UNUSED (void)a, (void)b
#define LAST on_result, cmd

CALL(login) { return (void)b, TIMLogin(user, a, LAST); }
CALL(logout) { return UNUSED, TIMLogout(LAST); }
CALL(send_text) { return TIMMsgSendMessage(a, kTIMConv_C2C, message("", b, "}"), NULL, LAST); }
CALL(send_online) { return TIMMsgSendMessage(a, kTIMConv_C2C, message("", b, ",\"message_is_online_msg\":true}"), NULL, LAST); }
CALL(send_quiet) { return TIMMsgSendMessage(a, kTIMConv_C2C, message("", b, ",\"message_is_excluded_from_unread_count\":true}"), NULL, LAST); }
CALL(send_file) {
  return TIMMsgSendMessage(a, kTIMConv_C2C, json("{%q:[{%q:%d,%q:%q}]}", kTIMMsgElemArray, kTIMElemType, kTIMElem_File, kTIMFileElemFilePath, b), NULL, LAST);
}
CALL(read_all_of) { return (void)b, TIMMsgReportReaded(a, kTIMConv_C2C, NULL, LAST); }
CALL(read_to) { return TIMMsgReportReaded(a, kTIMConv_C2C, b, LAST); }
CALL(read_all) { return UNUSED, TIMMsgMarkAllMessageAsRead(LAST); }
CALL(revoke) { return TIMMsgRevoke(a, kTIMConv_C2C, b, LAST); }
CALL(modify) { return (void)a, TIMMsgModifyMessage(b, LAST); }
CALL(delete_message) {
  return TIMMsgDelete(a, kTIMConv_C2C, json("{%q:%j,%q:true}", kTIMMsgDeleteParamMsg, b, kTIMMsgDeleteParamIsRamble), LAST);
}
CALL(clear) { return (void)b, TIMMsgClearHistoryMessage(a, kTIMConv_C2C, LAST); }
CALL(save) { return TIMMsgSaveMsg(a, kTIMConv_C2C, message("", b, "}"), LAST); }
CALL(list) { return TIMMsgGetMsgList(a, kTIMConv_C2C, b, LAST); }
CALL(pin) { return (void)b, TIMConvPinConversation(a, kTIMConv_C2C, true, LAST); }
CALL(unpin) { return (void)b, TIMConvPinConversation(a, kTIMConv_C2C, false, LAST); }
CALL(create) { return (void)b, TIMConvCreate(a, kTIMConv_C2C, LAST); }
CALL(delete_conv) { return (void)b, TIMConvDelete(a, kTIMConv_C2C, LAST); }

CALL(mute) { return TIMMsgSetC2CReceiveMessageOpt(json("[%q]", a), (enum TIMReceiveMessageOpt)atoi(b), LAST); }
CALL(log_level) { return (void)b, TIMSetConfig(json("{%q:%d}", kTIMSetConfigCallbackLogLevel, atoi(a)), LAST); }

/* Friends, requests, the blacklist, the profile. */

CALL(permit) { return (void)b, TIMProfileModifySelfUserProfile(json("{%q:%d}", kTIMUserProfileItemAddPermission, atoi(a)), LAST); }

CALL(nick) {
  char name[500];
  snprintf(name, sizeof name, *b ? "%s %s" : "%s", a, b);
  return TIMProfileModifySelfUserProfile(json("{%q:%q}", kTIMUserProfileItemNickName, name), LAST);
}

CALL(profile) {
  return (void)b, TIMProfileGetUserProfileList(json("{%q:[%q],%q:true}", kTIMFriendShipGetProfileListParamIdentifierArray, a, kTIMFriendShipGetProfileListParamForceUpdate), LAST);
}

CALL(add) {
  return TIMFriendshipAddFriend(json("{%q:%q,%q:%d,%q:%q,%q:%q}", kTIMFriendshipAddFriendParamIdentifier, a, kTIMFriendshipAddFriendParamFriendType, FriendTypeBoth,
                                     kTIMFriendshipAddFriendParamAddWording, b, kTIMFriendshipAddFriendParamAddSource, "AddSource_Type_device"),
                                LAST);
}

CALL(answer) {
  return TIMFriendshipHandleFriendAddRequest(json("{%q:%q,%q:%d}", kTIMFriendResponseIdentifier, a, kTIMFriendResponseAction, atoi(b)), LAST);
}

CALL(requests) {
  return UNUSED, TIMFriendshipGetPendencyList(json("{%q:%d}", kTIMFriendshipGetPendencyListParamType, FriendPendencyTypeBoth), LAST);
}

CALL(read_requests) { return UNUSED, TIMFriendshipReportPendencyReaded(0, LAST); }

CALL(remark) {
  return TIMFriendshipModifyFriendProfile(
      json("{%q:%q,%q:{%q:%q}}", kTIMFriendshipModifyFriendProfileParamIdentifier, a, kTIMFriendshipModifyFriendProfileParamItem, kTIMFriendProfileItemRemark, b), LAST);
}

CALL(new_group) {
  return TIMFriendshipCreateFriendGroup(json("{%q:[%q],%q:[%q]}", kTIMFriendshipCreateFriendGroupParamNameArray, b, kTIMFriendshipCreateFriendGroupParamIdentifierArray, a), LAST);
}

CALL(unfriend) {
  return (void)b, TIMFriendshipDeleteFriend(json("{%q:%d,%q:[%q]}", kTIMFriendshipDeleteFriendParamFriendType, FriendTypeBoth,
                                                 kTIMFriendshipDeleteFriendParamIdentifierArray, a),
                                            LAST);
}

CALL(friends) { return UNUSED, TIMFriendshipGetFriendProfileList(LAST); }
CALL(block) { return (void)b, TIMFriendshipAddToBlackList(json("[%q]", a), LAST); }
CALL(unblock) { return (void)b, TIMFriendshipDeleteFromBlackList(json("[%q]", a), LAST); }

/* Groups. */

CALL(make_group) {
  return TIMGroupCreate(json("{%q:%q,%q:%q}", kTIMCreateGroupParamGroupId, a, kTIMCreateGroupParamGroupName, b), LAST);
}

CALL(make_room) {
  return TIMGroupCreate(
      json("{%q:%q,%q:%q,%q:%d}", kTIMCreateGroupParamGroupId, a, kTIMCreateGroupParamGroupName, b, kTIMCreateGroupParamGroupType, kTIMGroup_AVChatRoom), LAST);
}

CALL(open_group) {
  return (void)b, TIMGroupModifyGroupInfo(json("{%q:%q,%q:%d,%q:%d}", kTIMGroupModifyInfoParamGroupId, a, kTIMGroupModifyInfoParamModifyFlag,
                                               kTIMGroupModifyInfoFlag_AddOption, kTIMGroupModifyInfoParamAddOption, kTIMGroupAddOpt_Any),
                                          LAST);
}

CALL(rename_group) {
  return TIMGroupModifyGroupInfo(
      json("{%q:%q,%q:%d,%q:%q}", kTIMGroupModifyInfoParamGroupId, a, kTIMGroupModifyInfoParamModifyFlag, kTIMGroupModifyInfoFlag_Name, kTIMGroupModifyInfoParamGroupName, b), LAST);
}

CALL(say) { return TIMMsgSendMessage(a, kTIMConv_Group, message("", b, "}"), NULL, LAST); }
CALL(mention_all) { return TIMMsgSendMessage(a, kTIMConv_Group, message("", b, ",\"message_group_at_user_array\":[\"__kImSDK_MessageAtALL__\"]}"), NULL, LAST); }
CALL(read_group) { return (void)b, TIMMsgReportReaded(a, kTIMConv_Group, NULL, LAST); }

CALL(card) {
  return TIMGroupModifyMemberInfo(json("{%q:%q,%q:%q,%q:%d,%q:%q}", kTIMGroupModifyMemberInfoParamGroupId, a, kTIMGroupModifyMemberInfoParamIdentifier, user,
                                       kTIMGroupModifyMemberInfoParamModifyFlag, kTIMGroupMemberModifyFlag_NameCard, kTIMGroupModifyMemberInfoParamNameCard, b),
                                  LAST);
}

CALL(silence) {
  return TIMGroupModifyMemberInfo(json("{%q:%q,%q:%q,%q:%d,%q:%d}", kTIMGroupModifyMemberInfoParamGroupId, a, kTIMGroupModifyMemberInfoParamIdentifier, b,
                                       kTIMGroupModifyMemberInfoParamModifyFlag, kTIMGroupMemberModifyFlag_ShutupTime, kTIMGroupModifyMemberInfoParamShutupTime, 60),
                                  LAST);
}

CALL(duty) { return TIMGroupSetGroupAttributes(a, json("[{%q:%q,%q:%q}]", TIMGroupAttributeKey, "duty", TIMGroupAttributeValue, b), LAST); }
CALL(join_group) { return TIMGroupJoin(a, b, LAST); }
CALL(quit_group) { return (void)b, TIMGroupQuit(a, LAST); }
CALL(end_group) { return (void)b, TIMGroupDelete(a, LAST); }
CALL(groups) { return UNUSED, TIMGroupGetJoinedGroupList(LAST); }

CALL(invite) {
  return TIMGroupInviteMember(json("{%q:%q,%q:[%q]}", kTIMGroupInviteMemberParamGroupId, a, kTIMGroupInviteMemberParamIdentifierArray, b), LAST);
}

CALL(kick) {
  return TIMGroupDeleteMember(json("{%q:%q,%q:[%q]}", kTIMGroupDeleteMemberParamGroupId, a, kTIMGroupDeleteMemberParamIdentifierArray, b), LAST);
}

CALL(members) { return (void)b, TIMGroupGetMemberInfoList(json("{%q:%q}", kTIMGroupGetMemberInfoListParamGroupId, a), LAST); }

/* These two have no callback: their result is the return value. */
CALL(draft) {
  int r = TIMConvSetDraft(a, kTIMConv_C2C, message("{\"draft_msg\":", b, "}}"));
  if (r == TIM_SUCC) on_result(0, "", "", cmd);
  return r;
}

CALL(no_draft) {
  int r = TIMConvCancelDraft(a, kTIMConv_C2C);
  (void)b;
  if (r == TIM_SUCC) on_result(0, "", "", cmd);
  return r;
}

static const struct {
  const char* name;
  call* run;
  const char* takes;
} commands[] = {
    {"login", login, "TICKET"},
    {"logout", logout, ""},
    {"send", send_text, "USER TEXT"},
    {"sendonline", send_online, "USER TEXT"},
    {"sendquiet", send_quiet, "USER TEXT"},
    {"sendfile", send_file, "USER PATH"},
    {"read", read_all_of, "USER"},
    {"readto", read_to, "USER MESSAGE"},
    {"readall", read_all, ""},
    {"revoke", revoke, "USER MESSAGE"},
    {"modify", modify, "USER MESSAGE"},
    {"delete", delete_message, "USER MESSAGE"},
    {"clear", clear, "USER"},
    {"save", save, "USER TEXT"},
    {"list", list, "USER PARAMETERS"},
    {"pin", pin, "USER"},
    {"unpin", unpin, "USER"},
    {"mute", mute, "USER OPTION"},
    {"create", create, "USER"},
    {"deleteconv", delete_conv, "USER"},
    {"draft", draft, "USER TEXT"},
    {"nodraft", no_draft, "USER"},
    {"loglevel", log_level, "LEVEL"},
    {"permit", permit, "PERMISSION"},
    {"nick", nick, "NAME"},
    {"profile", profile, "USER"},
    {"add", add, "USER WORDING"},
    {"answer", answer, "USER ACTION"},
    {"requests", requests, ""},
    {"readrequests", read_requests, ""},
    {"remark", remark, "USER TEXT"},
    {"newgroup", new_group, "USER NAME"},
    {"unfriend", unfriend, "USER"},
    {"friends", friends, ""},
    {"block", block, "USER"},
    {"unblock", unblock, "USER"},
    {"makegroup", make_group, "GROUP NAME"},
    {"makeroom", make_room, "GROUP NAME"},
    {"open", open_group, "GROUP"},
    {"rename", rename_group, "GROUP NAME"},
    {"say", say, "GROUP TEXT"},
    {"mentionall", mention_all, "GROUP TEXT"},
    {"readgroup", read_group, "GROUP"},
    {"card", card, "GROUP CARD"},
    {"silence", silence, "GROUP USER"},
    {"duty", duty, "GROUP USER"},
    {"join", join_group, "GROUP WORDS"},
    {"quit", quit_group, "GROUP"},
    {"endgroup", end_group, "GROUP"},
    {"groups", groups, ""},
    {"invite", invite, "GROUP USER"},
    {"kick", kick, "GROUP USER"},
    {"members", members, "GROUP"},
};

/* Cuts the first word off a line. */
static char* word(char** line) {
  char* w = *line;
  char* blank = strchr(w, ' ');
  *line = blank ? blank + 1 : w + strlen(w);
  if (blank) *blank = 0;
  return w;
}

static void run(char* line) {
  const char* name = word(&line);
  const char* a = word(&line);
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    if (strcmp(commands[i].name, name)) continue;
    int r = commands[i].run(commands[i].name, a, line);
    if (r != TIM_SUCC) on_result(r, "refused", "", commands[i].name);
    return;
  }
  fprintf(stderr, "device: no command %s; there are:\n", name);
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) fprintf(stderr, "  %s %s\n", commands[i].name, commands[i].takes);
  exit(2);
}

int main(int argc, char** argv) {
  char* line = NULL;
  char config[4096];
  size_t size = 0;
  ssize_t n;
  if (argc != 3) {
    fprintf(stderr, "usage: %s USER FOLDER\n", argv[0]);
    return 2;
  }
  user = argv[1];
  snprintf(config, sizeof config, "{\"%s\":\"%s\",\"%s\":\"%s/log\"}", kTIMSdkConfigConfigFilePath, argv[2], kTIMSdkConfigLogFilePath, argv[2]);
  if (TIMInit(1400000000, config) != TIM_SUCC) return 1;
  TIMAddRecvNewMsgCallback(on_json, "new_message");
  TIMSetMsgReadedReceiptCallback(on_json, "receipt");
  TIMSetMsgRevokeCallback(on_json, "revoked");
  TIMSetMsgUpdateCallback(on_json, "updated");
  TIMSetMsgElemUploadProgressCallback(on_progress, "upload_progress");
  TIMSetConvEventCallback(on_conv, "conversation");
  TIMSetConvTotalUnreadMessageCountChangedCallback(on_total, "total_unread");
  TIMSetNetworkStatusListenerCallback(on_network, "network");
  TIMSetKickedOfflineCallback(on_nothing, "kicked_offline");
  TIMSetUserSigExpiredCallback(on_nothing, "user_sig_expired");
  TIMSetOnAddFriendCallback(on_json, "friends_added");
  TIMSetOnDeleteFriendCallback(on_json, "friends_deleted");
  TIMSetUpdateFriendProfileCallback(on_json, "friends_updated");
  TIMSetFriendAddRequestCallback(on_json, "friend_requests");
  TIMSetFriendApplicationListDeletedCallback(on_json, "friend_requests_deleted");
  TIMSetFriendApplicationListReadCallback(on_nothing, "friend_requests_read");
  TIMSetFriendBlackListAddedCallback(on_json, "blacklist_added");
  TIMSetFriendBlackListDeletedCallback(on_json, "blacklist_deleted");
  TIMSetGroupTipsEventCallback(on_json, "group_tips");
  TIMSetGroupAttributeChangedCallback(on_attributes, "group_attributes_changed");
  TIMSetLogCallback(on_log, "log");
  while ((n = getline(&line, &size, stdin)) > 0) {
    if (line[n - 1] == '\n') line[n - 1] = 0;
    run(line);
  }
  /* The end of the input is the end of the program, not a logout: the device is away then. */
  TIMUninit();
  free(line);
  free(made);
  return 0;
}
