package im

// Text returns a message with one text element.
func Text(s string) *Message {
	return message(&Elem{ElemType: ElemType_ELEM_TYPE_TEXT, Body: &Elem_Text{Text: &TextElem{Content: s}}})
}

// Custom returns a message with one custom element: data is the application's own, desc is for people, for instance in a list of conversations, and
// ext may have more. Bytes that are not UTF-8 must be encoded, for instance in base64.
func Custom(data, desc, ext string) *Message {
	return message(&Elem{ElemType: ElemType_ELEM_TYPE_CUSTOM, Body: &Elem_Custom{Custom: &CustomElem{Data: data, Desc: desc, Ext: ext}}})
}

// Face returns a message with one face element: an emoticon of the application's, by its number, and any data of the application.
func Face(index int32, buf string) *Message {
	return message(&Elem{ElemType: ElemType_ELEM_TYPE_FACE, Body: &Elem_Face{Face: &FaceElem{Index: index, Buf: buf}}})
}

// Location returns a message with one location element, in degrees.
func Location(desc string, longitude, latitude float64) *Message {
	return message(&Elem{ElemType: ElemType_ELEM_TYPE_LOCATION, Body: &Elem_Location{Location: &LocationElem{Desc: desc, Longitude: longitude, Latitude: latitude}}})
}

// ValidUserID reports whether id can be a user id: 1 to 32 bytes of printable ASCII without blanks.
func ValidUserID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= 32
}

func message(elems ...*Elem) *Message { return &Message{ElemArray: elems} }

// TextOf returns the content of a message's text elements, joined; empty if it has none.
func TextOf(m *Message) string {
	var s string
	for _, e := range m.GetElemArray() {
		s += e.GetText().GetContent()
	}
	return s
}
