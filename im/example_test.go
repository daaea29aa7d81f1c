package im_test

import (
	"errors"
	"fmt"

	"github.com/tidings-im/tidings/im"
)

// A message is made from its content and read by its elements.
func ExampleText() {
	m := im.Text("hello")
	fmt.Println(m.ElemArray[0].GetText().GetContent())
	// Output: hello
}

// TIM JSON is what programs of the C API read and write.
func ExampleFromJSON() {
	m := &im.Message{}
	err := im.FromJSON(`{"message_elem_array":[{"elem_type":0,"text_elem_content":"hello"}]}`, m)
	fmt.Println(m.ElemArray[0].GetText().GetContent(), err)
	err = im.FromJSON(`{"message_elem_array":[{"elem_type":"text"}]}`, m)
	fmt.Println(err)
	// Output:
	// hello <nil>
	// JSON at /message_elem_array/0/elem_type: want an integer, found a string
}

// Errors are distinguished by their codes.
func ExampleError() {
	var err error = im.Errorf(im.CodeUnknownReceiver, "there is no user %q", "bob")
	fmt.Println(errors.Is(err, im.ErrUnknownReceiver), errors.Is(err, im.ErrNotLoggedIn))
	// Output: true false
}

// CodeOf returns the code of an error, however deep it is wrapped.
func ExampleCodeOf() {
	err := fmt.Errorf("greeting bob: %w", im.ErrUnknownReceiver)
	fmt.Println(im.CodeOf(err), im.CodeOf(nil), im.CodeOf(errors.New("no code")))
	// Output: 20003 0 0
}

// A log does not show the texts that an error quotes.
func ExampleHideQuoted() {
	fmt.Println(im.HideQuoted(`there is no user "bob \"the\" builder\\" in "x`))
	// Output: there is no user "…" in "…"
}
