package histcheck_test

import (
	"database/sql"
	"flag"
	"fmt"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/testing/histcheck"
)

// usersFlag is how many users histories of groups have.
var usersFlag = flag.Int("histcheck.users", 0, "users of a history of groups; 0: 6, or 20 with -histcheck.time")

// TestGroupHistory runs histories of groups of users with two devices each, as TestHistory does those of messages.
func TestGroupHistory(t *testing.T) { kind{"histories of groups", 3, groupHistory}.run(t) }

func groupHistory(t *testing.T, seed uint64, sum *total) {
	log := logOf(t, "groups", seed)
	s := start(t, seed, log, "", nil)
	driver, dsn := storeOf(s)
	users := *usersFlag
	if users == 0 {
		users = 6
		if *timeFlag > 0 {
			users = 20
		}
	}
	h := histcheck.RunGroups(t, histcheck.Config{Seed: seed, Ops: *opsFlag, Users: users, Server: s, Bounces: *bouncesFlag, Children: 4, Log: log, LogDir: *dumpFlag,
		Groups: func() ([]*histcheck.Group, error) { return groupsIn(driver, dsn) }})
	entries, periods := 0, 0
	for _, g := range h.Groups {
		entries += len(g.Entries)
		for _, ps := range g.Periods {
			periods += len(ps)
		}
	}
	t.Logf("%d groups with %d entries and %d memberships; %d live rooms, in the last of which devices must have heard %d times", len(h.Groups), entries, periods, h.Rooms, len(h.Heard))
	report(t, h, histcheck.CheckGroups(h), sum, "groups", "TestGroupHistory", seed)
}

// storeOf is how the store of a server is read.
func storeOf(s histcheck.Server) (driver, dsn string) {
	dir := ""
	switch s := s.(type) {
	case *inside:
		dir, dsn = s.s.Dir, s.dsn
	case *child:
		dir, dsn = s.dir, s.dsn
	}
	if dsn != "" {
		return "pgx", dsn
	}
	return "sqlite3", "file:" + filepath.Join(dir, "tidings.db") + "?mode=ro"
}

// groupsIn reads all groups from a server's store, in the order in which they were made.
func groupsIn(driver, dsn string) (all []*histcheck.Group, err error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	// each reads rows whose first column is a group.
	byID := map[int64]*histcheck.Group{}
	each := func(query string, n int, row func(g *histcheck.Group, col []any)) {
		if err != nil {
			return
		}
		var rows *sql.Rows
		if rows, err = db.Query(query); err != nil {
			return
		}
		defer rows.Close()
		for rows.Next() {
			col, at := make([]any, n), make([]any, n)
			for i := range col {
				at[i] = &col[i]
			}
			if err = rows.Scan(at...); err != nil {
				return
			}
			if g := byID[number(col[0])]; g != nil {
				row(g, col[1:])
			}
		}
		err = rows.Err()
	}
	names := map[int64]string{0: ""}
	if rows, e := db.Query("SELECT uid, name FROM users"); e != nil {
		return nil, e
	} else {
		defer rows.Close()
		for rows.Next() {
			var uid int64
			var name string
			if err := rows.Scan(&uid, &name); err != nil {
				return nil, err
			}
			names[uid] = name
		}
	}
	rows, err := db.Query("SELECT id, grp, type, dissolved, owner, members, attr_ver, flags FROM conv WHERE kind = 2 ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, typ, dissolved, owner, members, ver, flags int64
		g := &histcheck.Group{Addressees: map[uint64][]string{}, Periods: map[string][]histcheck.Period{}, Rows: map[string]*im.GroupMemberInfo{}, Attributes: map[string]string{}, Info: &im.GroupState{}, Fields: map[string]string{}}
		if err := rows.Scan(&id, &g.ID, &typ, &dissolved, &owner, &members, &ver, &flags); err != nil {
			return nil, err
		}
		g.Epoch, g.Type, g.Dissolved, g.Owner, g.Count, g.AttrVer, g.ShutupAll = uint64(id), im.GroupType(typ), dissolved != 0, names[owner], uint64(members), uint64(ver), flags&16 != 0
		byID[id] = g
		all = append(all, g)
	}
	each("SELECT conv, seq, sender, time, idx, own, flags, status, revoker, version, body FROM entry ORDER BY conv, seq", 11, func(g *histcheck.Group, c []any) {
		e := &im.Entry{Seq: uint64(number(c[0])), Sender: names[number(c[1])], Time: number(c[2]), Index: uint64(number(c[3])), OwnIndex: uint64(number(c[4])), Countable: number(c[5])&1 != 0,
			Status: im.MessageStatus(number(c[6])), Revoker: names[number(c[7])], Version: uint64(number(c[8])), Message: &im.Message{}}
		if number(c[1]) == 0 {
			e.Sender = "@TIM#SYSTEM"
		}
		if number(c[5])&2 != 0 {
			g.Addressees[e.Seq] = []string{}
		}
		if e := e.Message.UnmarshalVT(c[9].([]byte)); e != nil {
			err = e
		}
		g.Entries = append(g.Entries, e)
	})
	each("SELECT conv, seq, uid FROM addressee ORDER BY conv, seq, uid", 3, func(g *histcheck.Group, c []any) {
		seq := uint64(number(c[0]))
		g.Addressees[seq] = append(g.Addressees[seq], names[number(c[1])])
	})
	each("SELECT conv, rev, kind, seq, time, operator, version FROM change ORDER BY conv, rev", 7, func(g *histcheck.Group, c []any) {
		g.Changes = append(g.Changes, &im.Change{Rev: uint64(number(c[0])), Kind: im.ChangeKind(number(c[1])), Seq: uint64(number(c[2])), Time: number(c[3]), Operator: names[number(c[4])], Version: uint64(number(c[5]))})
	})
	each("SELECT conv, uid, from_seq, to_seq, from_rev, to_rev FROM period ORDER BY conv, uid, from_seq", 6, func(g *histcheck.Group, c []any) {
		user := names[number(c[0])]
		g.Periods[user] = append(g.Periods[user], histcheck.Period{From: uint64(number(c[1])), To: uint64(number(c[2])), FromRev: uint64(number(c[3])), ToRev: uint64(number(c[4]))})
	})
	each("SELECT conv, uid, role, mute_until, name_card FROM member WHERE gone = 0", 5, func(g *histcheck.Group, c []any) {
		g.Rows[names[number(c[0])]] = &im.GroupMemberInfo{MemberRole: im.GroupMemberRole(number(c[1])), ShutupTime: uint64(number(c[2])), NameCard: word(c[3])}
	})
	each("SELECT conv, body FROM group_info", 2, func(g *histcheck.Group, c []any) {
		if e := g.Info.UnmarshalVT(c[0].([]byte)); e != nil {
			err = e
		}
	})
	each("SELECT conv, uid, body FROM member_custom", 3, func(g *histcheck.Group, c []any) {
		state := &im.GroupMemberState{}
		if e := state.UnmarshalVT(c[1].([]byte)); e != nil {
			err = e
		}
		for _, f := range state.Custom {
			g.Fields[names[number(c[0])]] = f.Key + "=" + f.Value
		}
	})
	each("SELECT conv, uid, kind, wording, handler, accepted, answer FROM group_request ORDER BY time", 7, func(g *histcheck.Group, c []any) {
		g.Requests = append(g.Requests, histcheck.GroupRequest{User: names[number(c[0])], Invitation: number(c[1]) != 0, Words: word(c[2]), Handler: names[number(c[3])],
			Accepted: number(c[4]) != 0, Answer: word(c[5])})
	})
	each("SELECT conv, key, value FROM attribute", 3, func(g *histcheck.Group, c []any) { g.Attributes[word(c[0])] = word(c[1]) })
	return all, err
}

// number is a column of a number, which drivers return in several types.
func number(c any) int64 {
	switch n := c.(type) {
	case int64:
		return n
	case int32:
		return int64(n)
	case int16:
		return int64(n)
	}
	panic(fmt.Sprintf("%T is no number", c))
}

func word(c any) string {
	if b, ok := c.([]byte); ok {
		return string(b)
	}
	return c.(string)
}
