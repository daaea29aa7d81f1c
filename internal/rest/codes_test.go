package rest

// Codes of fields, from the table of the calls.
const (
	codeBadSeq   = 90004
	codeNoRandom = 90005
	codeBadTime  = 90006
	codeBadPush  = 90043
	codeTooMany  = 70206
)
