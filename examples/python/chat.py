#!/usr/bin/env python3
"""Logs a user in, sends one message, and prints what arrives until its input ends.

    chat.py USER TICKET [PEER TEXT]

A ticket comes from `tidings usersig --user USER`; the server is the one in TIDINGS_SERVER. The library is the one in IMSDK, or
lib/libImSDK.so of this repository. Only Python's standard library is needed.
"""

import ctypes
import json
import os
import queue
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
im = ctypes.CDLL(os.environ.get("IMSDK", os.path.join(HERE, "..", "..", "lib", "libImSDK.so")))

Answer = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
NewMessages = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)

im.TIMInit.argtypes = [ctypes.c_uint64, ctypes.c_char_p]
im.TIMLogin.argtypes = [ctypes.c_char_p, ctypes.c_char_p, Answer, ctypes.c_void_p]
im.TIMLogout.argtypes = [Answer, ctypes.c_void_p]
im.TIMAddRecvNewMsgCallback.argtypes = [NewMessages, ctypes.c_void_p]
im.TIMAddRecvNewMsgCallback.restype = None
im.TIMMsgSendMessage.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, Answer, ctypes.c_void_p]

C2C = 1
answers = queue.Queue()


@Answer
def on_answer(code, desc, text, user_data):
    answers.put((code, desc.decode(), text.decode()))


@NewMessages
def on_new_messages(text, user_data):
    for message in json.loads(text.decode()):
        for elem in message["message_elem_array"]:
            print(f"new message from {message['message_sender']}: {elem.get('text_elem_content', elem)}", flush=True)


def call(function, *args):
    """Calls a function of the library and waits for its result. Not inside a callback, because it waits."""
    result = function(*args, on_answer, None)
    if result != 0:
        raise RuntimeError(f"{function.__name__} returned {result}")
    code, desc, text = answers.get()
    if code != 0:
        raise RuntimeError(f"{function.__name__}: {desc} ({code})")
    return json.loads(text) if text else None


def main():
    if len(sys.argv) not in (3, 5):
        sys.exit(f"usage: {sys.argv[0]} USER TICKET [PEER TEXT]")
    user, ticket = sys.argv[1].encode(), sys.argv[2].encode()
    config = os.environ.get("CHAT_CONFIG")
    if im.TIMInit(1400000000, config.encode() if config else None) != 0:
        sys.exit("TIMInit failed")
    im.TIMAddRecvNewMsgCallback(on_new_messages, None)
    call(im.TIMLogin, user, ticket)
    print(f"logged in as {sys.argv[1]}", flush=True)
    if len(sys.argv) == 5:
        message = {"message_elem_array": [{"elem_type": 0, "text_elem_content": sys.argv[4]}]}
        identifier = ctypes.create_string_buffer(128)
        call(im.TIMMsgSendMessage, sys.argv[3].encode(), C2C, json.dumps(message).encode(), identifier)
        print("sent", identifier.value.decode(), flush=True)
    sys.stdin.read()
    call(im.TIMLogout)
    im.TIMUninit()


if __name__ == "__main__":
    main()
