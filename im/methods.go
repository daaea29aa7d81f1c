package im

// Msg is a body of a frame that can be written and read: any generated message.
type Msg interface {
	MarshalVT() ([]byte, error)
	UnmarshalVT([]byte) error
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
}

// Request is the body of a call. Check returns an *Error that names a field that exceeds its limit.
type Request interface {
	Msg
	Check() error
}

// MethodInfo describes what a call or push carries.
type MethodInfo struct {
	Name string
	// BeforeLogin: the call may be made on a connection without a session.
	BeforeLogin bool
	// Undecoded: the server's rules read the request's bytes themselves.
	Undecoded bool
	// MaxBody is how many bytes a request may have.
	MaxBody int
	request uint8
	// NewRequest returns an empty request to decode into; nil for a push.
	NewRequest func() Request
	// NewReply returns an empty reply, or the body of a push.
	NewReply func() Msg
}

// Info looks the method up. It reports false for a number that this version does not know.
func (m Method) Info() (MethodInfo, bool) {
	if m < 0 || int(m) >= len(methods) || methods[m].NewReply == nil {
		return MethodInfo{}, false
	}
	return methods[m], true
}
