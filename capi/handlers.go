package main

import (
	"slices"
	"strings"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// handlers implement the built functions. Those that only make one call of the client are generated from the column call of api/capi.tsv, with what stands below:
// ready, object, list, names and reading read the parameters, and done, doneList and doneOne return the result. The others are here. Setters have none, except
// those of new messages.
var handlers = [fnCount]func(*call) int{
	fnTIMInit:             initialize,
	fnTIMUninit:           uninitialize,
	fnTIMGetSDKVersion:    func(*call) int { return resultOK }, // the shim returns it
	fnTIMGetServerTime:    serverTime,
	fnTIMSetConfig:        setConfig,
	fnTIMLogin:            login,
	fnTIMLogout:           logout,
	fnTIMGetLoginUserID:   loginUserID,
	fnTIMGetLoginStatus:   loginStatus,
	fncallExperimentalAPI: experimental,
	fnTIMGetSignalingInfo: signalingInfo,

	fnTIMAddRecvNewMsgCallback:    addListener,
	fnTIMRemoveRecvNewMsgCallback: removeListener,

	fnTIMConvGetConvInfo:                list(convInfo),
	fnTIMConvGetTotalUnreadMessageCount: ready(func(c *call, cl *client.Client) { cl.TotalUnreadFunc(doneTotal(c)) }),
	fnTIMConvSetDraft:                   setDraft,
	fnTIMConvCancelDraft:                func(c *call) int { return c.draft(nil) },
	fnTIMConvCreate:                     createConv,

	fnTIMMsgSendMessage:           sendMessage,
	fnTIMMsgSendNewMsg:            sendMessage,
	fnTIMMsgSendNewMsgEx:          sendMessageEx,
	fnTIMMsgCancelSend:            cancelSend,
	fnTIMMsgBatchSend:             object(batchSend),
	fnTIMMsgDownloadElemToPath:    object(downloadElem),
	fnTIMMsgDownloadMergerMessage: object(mergedMessages),
	fnTIMMsgSetC2CReceiveMessageOpt: names(func(c *call, cl *client.Client, users []string) {
		cl.SetRecvOptFunc(c2c(users), int32(c.num(0)), c.done())
	}),
	fnTIMMsgSetGroupReceiveMessageOpt: ready(func(c *call, cl *client.Client) {
		cl.SetRecvOptFunc([]client.Conv{client.Group(c.text[0])}, int32(c.num(0)), c.done())
	}),
	fnTIMMsgReportReaded: reading((*call).upTo, func(c *call, cl *client.Client, m *im.Message) { cl.MarkReadFunc(c.conv(), m, c.done()) }),
	fnTIMMsgRevoke:       object(func(c *call, cl *client.Client, m *im.Message) { cl.RevokeFunc(c.conv(), m, m.RevokeReason, c.done()) }),
	fnTIMMsgModifyMessage: object(func(c *call, cl *client.Client, m *im.Message) {
		cl.ModifyMessageFunc(client.Conv{Type: m.ConvType, ID: m.ConvId}, m, c.sent())
	}),
	fnTIMMsgDelete: object(deleteMessage),
	fnTIMFriendshipAddFriend: object(func(c *call, cl *client.Client, v *im.FriendshipAddFriendParam) {
		if both, ok := c.bothSides(int32(v.FriendType)); ok {
			cl.Friends().AddFunc(&im.AddFriendRequest{
				UserId: v.Identifier, Both: both, Remark: v.Remark, GroupName: v.GroupName, Source: v.AddSource, Wording: v.AddWording,
			}, doneOne[*im.FriendResult](c))
		}
	}),
	fnTIMFriendshipDeleteFriend: object(func(c *call, cl *client.Client, v *im.FriendshipDeleteFriendParam) {
		if both, ok := c.bothSides(int32(v.FriendType)); ok {
			cl.Friends().DeleteFunc(v.IdentifierArray, both, doneList[*im.FriendResult](c))
		}
	}),
	fnTIMFriendshipCheckFriendType: object(func(c *call, cl *client.Client, v *im.FriendshipCheckFriendTypeParam) {
		if both, ok := c.bothSides(int32(v.CheckType)); ok {
			cl.Friends().CheckFunc(v.IdentifierArray, both, doneList[*im.FriendshipCheckFriendTypeResult](c))
		}
	}),
	fnTIMFriendshipGetPendencyList: object(func(c *call, cl *client.Client, v *im.FriendshipGetPendencyListParam) {
		cl.Friends().RequestsFunc(&im.RequestsRequest{Type: v.Type, StartSeq: v.StartSeq, StartTime: v.StartTime, Limit: uint32(max(v.LimitedSize, 0))}, doneOne[*im.PendencyPage](c))
	}),
	fnTIMFriendshipHandleFriendAddRequest: object(func(c *call, cl *client.Client, v *im.FriendResponse) {
		cl.Friends().AnswerRequestFunc(&im.AnswerRequestRequest{UserId: v.Identifier, Action: v.Action, Remark: v.Remark, GroupName: v.GroupName}, doneOne[*im.FriendResult](c))
	}),
	fnTIMFriendshipModifyFriendGroup: object(modifyFriendGroup),

	fnTIMGroupCreate:               object(createGroup),
	fnTIMGroupJoin:                 ready(joinGroup),
	fnTIMGroupModifyGroupInfo:      object(modifyGroup),
	fnTIMGroupGetOnlineMemberCount: ready(onlineCount),
	fnTIMGroupGetMemberInfoList:    object(listMembers),
	fnTIMGroupModifyMemberInfo:     object(modifyMember),
	fnTIMGroupGetGroupAttributes: reading((*call).someStrings, func(c *call, cl *client.Client, keys []string) {
		cl.Groups().AttributesFunc(c.text[0], keys, doneList[*im.GroupAttributes](c))
	}),
	fnTIMGroupDeleteGroupAttributes: reading((*call).someStrings, func(c *call, cl *client.Client, keys []string) {
		cl.Groups().DeleteAttributesFunc(c.text[0], keys, c.done())
	}),

	fnTIMMsgSaveMsg: reading((*call).message, func(c *call, cl *client.Client, m *im.Message) { cl.SaveMessageFunc(c.conv(), m, c.doneSaving()) }),
}

// ready makes the handler of a function that has no JSON to read.
func ready(f func(*call, *client.Client)) func(*call) int {
	return func(c *call) int { return c.with(func(cl *client.Client) { f(c, cl) }) }
}

// reading makes the handler of a function whose JSON is read by read. JSON that read does not accept is refused at once or, where the table says so,
// when the state is right.
func reading[T any](read func(*call) (T, error), f func(*call, *client.Client, T)) func(*call) int {
	return func(c *call) int {
		v, err := read(c)
		if err != nil && c.jsonCode != resultOK {
			return c.unreadable(err)
		}
		return c.with(func(cl *client.Client) {
			if err != nil {
				c.answer(&im.Error{Code: im.CodeInvalidJSON, Desc: err.Error()}, "")
				return
			}
			f(c, cl, v)
		})
	}
}

// object makes the handler of a function whose JSON is an object.
func object[M any, P interface {
	*M
	im.TIM
}](f func(*call, *client.Client, P)) func(*call) int {
	return reading(func(c *call) (P, error) {
		p := P(new(M))
		return p, c.parse(p)
	}, f)
}

// list makes the handler of a function whose JSON is an array of objects.
func list[M any, P interface {
	*M
	im.TIM
}](f func(*call, *client.Client, []P)) func(*call) int {
	return reading(func(c *call) ([]P, error) { return im.ListFromJSON[M, P](c.text[c.jsonAt]) }, f)
}

// names makes the handler of a function whose JSON is an array of ids, none of which is empty.
func names(f func(*call, *client.Client, []string)) func(*call) int {
	return reading((*call).strings, func(c *call, cl *client.Client, ids []string) {
		if slices.Contains(ids, "") {
			c.answer(&im.Error{Code: im.CodeInvalidParameters, Desc: "an element of the list is empty"}, "")
			return
		}
		f(c, cl, ids)
	})
}

// parse reads the JSON object of the call.
func (c *call) parse(m im.TIM) error { return im.FromJSON(c.text[c.jsonAt], m) }

// strings reads the JSON array of texts of the call.
func (c *call) strings() ([]string, error) { return im.StringsFromJSON(c.text[c.jsonAt]) }

// message reads the JSON of a message that has elements.
func (c *call) message() (*im.Message, error) {
	m := &im.Message{}
	err := c.parse(m)
	if err == nil && len(m.ElemArray) == 0 {
		err = &im.JSONError{Msg: "message_elem_array is missing or empty"}
	}
	return m, err
}

// upTo reads the JSON of a message, which may be missing.
func (c *call) upTo() (*im.Message, error) {
	if s := strings.TrimSpace(c.text[c.jsonAt]); s == "" || s == "null" {
		return nil, nil
	}
	m := &im.Message{}
	return m, c.parse(m)
}

// done is the completion of a call without a result.
func (c *call) done() func(error) {
	var err error
	run := c.on(&err, func(cb, ud uintptr) { c.fire(cb, ud, err, "") })
	return func(e error) { err = e; run() }
}

// doneWith is the completion of a call whose result json converts to JSON, unless it failed.
func doneWith[T any](c *call, json func(T) string) func(T, error) {
	var v T
	var err error
	run := c.on(&err, func(cb, ud uintptr) {
		text := ""
		if err == nil {
			text = json(v)
		}
		c.fire(cb, ud, err, text)
	})
	return func(r T, e error) { v, err = r, e; run() }
}

// doneList is the completion of a call that returns a list.
func doneList[M im.TIM](c *call) func([]M, error) { return doneWith(c, im.ListToJSON[M]) }

// doneOne is the completion of a call that returns an object.
func doneOne[M im.TIM](c *call) func(M, error) {
	return doneWith(c, func(m M) string { return im.ToJSON(m) })
}

// doneTotal is the completion of a call that returns an unread number.
func doneTotal(c *call) func(int, error) {
	return doneWith(c, func(n int) string { return im.ToJSON(&im.TotalUnread{Count: int32(n)}) })
}

// doneSaving is the completion of a call whose result the callback does not get.
func (c *call) doneSaving() func(*im.Message, error) {
	return doneWith(c, func(*im.Message) string { return "" })
}

// bothSides reads a TIMFriendType. Another value is refused.
func (c *call) bothSides(v int32) (both, ok bool) {
	if v != 0 && v != 1 {
		c.answer(im.Errorf(im.CodeFriendParameters, "the type is %d, and not 0 (one-way) or 1 (both)", v), "")
		return false, false
	}
	return v == 1, true
}

// modifyFriendGroup does one thing: what is present first of the new name, users to add, users to remove. What is empty is not present: programs fill
// all of them.
func modifyFriendGroup(c *call, cl *client.Client, v *im.FriendshipModifyFriendGroupParam) {
	switch done := doneList[*im.FriendResult](c); {
	case v.GetNewName() != "" || len(v.AddIdentifierArray) == 0 && len(v.DeleteIdentifierArray) == 0:
		cl.Friends().RenameGroupFunc(v.Name, v.GetNewName(), func(err error) { done(nil, err) })
	case len(v.AddIdentifierArray) > 0:
		cl.Friends().AddToGroupFunc(v.Name, v.AddIdentifierArray, done)
	default:
		cl.Friends().RemoveFromGroupFunc(v.Name, v.DeleteIdentifierArray, done)
	}
}
