package client

import (
	"crypto/sha256"
	"time"

	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// conv is a conversation while the database is open: its stored row and its running state. dirty rows are written with the batch.
type conv struct {
	local.ConvRow
	dirty bool

	// What is known of the log's ends but may not be applied yet.
	headSeq, headRev    uint64
	headOthers, headOwn uint64
	// pushed is the newest number that a push has shown to be something that the user has.
	pushed          uint64
	pulling, queued bool
	// deferred: a fresh device decides where to start when it knows all heads. refreshing: the head was requested again.
	deferred, refreshing bool
	// seen is what pushes reported before the conversation was ready for them: the log's epoch and ends, and where they began.
	seen struct {
		epoch     uint64
		entry     *im.Entry
		card      *im.NameCard // of its sender
		from, rev uint64
	}
	// receiptAt is when a receipt last fired.
	receiptAt time.Time
	// group is what Membership has, with all that was applied since; nil if this is no group, or nothing is known of it. info is the information about it.
	group *im.Head
	info  *im.GroupDetailInfo
	// infoAsked and attrAsked are the numbers up to which this connection was asked; 0 again after a failure. attrRead is the version of the attributes that the application is told.
	infoAsked, attrAsked, attrRead uint64
	// attrSum is of the attributes that the application was told last; zero before the first time since the device was opened.
	attrSum [sha256.Size]byte
	// endedEpoch is the epoch of a group that the server does not know any more, although its last change has not arrived.
	endedEpoch uint64
	// shown is its part of the total, as of the last state computed: what has not been reported yet does not count yet.
	shown uint64
}

func (cv *conv) key() Conv { return Conv{cv.Type, cv.Target} }

// newConv returns a conversation of which this device has nothing.
func newConv(id int64, key Conv) *conv {
	return &conv{ConvRow: local.ConvRow{ID: id, Type: key.Type, Target: key.ID}, dirty: true}
}

// groupEpoch returns the epoch of a group that this device knows, 0 for any other conversation.
func (cv *conv) groupEpoch() uint64 {
	if cv.key().Type != im.ConvType_CONV_TYPE_GROUP {
		return 0
	}
	return cv.Epoch
}
