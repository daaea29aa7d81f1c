package im

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The parts of the checks of requests, which are generated from the option max in api/. An error names the field.

func checkText(field, s string, most int) *Error {
	if err := checkSize(field, len(s), most); err != nil {
		return err
	}
	if !utf8.ValidString(s) {
		return Errorf(CodeInvalidParameters, "%s is not UTF-8", field)
	}
	return nil
}

func checkSize(field string, n, most int) *Error {
	if n > most {
		return Errorf(CodeInvalidParameters, "%s has %d bytes, more than %d", field, n, most)
	}
	return nil
}

func checkMessage(field string, n, most int) *Error {
	if n > most {
		return Errorf(CodeMessageSize, "%s has %d bytes, more than %d", field, n, most)
	}
	return nil
}

func checkItems(field string, n, most int) *Error {
	if n > most {
		return Errorf(CodeInvalidParameters, "%s has %d items, more than %d", field, n, most)
	}
	return nil
}

func checkNumber(field string, v, most uint64) *Error {
	if v > most {
		return Errorf(CodeInvalidParameters, "%s is %d, more than %d", field, v, most)
	}
	return nil
}

func checkSigned(field string, v, most int64) *Error {
	if v < 0 || v > most {
		return Errorf(CodeInvalidParameters, "%s is %d, and not 0 to %d", field, v, most)
	}
	return nil
}

// in adds to an error the field, and the place in a list, that contains the field named by the error.
func (e *Error) in(field string, i int) *Error {
	sep := "."
	if i >= 0 {
		field = fmt.Sprintf("%s[%d]", field, i)
		if e.Desc != "" && e.Desc[0] == ' ' {
			sep = ""
		}
	}
	e.Desc = field + sep + e.Desc
	return e
}

// plain keeps a nil *Error from becoming an error that is not nil.
func plain(err *Error) error {
	if err == nil {
		return nil
	}
	return err
}

// MaxDesc limits the text of an error that crosses the wire, in bytes.
const MaxDesc = 1024

// Shorten cuts a text to at most n bytes of UTF-8; invalid UTF-8 in it is replaced.
func Shorten(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	if utf8.ValidString(s) {
		return s
	}
	return Shorten(strings.ToValidUTF8(s, "?"), n)
}
