// Package im is the vocabulary that programs, clients and servers of Tidings share.
//
// # For programs
//
// [Message] and its elements, made by [Text], [Custom], [Face] and [Location]; [ConvInfo], [MessageReceipt] and [MsgLocator], which events pass;
// [GetMsgListParam] and [SearchParam], which describe a query; [Error] with the codes of TIM, [CodeOf], and sentinels such as [ErrNotLoggedIn];
// [ToJSON], [FromJSON] and related functions, for the JSON of the TIM C API.
//
// # For clients and servers
//
// The rest is the wire: [Frame], [Method], requests, replies and pushes, and the checks that compare input with the limits of the contract. Programs
// that use package client need none of it. It is generated from api/ and changes with the protocol; the promises made to programs do not cover it.
package im
