package client_test

import (
	"context"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/tidings-im/tidings/client"
	"github.com/tidings-im/tidings/im"
)

// argument returns a value for a parameter: one that makes sense, nothing, or a list with nothing in it.
func argument(r *rand.Rand, ctx context.Context, of reflect.Type) reflect.Value {
	way := r.IntN(3)
	switch {
	case of == reflect.TypeFor[context.Context]():
		return reflect.ValueOf(ctx)
	case of.Kind() == reflect.Func:
		return reflect.MakeFunc(of, func([]reflect.Value) []reflect.Value { return nil })
	case of == reflect.TypeFor[client.Conv]() && way > 0:
		return reflect.ValueOf(client.C2C("ben"))
	case of == reflect.TypeFor[*im.Message]() && way > 0:
		return reflect.ValueOf(textMessage("x"))
	case of.Kind() == reflect.String && way > 0:
		return reflect.ValueOf("any").Convert(of)
	case of.Kind() == reflect.Pointer && way > 0:
		return reflect.New(of.Elem())
	case of.Kind() == reflect.Slice && way > 0:
		return reflect.MakeSlice(of, 1, 1)
	}
	return reflect.Zero(of)
}

// Every call may be made with any arguments at any time, by many goroutines: nothing panics, and the client ends in order.
func TestEverythingAtOnce(t *testing.T) {
	inner := map[string]bool{"WaitQuiet": true, "Beat": true, "Trust": true, "Waiting": true, "Untold": true, "OnCommit": true, "Inside": true, "Reads": true, "OnEngine": true,
		"Arrived": true, "InsideSynced": true, "InsideLater": true, "FailCommits": true} // of export_test.go
	for round := range uint64(4) {
		f := newFake(t)
		benLog(f, 50, 10)
		log := &lines{}
		cfg := fakeConfig(t, f)
		cfg.Log = newLogger(log)
		d := dial(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // of a call that waits for a login
		subjects := []reflect.Value{reflect.ValueOf(d.Client), reflect.ValueOf(d.Friends()), reflect.ValueOf(d.Profiles())}
		var calls sync.WaitGroup
		for g := range uint64(8) {
			calls.Go(func() {
				r := rand.New(rand.NewPCG(round, g))
				for range 100 {
					v := subjects[r.IntN(len(subjects))]
					i := r.IntN(v.NumMethod())
					name := v.Type().Method(i).Name
					if inner[name] || name == "Close" && r.IntN(30) > 0 {
						continue
					}
					m := v.Method(i)
					args := make([]reflect.Value, m.Type().NumIn())
					for a := range args {
						args[a] = argument(r, ctx, m.Type().In(a))
					}
					func() {
						defer func() {
							if p := recover(); p != nil {
								t.Errorf("%s panics: %v", name, p)
							}
						}()
						m.Call(args)
					}()
				}
			})
		}
		calls.Wait()
		cancel()
		d.Close()
		if all := log.at("ERROR"); all != "" {
			t.Errorf("the log has %s", all)
		}
	}
}
