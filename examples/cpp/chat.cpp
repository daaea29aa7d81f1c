// chat logs a user in, sends one message, and prints what arrives until its input ends.
//
//   chat USER TICKET [PEER TEXT]
//
// A ticket comes from `tidings usersig --user USER`; the server is the one in TIDINGS_SERVER.
#include <TIMCloud.h>

#include <cstdlib>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

// call runs a function of the library that takes a TIMCommCallback, waits for the callback and returns its JSON. Not from inside a
// callback, because it waits.
std::string call(const std::function<int(TIMCommCallback, const void*)>& function) {
  std::promise<std::string> promise;
  auto answered = [](int32_t code, const char* desc, const char* json, const void* user_data) {
    auto* p = static_cast<std::promise<std::string>*>(const_cast<void*>(user_data));
    if (code == 0)
      p->set_value(json);
    else
      p->set_exception(std::make_exception_ptr(std::runtime_error(std::string(desc) + " (" + std::to_string(code) + ")")));
  };
  auto result = promise.get_future();
  if (int r = function(answered, &promise); r != TIM_SUCC) throw std::runtime_error("refused at once: " + std::to_string(r));
  return result.get();
}

std::string quote(const std::string& s) {
  std::string out = "\"";
  for (unsigned char c : s) {
    if (c == '"' || c == '\\')
      out += {'\\', static_cast<char>(c)};
    else if (c < 0x20)
      out += ' ';
    else
      out += static_cast<char>(c);
  }
  return out + "\"";
}

// Library is the library for as long as it lives.
struct Library {
  Library() {
    if (TIMInit(1400000000, std::getenv("CHAT_CONFIG")) != TIM_SUCC) throw std::runtime_error("TIMInit");
  }
  ~Library() { TIMUninit(); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

int main(int argc, char** argv) try {
  if (argc != 3 && argc != 5) {
    std::cerr << "usage: " << argv[0] << " USER TICKET [PEER TEXT]\n";
    return 2;
  }
  Library library;
  TIMAddRecvNewMsgCallback([](const char* json, const void*) { std::cout << "new messages: " << json << std::endl; }, nullptr);
  call([&](TIMCommCallback cb, const void* ud) { return TIMLogin(argv[1], argv[2], cb, ud); });
  std::cout << "logged in as " << argv[1] << std::endl;

  if (argc == 5) {
    const std::string message = std::string("{\"") + kTIMMsgElemArray + "\":[{\"" + kTIMElemType + "\":" + std::to_string(kTIMElem_Text) + ",\"" +
                                kTIMTextElemContent + "\":" + quote(argv[4]) + "}]}";
    char id[128];
    call([&](TIMCommCallback cb, const void* ud) { return TIMMsgSendMessage(argv[3], kTIMConv_C2C, message.c_str(), id, cb, ud); });
    std::cout << "sent " << id << std::endl;
  }
  for (std::string line; std::getline(std::cin, line);) {
  }
  call([](TIMCommCallback cb, const void* ud) { return TIMLogout(cb, ud); });
  return 0;
} catch (const std::exception& e) {
  std::cerr << "error: " << e.what() << '\n';
  return 1;
}
