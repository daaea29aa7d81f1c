package histcheck

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// Callbacks about relations.
const (
	FriendsAdded    = "friends_added"
	FriendsDeleted  = "friends_deleted"
	FriendsUpdated  = "friends_updated"
	Requests        = "friend_requests"
	RequestsDeleted = "friend_requests_deleted"
	RequestsRead    = "friend_requests_read"
	BlockedAdded    = "blacklist_added"
	BlockedDeleted  = "blacklist_deleted"
)

// relationCallbacks are those that are repeated after a crash, all of them.
var relationCallbacks = []string{FriendsAdded, FriendsDeleted, FriendsUpdated, Requests, RequestsDeleted, RequestsRead, BlockedAdded, BlockedDeleted}

// relationOps begin with this.
const relationOp = "rel:"

// Friend is what a user has noted about a friend, and the friend's own profile.
type Friend struct {
	Remark, Profile string
	Groups          string // names, sorted, joined by a comma
}

// Relations are a user's friends, requests, friend groups, blacklist and own profile: as a device lists them, or as the server stores them. Requests are
// the wordings by user.
type Relations struct {
	Friends map[string]Friend
	Blocked []string
	In, Out map[string]string
	Unread  int
	Groups  []string // name: users
	Profile string
	// Rows are the rows of all kinds as they are stored, by what they are about: at the server, or on the disk of a device.
	Rows map[string]string
}

// differs returns in what two states differ; "" if they are equal.
func (a *Relations) differs(b *Relations) string {
	switch {
	case !maps.Equal(a.Friends, b.Friends):
		return fmt.Sprintf("friends %v and %v", a.Friends, b.Friends)
	case !slices.Equal(a.Blocked, b.Blocked):
		return fmt.Sprintf("blacklist %v and %v", a.Blocked, b.Blocked)
	case !maps.Equal(a.In, b.In) || !maps.Equal(a.Out, b.Out) || a.Unread != b.Unread:
		return fmt.Sprintf("requests in %v and %v, out %v and %v, unread %d and %d", a.In, b.In, a.Out, b.Out, a.Unread, b.Unread)
	case !slices.Equal(a.Groups, b.Groups):
		return fmt.Sprintf("friend groups %v and %v", a.Groups, b.Groups)
	case a.Profile != b.Profile:
		return fmt.Sprintf("the own profile %q and %q", a.Profile, b.Profile)
	}
	return ""
}

// rowsDiffer is differs for what is on a disk: it includes the requests, which a device never lists from there, and the numbers of all rows.
func (a *Relations) rowsDiffer(b *Relations) string {
	for _, k := range slices.Sorted(maps.Keys(a.Rows)) {
		if b.Rows[k] != a.Rows[k] {
			return fmt.Sprintf("the row %s: %q and %q", k, a.Rows[k], b.Rows[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b.Rows)) {
		if _, ok := a.Rows[k]; !ok {
			return fmt.Sprintf("the row %s: none and %q", k, b.Rows[k])
		}
	}
	return ""
}

// RowsOf writes rows. The profile of a user who is no friend is that of the time when the row was read, and is left out.
func RowsOf(rows []*im.Relation) map[string]string {
	out := map[string]string{}
	for _, r := range rows {
		profile := ""
		if r.Kind == im.RelationKind_RELATION_FRIEND || r.Kind == im.RelationKind_RELATION_SELF {
			profile = profileOf(r.Profile).String()
		}
		if r.Kind == im.RelationKind_RELATION_SELF && profile == "" {
			continue // nobody needs it
		}
		s := r.GetState()
		about := r.UserId
		if r.Group != 0 {
			about = fmt.Sprint(r.Group)
		}
		out[fmt.Sprint(r.Kind, " ", about)] = fmt.Sprint("ver ", r.Ver, " time ", s.GetTime(), " remark ", s.GetRemark(), " wording ", s.GetWording(), " source ", s.GetSource(),
			" groups ", s.GetGroups(), " name ", s.GetName(), " both ", s.GetBoth(), " profile ", profile)
	}
	return out
}

func joined(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), ",") }

// relate carries out a command about relations. The code of the result for the user is in Num.
func (a *agent) relate(ctx context.Context, cmd *command, r *reply) error {
	f := a.c.Friends()
	one := func(rs []*im.FriendResult, err error) error {
		if err == nil && len(rs) != 1 {
			return fmt.Errorf("%s: %d results for one user", cmd.Op, len(rs))
		}
		if err == nil {
			r.Num = int(rs[0].Code)
		}
		return err
	}
	single := func(x *im.FriendResult, err error) error { return one([]*im.FriendResult{x}, err) }
	users := []string{cmd.Conv}
	switch strings.TrimPrefix(cmd.Op, relationOp) {
	case "add":
		return single(f.Add(ctx, &im.AddFriendRequest{UserId: cmd.Conv, Both: cmd.Flag, Remark: cmd.Text, Wording: cmd.Text}))
	case "answer":
		return single(f.AnswerRequest(ctx, &im.AnswerRequestRequest{UserId: cmd.Conv, Action: cmd.Num, Remark: cmd.Text}))
	case "unfriend":
		return one(f.Delete(ctx, users, cmd.Flag))
	case "unask":
		return one(f.DeleteRequests(ctx, users, cmd.Num))
	case "read":
		return f.ReadRequests(ctx, 0)
	case "block":
		return one(f.Block(ctx, users))
	case "unblock":
		return one(f.Unblock(ctx, users))
	case "remark":
		return f.Update(ctx, cmd.Conv, &im.FriendProfileItem{Remark: &cmd.Text})
	case "profile":
		return a.c.Profiles().SetSelf(ctx, readFields(cmd.Text).item())
	case "group":
		return one(f.CreateGroups(ctx, []string{cmd.Text}, users))
	case "ungroup":
		return f.DeleteGroups(ctx, []string{cmd.Text})
	case "rename":
		return f.RenameGroup(ctx, cmd.Text, cmd.Users[0])
	case "into":
		return one(f.AddToGroup(ctx, cmd.Text, users))
	case "outof":
		return one(f.RemoveFromGroup(ctx, cmd.Text, users))
	case "list":
		x, err := listed(ctx, a.c, cmd.Text)
		r.Relations = x
		return err
	}
	return fmt.Errorf("unknown operation %q", cmd.Op)
}

// listed is what a device of user lists.
func listed(ctx context.Context, c *client.Client, user string) (*Relations, error) {
	x := &Relations{Friends: map[string]Friend{}, In: map[string]string{}, Out: map[string]string{}}
	friends, err := c.Friends().List(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range friends {
		if _, ok := x.Friends[f.Identifier]; ok {
			return nil, fmt.Errorf("%s is listed twice", f.Identifier)
		}
		x.Friends[f.Identifier] = Friend{f.Remark, profileOf(f.UserProfile).String(), joined(f.GroupNameArray)}
	}
	blocked, err := c.Friends().Blacklist(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range blocked {
		x.Blocked = append(x.Blocked, f.Identifier)
	}
	slices.Sort(x.Blocked)
	groups, err := c.Friends().Groups(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		x.Groups = append(x.Groups, g.Name+": "+joined(g.IdentifierArray))
	}
	slices.Sort(x.Groups)
	page, err := c.Friends().Requests(ctx, &im.RequestsRequest{Type: client.RequestsBoth})
	if err != nil {
		return nil, err
	}
	x.Unread = int(page.UnreadNum)
	for _, p := range page.PendencyInfoArray {
		if p.Type == 0 {
			x.In[p.Identifier] = p.AddWording
		} else {
			x.Out[p.Identifier] = p.AddWording
		}
	}
	self, err := c.Profiles().Get(ctx, []string{user}, false)
	if err != nil {
		return nil, err
	}
	if len(self) == 1 {
		x.Profile = profileOf(self[0]).String()
	}
	return x, nil
}

// relationsOf reads what the server stores, without the SDK: the rows, one page after the other.
func relationsOf(ctx context.Context, url, user, sig string) (*Relations, error) {
	w, _, err := connect(ctx, url, &im.LoginRequest{UserId: user, UserSig: sig, DeviceId: "the auditor of relations", Platform: im.Platform_PLATFORM_WEB})
	if err != nil {
		return nil, err
	}
	defer w.ws.CloseNow()
	var rows []*im.Relation
	for req := (&im.RelationsRequest{}); ; {
		reply := &im.RelationsReply{}
		if err := w.call(im.Method_RELATIONS, req, reply); err != nil {
			return nil, err
		}
		rows = append(rows, reply.Items...)
		for _, r := range reply.Items {
			if r.Ver == 0 && r.Kind != im.RelationKind_RELATION_SELF { // a user without a profile has none
				return nil, fmt.Errorf("a row of kind %v about %q has no ver", r.Kind, r.UserId)
			}
		}
		if reply.NextKind == 0 {
			break
		}
		req = &im.RelationsRequest{AfterKind: reply.NextKind, AfterOther: reply.NextOther}
	}
	x := &Relations{Friends: map[string]Friend{}, In: map[string]string{}, Out: map[string]string{}, Rows: RowsOf(rows)}
	names, members, read := map[uint64]string{}, map[uint64][]string{}, int64(0)
	for _, r := range rows {
		switch r.Kind {
		case im.RelationKind_RELATION_FRIEND_GROUP:
			names[r.Group] = r.GetState().GetName()
		case im.RelationKind_RELATION_REQUESTS_READ:
			read = r.GetState().GetTime()
		}
	}
	for _, r := range rows {
		s := r.GetState()
		switch r.Kind {
		case im.RelationKind_RELATION_FRIEND:
			var in []string
			for _, n := range s.GetGroups() {
				if name, ok := names[n]; ok {
					in = append(in, name)
					members[n] = append(members[n], r.UserId)
				}
			}
			x.Friends[r.UserId] = Friend{s.GetRemark(), profileOf(r.GetProfile()).String(), joined(in)}
		case im.RelationKind_RELATION_BLOCKED:
			x.Blocked = append(x.Blocked, r.UserId)
		case im.RelationKind_RELATION_REQUEST_IN:
			x.In[r.UserId] = s.GetWording()
			if s.GetTime() > read {
				x.Unread++
			}
		case im.RelationKind_RELATION_REQUEST_OUT:
			x.Out[r.UserId] = s.GetWording()
		}
	}
	slices.Sort(x.Blocked)
	for n, name := range names {
		x.Groups = append(x.Groups, name+": "+joined(members[n]))
	}
	slices.Sort(x.Groups)
	profiles := &im.ProfilesReply{}
	if err := w.call(im.Method_PROFILES, &im.ProfilesRequest{UserIds: []string{user}}, profiles); err != nil {
		return nil, err
	}
	if len(profiles.Profiles) == 1 {
		x.Profile = profileOf(profiles.Profiles[0].GetProfile()).String()
	}
	return x, w.call(im.Method_LOGOUT, &im.Empty{}, &im.Empty{})
}
