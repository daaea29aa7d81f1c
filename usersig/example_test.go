package usersig_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidings-im/tidings/usersig"
)

func Example() {
	const appID, key = 1400000000, "the secret key of the app"
	now := time.Unix(1700000000, 0)

	ticket, err := usersig.Sign(appID, key, "alice", 24*time.Hour, now)
	if err != nil {
		panic(err)
	}

	t, err := usersig.Verify(appID, key, "alice", ticket, now)
	fmt.Println(t.UserID, t.Expires.UTC(), err)

	_, err = usersig.Verify(appID, key, "alice", ticket, now.Add(25*time.Hour))
	fmt.Println(errors.Is(err, usersig.ErrExpired), err)

	var e *usersig.Error
	_, err = usersig.Verify(appID, key, "bob", ticket, now)
	if errors.As(err, &e) {
		fmt.Println(e.Code)
	}
	// Output:
	// alice 2023-11-15 22:13:20 +0000 UTC <nil>
	// true usersig has expired (70001)
	// 70013
}
