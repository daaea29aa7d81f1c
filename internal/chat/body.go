package chat

import (
	"hash/crc64"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tidings-im/tidings/im"
)

// Limits of a message, in bytes.
const (
	// maxContent bounds the text, or all that its elements hold.
	maxContent = 12 << 10
	// maxBody bounds its wire form: the elements and all that goes with them.
	maxBody = 16 << 10
	// maxElems bounds the number of elements.
	maxElems = 100
	// maxMerger bounds a message in wire form that holds a merger: messages that were sent before, made into one.
	maxMerger = 256 << 10
	// maxMerged and maxLayers bound the messages of a merger, and how deep they may lie in each other; maxAbstract the lines that sum it up.
	maxMerged, maxLayers, maxAbstract = 300, 100, 5
)

// kept are the fields of im.Message that belong to the sender's application and are stored. All others are views: the
// devices compute them, or the server does, so what a client says in them is thrown away. The local custom_int and
// custom_str never leave the device.
var kept = fields(
	1,  // elem_array
	5,  // priority
	11, // is_online_msg
	14, // need_read_receipt
	15, // support_message_extension
	25, // cloud_custom_str
	26, // is_excluded_from_unread_count
	27, // group_at_user_array
	28, // is_forward_message
	31, // excluded_from_last_message
	32, // excluded_from_content_moderation
	33, // custom_moderation_configuration_id
	35, // disable_cloud_message_pre_hook
	36, // disable_cloud_message_post_hook
	37, // target_group_member_array
	38, // offline_push_config
	48, // excluded_from_muting
)

func fields(nums ...int) (set uint64) {
	for _, n := range nums {
		set |= 1 << n
	}
	return set
}

const (
	platformField = 9
	// The platforms above this are Tidings' own; TIM programs know none of them.
	lastTIMPlatform = im.Platform_PLATFORM_SIMULATOR
)

// content is a message that passed the check.
type content struct {
	// body is what is stored: the kept fields, and the sender's platform. hash is that of the kept fields alone.
	body      []byte
	hash      uint64
	countable bool
	online    bool
	// noHook says that the before-hook is not asked.
	noHook bool
}

var hashTable = crc64.MakeTable(crc64.ECMA)

// checkMessage looks a message over in its wire form, without decoding it, and answers a copy of what is to be stored.
func checkMessage(msg []byte, platform im.Platform) (content, error) {
	if len(msg) > maxMerger {
		return content{}, im.Errorf(im.CodeMessageSize, "the message has %d bytes, more than %d", len(msg), maxMerger)
	}
	out := content{body: make([]byte, 0, len(msg)+2), countable: true}
	elems, size, most := 0, 0, maxBody
	for rest := msg; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return content{}, malformed("message")
		}
		m := protowire.ConsumeFieldValue(num, typ, rest[n:])
		if m < 0 {
			return content{}, malformed("message")
		}
		field, value := rest[:n+m], rest[n:n+m]
		rest = rest[n+m:]
		if num >= 64 || kept&(1<<num) == 0 {
			continue
		}
		switch typ {
		case protowire.BytesType:
			value, _ = protowire.ConsumeBytes(value)
			switch num {
			case 1:
				elems++
				n, merger, err := checkElem(value)
				if err != nil {
					return content{}, err
				}
				size += n
				if merger {
					most = maxMerger
				}
			case 38:
				var o im.OfflinePushConfig
				if o.UnmarshalVT(value) != nil {
					return content{}, malformed("message_offline_push_config")
				}
			default:
				if !utf8.Valid(value) {
					return content{}, im.Errorf(im.CodeInvalidParameters, "a text of the message is not UTF-8")
				}
			}
			if isNumber(num) {
				return content{}, malformed("message")
			}
		case protowire.VarintType:
			if !isNumber(num) {
				return content{}, malformed("message")
			}
			v, _ := protowire.ConsumeVarint(value)
			switch num {
			case 11:
				out.online = v != 0
			case 26:
				out.countable = v == 0
			case 35:
				out.noHook = v != 0
			}
		default:
			return content{}, malformed("message")
		}
		out.body = append(out.body, field...)
	}
	switch {
	case elems == 0:
		return content{}, im.Errorf(im.CodeInvalidParameters, "message_elem_array is empty")
	case elems > maxElems:
		return content{}, im.Errorf(im.CodeInvalidParameters, "message_elem_array has %d elements, more than %d", elems, maxElems)
	case size > maxContent:
		return content{}, im.Errorf(im.CodeMessageSize, "the message's content has %d bytes, more than %d", size, maxContent)
	case len(out.body) > most:
		return content{}, im.Errorf(im.CodeMessageSize, "the message has %d bytes, more than %d", len(out.body), most)
	}
	if out.online {
		out.countable = false
	}
	out.hash = crc64.Checksum(out.body, hashTable)
	if platform <= lastTIMPlatform {
		out.body = appendUint(out.body, platformField, uint64(platform))
	}
	return out, nil
}

// isNumber says whether a kept field is a varint on the wire.
func isNumber(num protowire.Number) bool {
	switch num {
	case 1, 25, 27, 33, 37, 38:
		return false
	}
	return true
}

func malformed(what string) error {
	return im.Errorf(im.CodeInvalidParameters, "%s is malformed", what)
}

// elemBodies are the element types that may be sent, each with the number of its body in im.Elem.
var elemBodies = []struct {
	typ  im.ElemType
	body protowire.Number
}{
	{im.ElemType_ELEM_TYPE_TEXT, 2},
	{im.ElemType_ELEM_TYPE_CUSTOM, 3},
	{im.ElemType_ELEM_TYPE_FACE, 4},
	{im.ElemType_ELEM_TYPE_LOCATION, 5},
	{im.ElemType_ELEM_TYPE_MERGER, 6},
}

// checkElem answers how many bytes of content an element has, and whether it is a merger, whose bytes are bounded otherwise.
func checkElem(elem []byte) (size int, merger bool, err error) {
	typ, bodies, body := im.ElemType(0), 0, []byte(nil)
	num := protowire.Number(0)
	for rest := elem; len(rest) > 0; {
		f, t, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return 0, false, malformed("an element")
		}
		m := protowire.ConsumeFieldValue(f, t, rest[n:])
		if m < 0 {
			return 0, false, malformed("an element")
		}
		switch {
		case f == 1 && t == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(rest[n:])
			typ = im.ElemType(v)
		case f >= 2 && f <= 6 && t == protowire.BytesType:
			bodies++
			num = f
			body, _ = protowire.ConsumeBytes(rest[n:])
		case f <= 6 || f == 15:
			return 0, false, malformed("an element")
		}
		rest = rest[n+m:]
	}
	i := slices.IndexFunc(elemBodies, func(e struct {
		typ  im.ElemType
		body protowire.Number
	}) bool {
		return e.typ == typ
	})
	if i < 0 {
		return 0, false, im.Errorf(im.CodeInvalidParameters, "elem_type %d cannot be sent", typ)
	}
	if bodies != 1 || num != elemBodies[i].body {
		return 0, false, im.Errorf(im.CodeInvalidParameters, "an element of elem_type %d does not have the body of that type", typ)
	}
	if typ == im.ElemType_ELEM_TYPE_MERGER {
		return 0, true, checkMerger(body)
	}
	size, err = checkBody(typ, body)
	return size, false, err
}

// checkMerger decodes a merger, unlike other elements: there are few of them.
func checkMerger(body []byte) error {
	var m im.MergerElem
	if proto.Unmarshal(body, &m) != nil { // this one looks at UTF-8, too
		return malformed("a merger")
	}
	switch {
	case m.CompatibleText == "":
		return im.Errorf(im.CodeInvalidParameters, "merge_elem_compatible_text is empty")
	case len(m.AbstractArray) > maxAbstract:
		return im.Errorf(im.CodeInvalidParameters, "merge_elem_abstract_array has %d lines, more than %d", len(m.AbstractArray), maxAbstract)
	}
	return checkLayer(&m, 1)
}

func checkLayer(m *im.MergerElem, layer int) error {
	switch {
	case layer > maxLayers:
		return im.Errorf(im.CodeMergerLayers, "the merged messages lie more than %d deep in each other", maxLayers)
	case len(m.MessageArray) > maxMerged:
		return im.Errorf(im.CodeInvalidParameters, "merge_elem_message_array has %d messages, more than %d", len(m.MessageArray), maxMerged)
	}
	for _, inner := range m.MessageArray {
		for _, e := range inner.ElemArray {
			if in := e.GetMerger(); in != nil {
				if err := checkLayer(in, layer+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkBody answers how many bytes the texts of an element's body have.
func checkBody(typ im.ElemType, body []byte) (int, error) {
	size := 0
	for len(body) > 0 {
		f, t, n := protowire.ConsumeTag(body)
		if n < 0 {
			return 0, malformed("an element")
		}
		m := protowire.ConsumeFieldValue(f, t, body[n:])
		if m < 0 || t != bodyType(typ, f) {
			return 0, malformed("an element")
		}
		if t == protowire.BytesType {
			text, _ := protowire.ConsumeBytes(body[n:])
			if !utf8.Valid(text) {
				return 0, im.Errorf(im.CodeInvalidParameters, "a text of the message is not UTF-8")
			}
			size += len(text)
		}
		body = body[n+m:]
	}
	return size, nil
}

// bodyType is the wire type of a field of an element's body. All are texts but two.
func bodyType(typ im.ElemType, f protowire.Number) protowire.Type {
	switch {
	case typ == im.ElemType_ELEM_TYPE_FACE && f == 1:
		return protowire.VarintType
	case typ == im.ElemType_ELEM_TYPE_LOCATION && f > 1:
		return protowire.Fixed64Type
	}
	return protowire.BytesType
}
