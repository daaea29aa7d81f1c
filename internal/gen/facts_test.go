package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// fact is a line of capi/facts/keys.tsv: one JSON key of the TIM C API.
type fact struct{ object, key, typ, older string }

func readFacts(t *testing.T) map[string][]fact {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "capi", "facts", "keys.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	facts := make(map[string][]fact)
	for i, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		cells := strings.Split(line, "\t")
		if len(cells) != 7 {
			t.Fatalf("keys.tsv:%d has %d columns", i+1, len(cells))
		}
		if i > 0 {
			facts[cells[2]] = append(facts[cells[2]], fact{cells[0], cells[2], cells[3], cells[6]})
		}
	}
	return facts
}

// objectNames are the objects and enums that api/ names differently from the TIM C API.
var objectNames = map[string]string{
	"BatchSendParam": "MsgBatchSendParam", "BatchSendResult": "MsgBatchSendResult", "C2CRecvOptResult": "GetC2CRecvMsgOptResult",
	"SearchParam": "MessageSearchParam", "SearchResultItem": "MessageSearchResultItem", "SearchResult": "MessageSearchResult",
	"GetConvParam": "GetConversationListParam", "TotalUnread": "GetTotalUnreadNumberResult", "GetMsgListParam": "MsgGetMsgListParam",
	"SdkConfig": "SdKConfig", "ExperimentalRequest": "RequestParam", "ExperimentalResponse": "ResponseInfo",
	"CreateGroupRequest": "CreateGroupParam", "CreateGroupReply": "CreateGroupResult", "ListMembersReply": "GroupGetMemberInfoListResult",
	"OnlineCountReply": "GroupGetOnlineMemberCountResult", "GroupRequestsRequest": "GroupPendencyOption", "HandleGroupRequest": "GroupHandlePendencyParam",
	"SentMessageId": "Message", "SenderProfile": "UserProfile", "MessageStatus": "MsgStatus",
}

// elsewhere are the keys that api/ has in another object than keys.tsv: the facts give the common part of an element an object of its own, and the
// keys of a recall, which both a message and a locator have, to the message alone; the internal fields of a message stand apart.
var elsewhere = map[string]string{
	"elem_type": "ElemType", "message_msg_id": "Message", "message_revoke_reason": "Message", "message_revoker_user_id": "Message",
	"message_revoker_nick_name": "Message", "message_revoker_face_url": "Message",
	"message_group_receipt_read_count": "MessageInternalField", "message_group_receipt_unread_count": "MessageInternalField",
	"message_risk_type_identified": "MessageInternalField", "message_version": "MessageInternalField",
}

func timName(d protoreflect.Descriptor) string {
	name := string(d.Name())
	if other, ok := objectNames[name]; ok {
		return other
	}
	return name
}

// typesOf are the types in keys.tsv that a field of api/ may stand for.
func typesOf(f protoreflect.FieldDescriptor, fact string) []string {
	var types []string
	switch kind := f.Kind(); kind {
	case protoreflect.StringKind:
		types = []string{"string", "enum TIMInternalOperation"} // an enum of texts
	case protoreflect.Int32Kind:
		types = []string{"int", "int32"}
		if strings.Contains(fact, "TIM") {
			types = []string{"enum " + enumIn(fact)} // a number whose enum api/ does not list
		}
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		types = []string{"uint", kind.String()}
	case protoreflect.EnumKind:
		types = []string{"enum TIM" + timName(f.Enum())}
	case protoreflect.MessageKind:
		types = []string{"object " + timName(f.Message())}
	default:
		types = []string{kind.String()}
	}
	if f.IsList() {
		for i, typ := range types {
			typ = strings.TrimPrefix(strings.TrimPrefix(typ, "object "), "enum ")
			types[i] = "array<" + typ + ">"
		}
	}
	return types
}

func enumIn(fact string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(fact, "enum "), "array<"), ">")
}

// TestKeysMatchTheFacts: a key in api/ has the object, the type and the older spellings that capi/facts/keys.tsv gives it, and none is spelled
// differently there. Both are written by hand: the first from what crosses the wire, the second from the headers.
func TestKeysMatchTheFacts(t *testing.T) {
	names, err := contractFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	req, err := compile([]string{root}, names)
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := protogen.Options{}.New(req)
	if err != nil {
		t.Fatal(err)
	}
	facts := readFacts(t)
	compared := 0
	for _, f := range plugin.Files {
		for _, m := range f.Messages {
			if !boolOption(m.Desc, "tim") {
				continue
			}
			for _, field := range m.Fields {
				if boolOption(field.Desc, "internal") || boolOption(field.Desc, "flatten") {
					continue
				}
				key := field.Desc.JSONName()
				if len(facts[key]) == 0 {
					t.Errorf("%s: keys.tsv has no key %s", m.Desc.Name(), key)
					continue
				}
				compared++
				object := timName(m.Desc)
				i := slices.IndexFunc(facts[key], func(f fact) bool { return f.object == object || f.object == elsewhere[key] })
				if i < 0 {
					t.Errorf("%s of %s is a key of %s in keys.tsv", key, object, facts[key][0].object)
					continue
				}
				have := facts[key][i]
				if types := typesOf(field.Desc, have.typ); !slices.Contains(types, have.typ) {
					t.Errorf("%s of %s is %q, and in keys.tsv %q", key, object, types, have.typ)
				}
				old, _ := option(field.Desc, "old").(protoreflect.List)
				known := have.older == ""
				for i := 0; old != nil && i < old.Len(); i++ {
					spelling := old.Get(i).String()
					known = known || spelling == have.older
					// An older spelling that a header still has is a key of its own.
					if spelling != have.older && !slices.ContainsFunc(facts[spelling], func(f fact) bool { return f.object == object }) {
						t.Errorf("%s of %s: keys.tsv does not know the older spelling %s", key, object, spelling)
					}
				}
				if !known {
					t.Errorf("%s of %s: the older spelling %s is missing in api/", key, object, have.older)
				}
			}
		}
	}
	if compared < 200 {
		t.Errorf("only %d keys stand in both", compared)
	}
}

// TestTheReferenceSaysWhatIsBuilt: the reference page of the JSON objects does not mark an object in api/ as not built, and of the other objects it
// lists no key that the codec cannot read or write, unless it marks the key as not built.
func TestTheReferenceSaysWhatIsBuilt(t *testing.T) {
	names, err := contractFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	req, err := compile([]string{root}, names)
	if err != nil {
		t.Fatal(err)
	}
	plugin, err := protogen.Options{}.New(req)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "reference", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for section := range strings.SplitSeq(string(page), "\n## ") {
		name, rest, _ := strings.Cut(section, "\n")
		sections[name] = rest
	}
	codec := map[string]bool{}
	for _, f := range plugin.Files {
		for _, m := range f.Messages {
			if !boolOption(m.Desc, "tim") {
				continue
			}
			if strings.HasPrefix(sections[timName(m.Desc)], "\nNot built.") {
				t.Errorf("%s is called not built", timName(m.Desc))
			}
			for _, field := range m.Fields {
				codec[field.Desc.JSONName()] = true
				old, _ := option(field.Desc, "old").(protoreflect.List)
				for i := 0; old != nil && i < old.Len(); i++ {
					codec[old.Get(i).String()] = true
				}
			}
		}
	}
	looked := 0
	for name, section := range sections {
		if strings.HasPrefix(section, "\nNot built.") || name == "TIMInternalOperation" { // whose keys are values
			continue
		}
		for line := range strings.Lines(section) {
			key, rest, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` ")
			if !ok || !strings.HasPrefix(line, "| `") || strings.Contains(rest, "**Not built:**") {
				continue
			}
			looked++
			if !codec[key] {
				t.Errorf("%s of %s is not in api/, and not called not built", key, name)
			}
		}
	}
	if looked < 150 {
		t.Errorf("only %d keys were looked at", looked)
	}
}
