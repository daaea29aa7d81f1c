package im

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Error is what every caller of Tidings gets when something was refused or failed: a TIM code and a text for people. The same pair crosses the wire,
// the C boundary, REST and webhooks unchanged.
type Error struct {
	Code int32
	Desc string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Desc, e.Code) }

// LogValue returns the error as a log shows it: without what it quotes, because a caller may have put anything in the place of an id.
func (e *Error) LogValue() slog.Value { return slog.StringValue(HideQuoted(e.Error())) }

// HideQuoted replaces everything that a text has in quotes by dots.
func HideQuoted(s string) string {
	var out strings.Builder
	inside := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			inside = !inside
			if inside {
				out.WriteString(`"…"`)
			}
		case !inside:
			out.WriteByte(s[i])
		case s[i] == '\\':
			i++
		}
	}
	return out.String()
}

// Is makes errors.Is compare codes, so that a sentinel matches whatever the text.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf returns the code of the [Error] in err's chain, or 0 if err is nil or there is no Error in its chain.
func CodeOf(err error) int32 {
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e.Code
	}
	return 0
}

// Errorf returns an Error with a formatted text.
func Errorf(code int32, format string, args ...any) *Error {
	return &Error{Code: code, Desc: fmt.Sprintf(format, args...)}
}

// Sentinels for the errors that programs check for most: errors.Is compares codes, so they match whatever the text.
var (
	ErrNotLoggedIn       = &Error{CodeNotLoggedIn, "not logged in"}
	ErrInvalidParameters = &Error{CodeInvalidParameters, "a parameter is wrong"}
	ErrInterrupted       = &Error{CodeInterrupted, "the client was closed"}
	ErrKickedWhileAway   = &Error{CodeKickedWhileAway, "another login ended this device's session while it was away"}
	ErrTooManyRequests   = &Error{CodeTooManyRequests, "too many calls are open"}
	ErrDisconnected      = &Error{CodeDisconnected, "not connected"}
	ErrConnectRefused    = &Error{CodeConnectRefused, "no server at the address"}
	ErrTimeout           = &Error{CodeWaitAckTimeout, "no answer in time"}
	ErrSendCancelled     = &Error{CodeSendCancelled, "the message was taken back before it was sent"}
	ErrUnknownReceiver   = &Error{CodeUnknownReceiver, "there is no such user"}
	ErrRefusedByWebhook  = &Error{CodeRefusedByWebhook, "the webhook refused the message"}
	ErrRevokeWindow      = &Error{CodeRevokeWindow, "too late to recall the message"}
	ErrTicketExpired     = &Error{CodeTicketExpired, "the ticket has run out"}
	ErrTicketMalformed   = &Error{CodeTicketMalformed, "the ticket is malformed"}
	ErrTicketOtherUser   = &Error{CodeTicketOtherUser, "the ticket is another user's"}
	ErrMessageSize       = &Error{CodeMessageSize, "the message is too long"}
)

// Codes of TIM that Tidings uses. Their numbers are facts of the API.
const (
	CodeConnectionLimit      = -302
	CodeSendsTooFast         = -10113
	CodeCallsTooFast         = -20009
	CodeFailedLogins         = 70050
	CodeMediaForbidden       = 6006
	CodeUploadFailed         = 6008
	CodeDownloadFailed       = 6009
	CodeHTTP                 = 6010
	CodeNotInitialized       = 6013
	CodeNotLoggedIn          = 6014
	CodeInProgress           = 6015
	CodeInvalidElem          = 6016
	CodeInvalidParameters    = 6017
	CodeDatabase             = 6019
	CodeFileIO               = 6022
	CodeInvalidJSON          = 6027
	CodeNotImage             = 6031
	CodeTicketExpiredSDK     = 6206
	CodeKickedWhileAway      = 6208
	CodeInvalidUserID        = 7003
	CodeFileNotFound         = 7004
	CodeFileTooLarge         = 7005
	CodeFileEmpty            = 7006
	CodeFileOpen             = 7007
	CodeTooManyModifications = 7008
	CodeInterrupted          = 7009
	CodeLoginRunning         = 7501
	CodeLogoutRunning        = 7502
	CodeBodySize             = 8001
	CodeMergerLayers         = 8005
	CodeModifyConflict       = 8006
	CodeSendTooLate          = 8020
	CodeSendCancelled        = 8021
	CodeTooManyRequests      = 9507
	CodeDisconnected         = 9508
	CodeConnectTimeout       = 9510
	CodeConnectRefused       = 9511
	CodeUnreachable          = 9512
	CodeConnectionReset      = 9514
	CodeResolve              = 9516
	CodeWaitAckTimeout       = 9520
	CodePacket               = 9502
	CodeNoNetworkTimeout     = 9524
	CodeUnknownReceiver      = 20003
	CodeNotMember            = 10007
	CodeOwnerMayNotQuit      = 10009
	CodeNoGroup              = 10010
	CodeGroupParameters      = 10004
	CodeGroupUserCount       = 10005
	CodeAlreadyMember        = 10013
	CodeGroupFull            = 10014
	CodeGroupID              = 10015
	CodeGroupRefused         = 10016
	CodeMuted                = 10017
	CodeGroupReplySize       = 10018
	CodeGroupUnknownUser     = 10019
	CodeGroupIDTaken         = 10021
	CodeGroupTooFast         = 10023
	CodeRequestAnswered      = 10024
	CodeGroupIDOwn           = 10025
	CodeGroupNoMessage       = 10030
	CodeGroupRevokeWindow    = 10031
	CodeGroupRevokeDenied    = 10032
	CodeGroupNoRevoke        = 10033
	CodeGroupNoDelete        = 10035
	CodeTooManyRooms         = 10036
	CodeTooManyGroups        = 10037
	CodeGroupMemberLimit     = 10038
	CodeGroupNoHistory       = 10044
	CodeAttributesTooFast    = 10049
	CodeNoAttribute          = 10050
	CodeTooManyMentions      = 10053
	CodeAttributesConflict   = 10056
	CodeRevokeWindow         = 20016
	CodeNoSuchMessage        = 20022
	CodeAlreadyRevoked       = 20023
	CodeRefusedByWebhook     = 20006
	CodeTooManyPinned        = 51012
	CodeBlockedByReceiver    = 20007
	CodeNotFriends           = 20009
	CodeNotInPeersList       = 20010
	CodeNotInOwnList         = 20011
	CodeFriendParameters     = 30001
	CodeFriendUnknown        = 30003
	CodeFriendInternal       = 30006
	CodeAddForbidden         = 30009
	CodeTooManyFriends       = 30010
	CodeTooManyFriendGroups  = 30011
	CodeTooManyRequestsOpen  = 30012
	CodeTooManyBlocked       = 30013
	CodePeerTooManyFriends   = 30014
	CodeAlreadyFriends       = 30015
	CodeBlockedBySelf        = 30515
	CodeAddDenied            = 30516
	CodeBlockedByPeer        = 30525
	CodeWaitsForApproval     = 30539
	CodeNoSuchRequest        = 30614
	CodeNotAFriend           = 31704
	CodeNotAFriendInGroup    = 32216
	CodeProfileParameters    = 40001
	CodeProfileUnknown       = 40003
	CodeProfileTag           = 40009
	CodeProfileSize          = 40601
	CodeProfileValue         = 40605
	CodeNotAdmin             = 60010
	CodeTicketExpired        = 70001
	CodeTooManyReceivers     = 90011
	CodeTicketEmpty          = 70002
	CodeTicketMalformed      = 70003
	CodeTicketMismatch       = 70009
	CodeTicketOtherUser      = 70013
	CodeTicketOtherApp       = 70014
	CodeTicketVoid           = 70052
	CodeMessageSize          = 80002
	CodeWebhookFailed        = 80003
	CodeBadRequest           = 70402
	CodeServerInternal       = 70500

	// Codes that only the wire uses; no application gets them. They are outside the ranges of TIM.

	// CodeResync refuses an epoch or a number that the conversation does not have: ask for its head.
	CodeResync = 990001
	// CodeKicked refuses a resume: another login or an operator ended the session.
	CodeKicked = 990002
)

// CodeHeader is the HTTP header in which a server that refuses a connection gives the TIM code.
const CodeHeader = "Tidings-Code"
