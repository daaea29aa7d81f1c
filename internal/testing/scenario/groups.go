package scenario

import (
	"slices"
	"strings"

	"github.com/tidings-im/tidings/imtest"
)

// GroupCause is something that happens in a group: a row of the matrix of groups.
type GroupCause struct {
	// Name is the cause in words.
	Name string
	// Type is the group's: Public if it is not set.
	Type string
	// Given is done before, and Do is the cause: acts like "ann kick bob". The actor Operators is the admin API.
	Given, Do []string
	// Outside is who of People is no member when the cause happens, although they else are.
	Outside []string
	// Made is a cause that makes the group itself.
	Made bool
}

// People are the members of the groups of the matrix, by where they stand. ann is the owner, adm an admin, and bob whom a cause is about.
var People = []string{
	"ann", "adm", "bob",
	"mem",  // a member
	"opt1", // a member who receives nothing
	"opt2", // one who receives without push
	"opt4", // one who receives what mentions them
	"mut",  // a muted one
	"left", // has left
	"out",  // was removed
	"back", // has left, and joined again
	"gone", // is removed after the cause
}

// Operators is the account of the admin API.
const Operators = imtest.Admin

// Strangers are not members: late joins after the cause, eve never, unless a cause is about her.
var Strangers = []string{"late", "eve"}

// Before returns what happens in the group at first, by ann, mem, left and back.
func (c *GroupCause) Before() (lines []string) {
	if c.Made {
		return nil
	}
	in := slices.DeleteFunc(slices.Clone(People[1:]), func(u string) bool { return slices.Contains(c.Outside, u) })
	typ := c.Type
	if typ == "" {
		typ = "Public"
	}
	lines = append(lines, "ann create "+typ+" "+strings.Join(in, " "))
	lines = append(lines, "ann kick out", "left quit", "back quit", "mem say gap")
	if typ == "Work" {
		lines = append(lines, "ann invite back")
	} else {
		lines = append(lines, "back join", "ann mute mut 600", "ann admin adm")
	}
	return append(lines, "ann say base")
}

// Options are the acts of members about receiving in each group that they are in, before Given.
var Options = []string{"opt1 opt 1", "opt2 opt 2", "opt4 opt 4"}

// After returns what happens after the cause.
func (c *GroupCause) After(g *Group) (lines []string) {
	if g.Over() {
		return nil
	}
	by := g.Owner()
	if by == "" {
		by = Operators
	}
	if g.In("gone") {
		lines = append(lines, by+" kick gone")
	}
	if g.Type == "Work" || c.Made {
		return lines
	}
	return append(lines, "late join")
}

// GroupCauses are the rows of the matrix of groups.
var GroupCauses = []GroupCause{
	{Name: "a group is created", Made: true, Do: []string{"ann create Public"}},
	{Name: "a group is created with members", Made: true, Do: []string{"ann create Public bob mem"}},
	{Name: "a Work group is created", Made: true, Do: []string{"ann create Work"}},
	{Name: "a Meeting is created with members", Made: true, Do: []string{"ann create Meeting bob"}},

	{Name: "a message", Do: []string{"bob say hi"}},
	{Name: "a message in a Meeting", Type: "Meeting", Do: []string{"bob say hi"}},
	{Name: "a message in a Community", Type: "Community", Do: []string{"bob say hi"}},
	{Name: "members are mentioned", Do: []string{"bob at hey mem opt1 opt4 left"}},
	{Name: "all are mentioned", Do: []string{"ann at hear all"}},
	{Name: "a message to some members", Do: []string{"ann to psst bob opt1 mut"}},
	{Name: "an online-only message", Do: []string{"bob online now"}},
	{Name: "the newest message is recalled", Do: []string{"ann recall 9"}},
	{Name: "the owner recalls another's message", Do: []string{"ann recall 5"}},
	{Name: "an admin recalls another's message", Do: []string{"adm recall 5"}},
	{Name: "a mention is recalled", Do: []string{"bob at hey mem opt4", "bob recall 10"}},
	{Name: "a message to some members is recalled", Do: []string{"ann to psst bob mem", "ann recall 10"}},
	{Name: "the newest message is modified", Do: []string{"ann modify 9 base2"}},
	{Name: "an older message is modified", Do: []string{"mem modify 5 gap2"}},
	{Name: "a new message is modified", Do: []string{"bob say hi", "bob modify 10 hi2"}},

	{Name: "a user is invited", Outside: []string{"bob"}, Do: []string{"ann invite bob"}},
	{Name: "users are invited by a member", Type: "Work", Outside: []string{"bob"}, Do: []string{"mem invite bob eve"}},
	{Name: "a user joins", Outside: []string{"bob"}, Do: []string{"bob join"}},
	{Name: "a user joins a Meeting", Type: "Meeting", Outside: []string{"bob"}, Do: []string{"bob join"}},
	{Name: "a user joins a Community", Type: "Community", Outside: []string{"bob"}, Do: []string{"bob join"}},
	{Name: "a member leaves", Do: []string{"bob quit"}},
	{Name: "a member leaves a Meeting", Type: "Meeting", Do: []string{"bob quit"}},
	{Name: "the owner leaves", Type: "Work", Do: []string{"ann quit"}},
	{Name: "the last member leaves", Made: true, Given: []string{"ann create Work"}, Do: []string{"ann say bye", "ann quit"}},
	{Name: "a member is removed", Do: []string{"ann kick bob"}},
	{Name: "members are removed by an admin", Do: []string{"adm kick bob mem"}},
	{Name: "a member is removed from a Meeting", Type: "Meeting", Do: []string{"ann kick bob"}},
	{Name: "a member leaves and joins again", Do: []string{"bob quit", "ann say meanwhile", "bob join", "ann say again"}},
	{Name: "a group is dissolved", Do: []string{"bob say bye", "ann dissolve"}},

	{Name: "somebody asks to join", Outside: []string{"bob"}, Given: []string{"ann addoption 1"}, Do: []string{"bob apply please", "ann addoption 2"}},
	{Name: "a request is accepted", Outside: []string{"bob"}, Given: []string{"ann addoption 1", "bob apply please"}, Do: []string{"adm accept bob", "ann addoption 2"}},
	{Name: "a request is refused", Outside: []string{"bob"}, Given: []string{"ann addoption 1", "bob apply please"}, Do: []string{"adm refuse bob", "ann addoption 2"}},
	{Name: "an invitation needs consent", Given: []string{"ann inviteoption 1"}, Do: []string{"bob ask eve"}},
	{Name: "an invitation is accepted", Given: []string{"ann inviteoption 1", "bob ask eve"}, Do: []string{"eve agree bob"}},
	{Name: "an invitation is refused", Given: []string{"ann inviteoption 1", "bob ask eve"}, Do: []string{"eve decline bob"}},

	{Name: "the name changes", Do: []string{"ann name N"}},
	{Name: "the introduction changes", Do: []string{"ann introduction I"}},
	{Name: "the notice changes", Do: []string{"adm notice O"}},
	{Name: "the picture changes", Type: "Meeting", Do: []string{"ann face F"}},
	{Name: "options, fields, a name card change", Do: []string{"ann addoption 1", "ann custom k v", "bob card B", "bob field team red", "ann addoption 2"}},
	{Name: "the owner changes", Do: []string{"ann owner bob"}},
	{Name: "a member becomes an admin", Do: []string{"ann admin bob"}},
	{Name: "an admin becomes a member", Do: []string{"ann noadmin adm"}},
	{Name: "roles change in a Meeting", Type: "Meeting", Do: []string{"ann admin bob", "ann noadmin bob"}},
	{Name: "a member is muted", Do: []string{"adm mute bob 600"}},
	{Name: "a mute ends", Do: []string{"ann mute mut 0"}},
	{Name: "a member of a Meeting is muted", Type: "Meeting", Do: []string{"ann mute bob 600"}},
	{Name: "all are muted", Do: []string{"ann muteall 1", "ann say quiet"}},
	{Name: "attributes are set", Do: []string{"bob set k v"}},
	{Name: "attributes are set as they are", Given: []string{"bob set k v"}, Do: []string{"bob set k v"}},
	{Name: "attributes are replaced", Given: []string{"bob set k v"}, Do: []string{"bob init x y"}},
	{Name: "attributes are removed", Given: []string{"bob init x y"}, Do: []string{"ann set k v", "ann unset x"}},
	{Name: "attributes are cleared", Given: []string{"bob set k v"}, Do: []string{"ann unset"}},

	{Name: "receiving is turned off", Do: []string{"bob opt 1", "mem say unheard"}},
	{Name: "receiving is turned on", Do: []string{"mem say unheard", "opt1 opt 0"}},
	{Name: "a conversation of a group is pinned", Do: []string{"bob pin"}},
	{Name: "a draft is kept", Do: []string{"bob draft d", "bob nodraft"}},
	{Name: "a message is deleted for oneself", Do: []string{"bob delete 9"}},
	{Name: "a group's history is cleared", Do: []string{"bob clear"}},
	{Name: "a group's conversation is deleted", Do: []string{"bob deleteconv"}},
	{Name: "a group is read", Do: []string{"bob at hey mem", "mem read"}},

	{Name: "the operator writes", Do: []string{"administrator say news"}},
	{Name: "the operator notifies", Do: []string{"administrator notify maintenance"}},
	{Name: "the operator adds a user", Outside: []string{"bob"}, Do: []string{"administrator invite bob"}},
	{Name: "the operator removes a member", Do: []string{"administrator kick bob"}},
	{Name: "the operator removes a member silently", Do: []string{"administrator kicksilently bob"}},
	{Name: "the operator dissolves", Type: "Work", Do: []string{"administrator dissolve"}},
}
