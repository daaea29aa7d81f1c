package rest

import (
	"errors"

	"github.com/tidings-im/tidings/im"
	"github.com/tidings-im/tidings/internal/chat"
)

const codeNoSuchUser = 70107

// accountImport makes an account. Its name and picture are accepted but not kept.
func (a *API) accountImport(c *call, r *accountImportRequest) error { return a.importOne(c, r.UserID) }

func (a *API) importOne(c *call, user string) error {
	return recode(a.chat.Import(c.Context(), user), im.CodeInvalidUserID, im.CodeBadRequest)
}

func (a *API) multiaccountImport(c *call, r *multiaccountImportRequest) (*multiaccountImportReply, error) {
	users := r.Accounts
	if r.AccountList != nil {
		users = nil
		for _, item := range r.AccountList {
			users = append(users, item.UserID)
		}
	}
	switch {
	case users == nil && r.AccountList == nil:
		return nil, im.Errorf(im.CodeBadRequest, "AccountList is missing")
	case len(users) == 0:
		return nil, im.Errorf(im.CodeBadRequest, "no account is named")
	}
	out := &multiaccountImportReply{}
	for _, user := range users {
		switch err := a.importOne(c, user); {
		case im.CodeOf(err) != 0:
			out.FailAccounts = append(out.FailAccounts, user)
		case err != nil:
			return nil, err
		}
	}
	return out, nil
}

func (a *API) accountCheck(c *call, r *accountCheckRequest) (*accountCheckReply, error) {
	out := &accountCheckReply{}
	for _, item := range r.CheckItem {
		there, err := a.chat.Exists(c.Context(), item.UserID)
		if err != nil {
			return nil, err
		}
		status := "NotImported"
		if there {
			status = "Imported"
		}
		out.ResultItem = append(out.ResultItem, accountCheckReplyResultItem{UserID: item.UserID, AccountStatus: status})
	}
	return out, nil
}

// kick replies when every ticket that was signed before the call is void, and every one that is signed after the reply is good.
func (a *API) kick(c *call, r *kickRequest) error {
	err := a.chat.Kick(c.Context(), r.UserID, "an operator ended the session")
	if errors.Is(err, chat.ErrNotFound) {
		return im.Errorf(codeNoSuchUser, "there is no user %q", r.UserID)
	}
	return err
}
