package im

import "google.golang.org/protobuf/encoding/protowire"

// The limits of a message.
const (
	// MaxElems, MaxMerged and MaxLayers limit the elements of a message, the messages of a merger, and how deep mergers may be nested; the two others
	// limit what all layers have together. They are those of the contract.
	MaxElems, MaxElemsInAll   = 100, 2000
	MaxMerged, MaxMergedInAll = 300, 1000
	MaxLayers                 = 100

	// MaxContent limits the bytes of the texts of all elements.
	MaxContent = 12 << 10
	// MaxBody limits the wire form of a message: the elements and everything that goes with them.
	MaxBody = 16 << 10
	// MaxMerger limits the wire form of a message that contains a merger: messages that were sent before, combined into one.
	MaxMerger = 256 << 10
	// maxAbstract limits the lines that summarize a merger.
	maxAbstract = 5
)

// elemBodies are the elements that may be sent: each type with the number of its body in Elem.
var elemBodies = map[ElemType]protowire.Number{
	ElemType_ELEM_TYPE_TEXT:     2,
	ElemType_ELEM_TYPE_CUSTOM:   3,
	ElemType_ELEM_TYPE_FACE:     4,
	ElemType_ELEM_TYPE_LOCATION: 5,
	ElemType_ELEM_TYPE_MERGER:   6,
	ElemType_ELEM_TYPE_IMAGE:    imageField,
	ElemType_ELEM_TYPE_SOUND:    soundField,
	ElemType_ELEM_TYPE_FILE:     fileField,
	ElemType_ELEM_TYPE_VIDEO:    videoField,
}

// CheckForm checks that every reader can decode a message in wire form and write it as JSON, in a limited amount of memory. The code for one that is
// too large is CodeMessageSize.
func CheckForm(msg []byte) (Weight, *Error) {
	if len(msg) > MaxMerger {
		return Weight{}, Errorf(CodeMessageSize, "the message has %d bytes, more than %d", len(msg), MaxMerger)
	}
	return checkWire(msg, shapeMessage)
}

// CheckMessage checks that a message in wire form may be sent: CheckForm, and the rules for its content. The SDK calls it before it sends, and the
// server before it stores.
func CheckMessage(msg []byte) (Weight, *Error) {
	weight, err := CheckForm(msg)
	if err != nil {
		return weight, err
	}
	elems, size, most := 0, 0, MaxBody
	err = eachField(msg, func(num protowire.Number, v []byte, _ uint64) *Error {
		if num != 1 {
			return nil
		}
		elems++
		n, merger, err := checkElem(v)
		if size += n; merger {
			most = MaxMerger
		}
		return err
	})
	switch {
	case err != nil:
	case elems == 0:
		err = Errorf(CodeInvalidParameters, "message_elem_array is empty")
	case size > MaxContent:
		err = Errorf(CodeMessageSize, "the message's content has %d bytes, more than %d", size, MaxContent)
	case len(msg) > most:
		err = Errorf(CodeMessageSize, "the message has %d bytes, more than %d", len(msg), most)
	}
	return weight, err
}

// checkElem checks an element that is known to be well formed. It returns how many bytes of texts the element has, and whether it is a merger, whose
// bytes have other limits.
func checkElem(elem []byte) (size int, merger bool, err *Error) {
	var typ ElemType
	var num protowire.Number
	var body []byte
	if err := eachField(elem, func(f protowire.Number, v []byte, n uint64) *Error {
		switch {
		case f == 1:
			typ = ElemType(n)
		case f == 15:
			return Errorf(CodeInvalidParameters, "an element is raw")
		case f <= videoField:
			num, body = f, v
		}
		return nil
	}); err != nil {
		return 0, false, err
	}
	want, ok := elemBodies[typ]
	switch {
	case !ok:
		return 0, false, Errorf(CodeInvalidParameters, "elem_type %d cannot be sent", typ)
	case num != want:
		return 0, false, Errorf(CodeInvalidParameters, "an element of elem_type %d does not have the body of that type", typ)
	case typ == ElemType_ELEM_TYPE_MERGER:
		return 0, true, checkMerger(body)
	}
	err = eachField(body, func(_ protowire.Number, v []byte, _ uint64) *Error {
		size += len(v)
		return nil
	})
	return size, false, err
}

func checkMerger(body []byte) *Error {
	lines, compatible := 0, false
	err := eachField(body, func(num protowire.Number, v []byte, _ uint64) *Error {
		switch num {
		case 2:
			lines++
		case 3:
			compatible = len(v) > 0
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !compatible:
		return Errorf(CodeInvalidParameters, "merge_elem_compatible_text is empty")
	case lines > maxAbstract:
		return Errorf(CodeInvalidParameters, "merge_elem_abstract_array has %d lines, more than %d", lines, maxAbstract)
	}
	return nil
}

// eachField calls fn for the fields of a message in wire form, with the bytes of those that have a length and the number of varints.
func eachField(b []byte, fn func(num protowire.Number, v []byte, n uint64) *Error) *Error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return Errorf(CodeInvalidParameters, "the message is malformed")
		}
		b = b[n:]
		var v []byte
		var number uint64
		switch typ {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return Errorf(CodeInvalidParameters, "the message is malformed")
		}
		if err := fn(num, v, number); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// Aside reports whether a message in wire form has excluded_from_last_message: the conversation's last message is then the one before it.
func Aside(msg []byte) (aside bool) {
	eachField(msg, func(num protowire.Number, _ []byte, n uint64) *Error {
		if num == asideField {
			aside = n != 0
		}
		return nil
	})
	return aside
}

// asideField is the number of excluded_from_last_message.
const asideField = 31

// JSONSize returns roughly how many bytes the TIM JSON of a message has: most of it is the same for every message.
func JSONSize(m *Message) int {
	size := 2 * m.SizeVT()
	var count func(m *Message)
	count = func(m *Message) {
		size += 1700
		for _, e := range m.GetElemArray() {
			size += 100
			for _, inner := range e.GetMerger().GetMessageArray() {
				count(inner)
			}
		}
	}
	count(m)
	return size
}
