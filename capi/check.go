package main

import (
	"strings"

	"github.com/tidings-im/tidings/im"
)

// function is what the table says about one function.
type function struct {
	name     string
	class    class
	built    bool
	sets     int // of a setter: the callback type
	pages    int // the callback type, if it gets a page of a list and no code
	texts    []text
	json     jsonKind
	jsonAt   int // which text is JSON
	jsonCode int // the result for wrong JSON; 0: that is checked later
	nonEmpty bool
	keys     []string // that an object must have
	fail     string   // JSON of the callback when the call failed
}

// text describes the effect of NULL and "" for a text parameter.
type text struct {
	null, empty bool // they are accepted
	code        int8 // the result where they are not
}

var textOptional = text{null: true, empty: true}

// class is the state that a function needs.
type class int

const (
	classAny    class = iota
	classLocal        // a login that was tried
	classOnline       // a login
	classSync         // none, and there is no result callback
	classSetter
)

type jsonKind int

const (
	jsonNone jsonKind = iota
	jsonObject
	jsonArray
	jsonStrings
	jsonConv // not JSON: the id of a conversation with its kind, or only a kind
)

// checkJSON checks the JSON parameter as far as the function refuses it at once.
func (c *call) checkJSON() int {
	if c.json == jsonNone || c.jsonCode == resultOK {
		return resultOK
	}
	s := c.text[c.jsonAt]
	if s == "" { // and may be
		return resultOK
	}
	if c.built && !c.nonEmpty && len(c.keys) == 0 {
		return resultOK // its handler reads all of it
	}
	if !c.readable(s) {
		return c.refuse(c.jsonCode, "its JSON is not as it must be")
	}
	return resultOK
}

// unreadable returns the result for JSON that parse does not accept.
func (c *call) unreadable(err error) int {
	return c.refuse(c.jsonCode, err.Error())
}

func (c *call) readable(s string) bool {
	switch c.json {
	case jsonObject:
		have, err := im.KeysFromJSON(s)
		if err != nil || c.nonEmpty && len(have) == 0 {
			return false
		}
		for _, k := range c.keys {
			if !have[k] {
				return false
			}
		}
		return true
	case jsonArray:
		n, err := im.CountFromJSON(s)
		return err == nil && (n > 0 || !c.nonEmpty)
	case jsonStrings:
		list, err := im.StringsFromJSON(s)
		return err == nil && (len(list) > 0 || !c.nonEmpty)
	}
	if c.json == jsonConv {
		kind, id, one := strings.Cut(s, "_")
		return (kind == "c2c" || kind == "group") && (!one || id != "")
	}
	return true
}
