package rest

import (
	"errors"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

const (
	codeNoSuchUser = 70107
	codeTooMany    = 70206
	// maxBatch is how many accounts a call may name.
	maxBatch = 100
)

// accountImport makes an account. Its name and picture are read and not kept: there are no profiles yet.
func (a *API) accountImport(c *call) (reply, error) {
	user := c.text(im.CodeBadRequest, "UserID", "Identifier")
	var ignored string
	c.read(&ignored, im.CodeBadRequest, "Nick")
	c.read(&ignored, im.CodeBadRequest, "FaceUrl")
	if c.err != nil {
		return nil, c.err
	}
	return nil, a.importOne(c, user)
}

func (a *API) importOne(c *call, user string) error {
	err := a.chat.Import(c.Context(), user)
	var e *im.Error
	if errors.As(err, &e) && e.Code == im.CodeInvalidUserID {
		return im.Errorf(im.CodeBadRequest, "%s", e.Desc)
	}
	return err
}

func (a *API) multiImport(c *call) (reply, error) {
	var users []string
	var list []struct{ UserID string }
	switch {
	case c.read(&list, im.CodeBadRequest, "AccountList"):
		for _, item := range list {
			users = append(users, item.UserID)
		}
	case !c.read(&users, im.CodeBadRequest, "Accounts"):
		return nil, im.Errorf(im.CodeBadRequest, "AccountList is missing")
	}
	if err := batch(c, len(users)); err != nil {
		return nil, err
	}
	failed := []string{}
	for _, user := range users {
		err := a.importOne(c, user)
		var e *im.Error
		switch {
		case errors.As(err, &e):
			failed = append(failed, user)
		case err != nil:
			return nil, err
		}
	}
	return reply{"FailAccounts": failed}, nil
}

func batch(c *call, n int) error {
	switch {
	case c.err != nil:
		return c.err
	case n == 0:
		return im.Errorf(im.CodeBadRequest, "no account is named")
	case n > maxBatch:
		return im.Errorf(codeTooMany, "%d accounts are named, more than %d", n, maxBatch)
	}
	return nil
}

func (a *API) accountCheck(c *call) (reply, error) {
	var items []struct{ UserID string }
	c.read(&items, im.CodeBadRequest, "CheckItem")
	if err := batch(c, len(items)); err != nil {
		return nil, err
	}
	type result struct {
		UserID        string
		ResultCode    int
		ResultInfo    string
		AccountStatus string
	}
	out := make([]result, len(items))
	for i, item := range items {
		there, err := a.chat.Exists(c.Context(), item.UserID)
		if err != nil {
			return nil, err
		}
		out[i] = result{UserID: item.UserID, AccountStatus: "NotImported"}
		if there {
			out[i].AccountStatus = "Imported"
		}
	}
	return reply{"ResultItem": out}, nil
}

// kick answers when no ticket that was signed before the call is good any more, and one that is signed after the answer is.
func (a *API) kick(c *call) (reply, error) {
	user := c.text(im.CodeBadRequest, "UserID", "Identifier")
	if c.err != nil {
		return nil, c.err
	}
	err := a.chat.Kick(c.Context(), user, "an operator ended the session")
	if errors.Is(err, chat.ErrNotFound) {
		return nil, im.Errorf(codeNoSuchUser, "there is no user %q", user)
	}
	return nil, err
}
