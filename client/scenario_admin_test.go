package client_test

import "testing"

// operator is the operator's side of a scenario: admin calls and the webhook's receiver.
type operator struct{}

func newOperator(t *testing.T, s *stage) *operator { return &operator{} }

func (o *operator) settle() {}

func (o *operator) do(verb string, args []string) string { return "not yet" }

func (o *operator) hook(args []string) string { return "not yet" }
