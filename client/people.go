package client

import (
	"cmp"
	"time"

	"github.com/tidings-im/tidings/client/internal/engine"
	"github.com/tidings-im/tidings/client/internal/local"
	"github.com/tidings-im/tidings/im"
)

// people is the book of what messages and conversations show of users: their names and pictures. Messages do not contain them: whoever tells a message
// attaches what its sender shows now, and the newest that the device was told counts, whichever message brought it. A change alone is no event of a
// conversation.
type people struct {
	*engine.Engine
	c *Client
	// known are those that were read, with the remarks about them.
	known map[string]*shown
	// strangers are whole profiles of users whom the feed does not keep up to date.
	strangers map[string]stranger
}

// shown is what the application sees of a user besides the id.
type shown struct {
	local.Person
	remark string
}

type stranger struct {
	profile []byte // an im.UserProfile: each caller gets one of their own
	at      time.Time
}

const (
	// mostKnown and mostStrangers limit the memory for users; those that are left out are read again.
	mostKnown, mostStrangers = 10_000, 1_000
	// strangerFor is how long the profile of a stranger is used without asking again.
	strangerFor = 10 * time.Minute
)

// Load forgets what is in memory.
func (b *people) Load() error {
	b.known, b.strangers = map[string]*shown{}, map[string]stranger{}
	return nil
}

// NewStore forgets all users: versions of the other store's profiles say nothing about this one's.
func (b *people) NewStore() {
	b.known, b.strangers = map[string]*shown{}, map[string]stranger{}
	b.Check(b.DB.DropPeople())
}

// Connected and Disconnected have nothing to do: what is known of users stays.
func (b *people) Connected(bool) {}

func (b *people) Disconnected() {}

// Push ignores all frames: those about messages are the conversations', and bring users here.
func (b *people) Push(*im.Frame) error { return nil }

// Flush and States have nothing to do: what changes is written at once, and is no event.
func (b *people) Flush() {}

func (b *people) States() *engine.States { return nil }

// of returns what the application sees of a user.
func (b *people) of(user string) shown {
	if s := b.known[user]; s != nil {
		return *s
	}
	s := &shown{Person: local.Person{User: user}}
	if b.DB == nil || user == "" {
		return *s
	}
	var err error
	if s.Person, err = b.DB.Person(user); !b.Check(err) {
		return *s
	}
	s.remark = b.c.relations.row(relFriend, user).GetState().GetRemark()
	if len(b.known) >= mostKnown {
		clear(b.known)
	}
	b.known[user] = s
	return *s
}

// forget makes the next look at a user read again: the remark may be another one.
func (b *people) forget(user string) { delete(b.known, user) }

// take keeps what a user shows, unless the device was told a newer version.
func (b *people) take(p *im.Person) {
	if p.GetUserId() == "" || p.Ver == 0 || b.DB == nil || b.of(p.UserId).Ver >= p.Ver {
		return
	}
	row := local.Person{User: p.UserId, Ver: p.Ver, Nick: p.NickName, Face: p.FaceUrl}
	if b.Check(b.DB.PutPerson(row)) {
		if s := b.known[p.UserId]; s != nil {
			s.Person = row
		}
	}
}

// takeProfile is take for a whole profile.
func (b *people) takeProfile(user string, p *im.UserProfile, ver uint64) {
	if p != nil {
		b.take(&im.Person{UserId: user, NickName: p.NickName, FaceUrl: p.FaceUrl, Ver: ver})
	}
}

// stranger returns the profile of a user that the server has given not long ago; nil if there is none.
func (b *people) stranger(user string) *im.UserProfile {
	s, ok := b.strangers[user]
	if !ok || time.Since(s.at) >= strangerFor {
		return nil
	}
	p := &im.UserProfile{}
	if !b.Check(im.Decode(s.profile, p)) {
		return nil
	}
	return p
}

// meet keeps the profile of a stranger for some minutes.
func (b *people) meet(p *im.VersionedProfile) {
	if len(b.strangers) >= mostStrangers {
		clear(b.strangers)
	}
	if body, err := p.Profile.MarshalVT(); b.Check(err) {
		b.strangers[p.Profile.Identifier] = stranger{body, time.Now()}
	}
	b.takeProfile(p.Profile.Identifier, p.Profile, p.Ver)
}

// dress sets what a message shows of its sender, and of who recalled it.
func (b *people) dress(m *im.Message) {
	s := b.of(m.Sender)
	m.SenderProfile = &im.SenderProfile{Identifier: m.Sender, NickName: s.Nick, FaceUrl: s.Face, FriendRemark: s.remark}
	if m.RevokerUserId != "" {
		r := b.of(m.RevokerUserId)
		m.RevokerNickName, m.RevokerFaceUrl = r.Nick, r.Face
	}
}

// title sets what a conversation with a user shows of them.
func (b *people) title(info *im.ConvInfo) {
	if info.Type == im.ConvType_CONV_TYPE_C2C {
		s := b.of(info.Id)
		info.ShowName, info.FaceUrl = cmp.Or(s.remark, s.Nick, info.Id), s.Face
	}
}

// bare calls f with a conversation that shows nothing of users and files but ids.
func bare(info *im.ConvInfo, f func()) {
	name, face := info.ShowName, info.FaceUrl
	info.ShowName, info.FaceUrl = info.Id, ""
	defer func() { info.ShowName, info.FaceUrl = name, face }()
	if m := info.LastMsg; m != nil {
		profile, member, nick, face := m.SenderProfile, m.SenderGroupMemberInfo, m.RevokerNickName, m.RevokerFaceUrl
		m.SenderProfile, m.SenderGroupMemberInfo, m.RevokerNickName, m.RevokerFaceUrl = &im.SenderProfile{Identifier: m.Sender}, nil, "", ""
		defer func() {
			m.SenderProfile, m.SenderGroupMemberInfo, m.RevokerNickName, m.RevokerFaceUrl = profile, member, nick, face
		}()
	}
	withoutURLs(info.LastMsg, f)
}
