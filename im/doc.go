// Package im has the words that programs, clients and servers of Tidings share.
//
// # For programs
//
// [Message] and its elements, made by [Text], [Custom], [Face] and [Location]; [ConvInfo], [MessageReceipt] and [MsgLocator], which events bring;
// [GetMsgListParam] and [SearchParam], which say what is asked for; [Error] with the codes of TIM, and sentinels such as [ErrNotLoggedIn]; [ToJSON], [FromJSON] and
// their like, for the JSON of TIM's C API.
//
// # For clients and servers
//
// The rest is the wire: [Frame], [Method], requests, replies and pushes, and the checks that hold what comes in against the limits of the contract. Programs
// that use package client need none of it. It is made from api/, and changes with the protocol and not with the promises that are made to programs.
package im
