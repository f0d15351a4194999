package accounts_test

import (
	"errors"
	"strings"
	"testing"

	"slipway/plugin/accounts"
	"slipway/plugin/autobuild"
)

// A new identity becomes a user without permissions. No account is stored.
func TestSignIn(t *testing.T) {
	e := newEnv(t)
	first, err := e.run(e.bob, "")
	if err != nil {
		t.Fatal(err)
	}
	if first.User.Role != autobuild.RoleNone {
		t.Errorf("user role: got %v, want %v", first.User.Role, autobuild.RoleNone)
	}
	if first.User.Name != "bob" {
		t.Errorf(`user name: got %q, want "bob"`, first.User.Name)
	}
	if first.User.RemoteID != e.bob.UUID {
		t.Errorf("remote ID: got %v, want %v", first.User.RemoteID, e.bob.UUID)
	}
	if !first.SignedIn {
		t.Error("signed in: got false, want true")
	}
	if first.Account.ID != "" {
		t.Errorf(`account ID: got %q, want ""`, first.Account.ID)
	}
	again, err := e.run(e.bob, "")
	if err != nil {
		t.Fatalf("sign in or link: got error %v, want none", err)
	}
	if again.User.ID != first.User.ID {
		t.Errorf("user ID: got %v, want %v", again.User.ID, first.User.ID)
	}
	if all, err := e.store.Accounts(t.Context()); err != nil {
		t.Fatalf("accounts: got error %v, want none", err)
	} else if len(all) != 0 {
		t.Errorf("number of rows: got %d, want 0 (%v)", len(all), all)
	}
}

// H8: signing in or linking again repairs a broken link and keeps the account.
func TestH8RelinkingResumes(t *testing.T) {
	for name, userID := range map[string]func(*env) string{
		"link again": func(e *env) string { return e.admin.ID },
		"sign in":    func(*env) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			before := e.linked()
			c := e.connect(before.ID)
			e.server.RevokeGrant(e.alice, e.consumer)
			if _, err := c.Repositories.Workspaces(t.Context()); !errors.Is(err, autobuild.ErrUnauthorized) {
				t.Fatalf("revoked: got error %v, want %v", err, autobuild.ErrUnauthorized)
			}
			broken := e.account(before.ID)
			if broken.State != autobuild.AccountBroken {
				t.Fatalf("state: got %v, want %v", broken.State, autobuild.AccountBroken)
			}
			if !strings.Contains(broken.Problem, "Link the account again") {
				t.Fatalf(`problem: got %q, want it to contain "Link the account again"`, broken.Problem)
			}
			if _, err := e.Connect(
				t.Context(),
				before.ID,
			); !errors.Is(err, autobuild.ErrUnauthorized) {
				t.Errorf("connect: got error %v, want %v", err, autobuild.ErrUnauthorized)
			} else if !strings.Contains(err.Error(), "alice") {
				t.Errorf(`connect: got %q, want it to contain "alice"`, err.Error())
			}
			done, err := e.run(e.alice, userID(e))
			if err != nil {
				t.Fatalf("sign in or link: got error %v, want none", err)
			}
			if done.Account.ID != before.ID {
				t.Fatalf("account ID: got %v, want %v", done.Account.ID, before.ID)
			}
			if done.Account.State != autobuild.AccountLinked {
				t.Fatalf("account state: got %v, want %v", done.Account.State, autobuild.AccountLinked)
			}
			if done.Account.Problem != "" {
				t.Fatalf(`account problem: got %q, want ""`, done.Account.Problem)
			}
			if _, err := c.Repositories.Workspaces(t.Context()); err != nil { // the earlier connection
				t.Error(err)
			}
		})
	}
}

func TestIdentityOfAnotherUser(t *testing.T) {
	e := newEnv(t)
	e.user(e.bob, autobuild.RoleAdmin)
	_, err := e.run(e.bob, e.admin.ID)
	if !errors.Is(err, accounts.ErrIdentityTaken) {
		t.Errorf("sign in or link: got error %v, want %v", err, accounts.ErrIdentityTaken)
	}
	if !errors.Is(err, autobuild.ErrConflict) {
		t.Errorf("sign in or link: got error %v, want %v", err, autobuild.ErrConflict)
	}
	if !strings.Contains(err.Error(), "bob") {
		t.Errorf(`sign in or link: got %q, want it to contain "bob"`, err.Error())
	}
	if all, err := e.store.Accounts(t.Context()); err != nil {
		t.Fatalf("accounts: got error %v, want none", err)
	} else if len(all) != 0 {
		t.Errorf("number of rows: got %d, want 0 (%v)", len(all), all)
	}
}

// An identity without sign-ins can be linked by one user only.
func TestSecondIdentity(t *testing.T) {
	e := newEnv(t)
	e.linked()
	robot := e.server.AddUser("robot")
	robot.SetPassword(e.secretOf("robot"))
	done, err := e.run(robot, e.admin.ID)
	if err != nil {
		t.Fatalf("sign in or link: got error %v, want none", err)
	}
	if done.User.RemoteID != e.alice.UUID {
		t.Fatalf("remote ID: got %v, want %v", done.User.RemoteID, e.alice.UUID)
	}
	if done.Account.RemoteID != robot.UUID {
		t.Fatalf("remote ID: got %v, want %v", done.Account.RemoteID, robot.UUID)
	}
	if done.Account.UserID != e.admin.ID {
		t.Fatalf("user ID: got %v, want %v", done.Account.UserID, e.admin.ID)
	}
	other := e.user(e.bob, autobuild.RoleAdmin)
	if _, err := e.run(robot, other.ID); !errors.Is(err, accounts.ErrIdentityTaken) {
		t.Errorf("sign in or link: got error %v, want ErrIdentityTaken", err)
	}
	signedIn, err := e.run(robot, "") // the robot has no permissions, and its link belongs to the administrator
	if err != nil {
		t.Fatalf("sign in or link: got error %v, want none", err)
	}
	if signedIn.Account.ID != "" {
		t.Errorf(`account ID: got %q, want ""`, signedIn.Account.ID)
	}
	if signedIn.User.Role != autobuild.RoleNone {
		t.Errorf("user role: got %v, want %v", signedIn.User.Role, autobuild.RoleNone)
	}
}

// A user who signed in before using the one-time token becomes the administrator by linking.
func TestFirstAdministratorWhoSignedInBefore(t *testing.T) {
	e := newEnv(t)
	before, err := e.run(e.alice, "")
	if err != nil {
		t.Fatal(err)
	}
	done, err := e.run(e.alice, e.admin.ID)
	if err != nil {
		t.Fatalf("sign in or link: got error %v, want none", err)
	}
	if !done.SignedIn {
		t.Error("signed in: got false, want true")
	}
	if done.User.ID != before.User.ID {
		t.Errorf("user ID: got %v, want %v", done.User.ID, before.User.ID)
	}
	if done.User.Role != autobuild.RoleAdmin {
		t.Errorf("user role: got %v, want %v", done.User.Role, autobuild.RoleAdmin)
	}
	if done.Account.UserID != before.User.ID {
		t.Errorf("user ID: got %v, want %v", done.Account.UserID, before.User.ID)
	}
}

func TestLinkOfAnUnknownUser(t *testing.T) {
	e := newEnv(t)
	if _, err := e.run(e.alice, "nobody"); !errors.Is(err, autobuild.ErrNotFound) {
		t.Errorf("sign in or link: got error %v, want ErrNotFound", err)
	}
}
