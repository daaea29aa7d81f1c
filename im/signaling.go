package im

// Signaling reads what a message says of an invitation: an invite, a cancel, an accept, a reject or a timeout. It is nil for any other message. TIM's SDKs
// signal by ordinary messages of one custom element, whose data is a JSON object.
func Signaling(m *Message) *SignalingInfo {
	for _, e := range m.GetElemArray() {
		s := signal{info: &SignalingInfo{}}
		err := readAll(e.GetCustom().GetData(), func(r *JSONReader) error { return readObject(r, &s) })
		if err == nil && s.info.InviteId != "" && s.info.ActionType != 0 {
			return s.info
		}
	}
	return nil
}

// signal reads the JSON object; other keys in it are the program's.
type signal struct{ info *SignalingInfo }

func (s *signal) parseTIMKey(r *JSONReader, key []byte) (err error) {
	switch string(key) {
	case "inviteID":
		s.info.InviteId, err = readString(r)
	case "groupID":
		s.info.GroupId, err = readString(r)
	case "inviter":
		s.info.Inviter, err = readString(r)
	case "inviteeList":
		s.info.InviteeList, err = readArray(r, readString)
	case "data":
		s.info.Data, err = readString(r)
	case "actionType":
		s.info.ActionType, err = readInt[int32](r)
	case "timeout":
		s.info.Timeout, err = readInt[int32](r)
	default:
		err = r.skip()
	}
	return err
}
