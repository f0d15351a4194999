package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"slipway/config/secret"
	"slipway/plugin/autobuild"
)

// people is the number of people besides the viewers, and reposOfPerson the number of repositories that each may read.
const (
	people        = 100
	reposOfPerson = 20
)

// saveBase stores the rows that a few calls of the store make: the provider, an account, the viewers with sessions,
// and a registry credential.
func (d *database) saveBase(ctx context.Context, at history) (err error) {
	s, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	_, err = s.SaveProvider(ctx, autobuild.Provider{
		ID: providerID, Kind: autobuild.Cloud, Name: "bitbucket-cloud", WebURL: closedPort, APIURL: closedPort,
		ClientID: "client", ClientSecret: secret.New("client secret"),
	})
	if err != nil {
		return err
	}
	_, err = s.SaveAccount(ctx, autobuild.Account{
		ID: accountID, ProviderID: providerID, Kind: autobuild.AccountWorkspaceToken, Name: "builds",
		Workspace: "team-000", AccessToken: secret.New("token"), LinkedAt: at.now,
	})
	if err != nil {
		return err
	}
	_, err = s.SaveRegistry(ctx, autobuild.Registry{
		ID:        registryID,
		Host:      "registry.example.com",
		Username:  "robot",
		Password:  secret.New("password"),
		CheckedAt: at.now,
	})
	if err != nil {
		return err
	}
	for name, cookie := range viewers() {
		u := autobuild.User{ID: name, ProviderID: providerID, RemoteID: name, Name: name, Role: autobuild.RoleNone}
		if name == administrator {
			u.Role = autobuild.RoleAdmin
		}
		if _, err := s.SaveUser(ctx, u); err != nil {
			return err
		}
		err := s.CreateSession(ctx, autobuild.Session{
			ID: autobuild.TokenHash(cookie), UserID: name, CreatedAt: at.now, ExpiresAt: at.now.Add(24 * time.Hour),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// An inserter inserts rows in one transaction. It keeps the first error.
type inserter struct {
	ctx        context.Context //nolint:containedctx // of one function
	tx         *sql.Tx
	statements map[string]*sql.Stmt
	err        error
}

func (in *inserter) insert(statement string, args ...any) {
	if in.err != nil {
		return
	}
	prepared := in.statements[statement]
	if prepared == nil {
		if prepared, in.err = in.tx.PrepareContext(in.ctx, statement); in.err != nil {
			return
		}
		in.statements[statement] = prepared
	}
	_, in.err = prepared.ExecContext(in.ctx, args...)
}

// fillConfiguration inserts the automated builds with their repositories, rules, secrets, webhooks and refs, and the
// permissions of people.
func (d *database) fillConfiguration(ctx context.Context, db *sql.DB, s size, at history) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // has no effect after a commit
	in := &inserter{ctx: ctx, tx: tx, statements: map[string]*sql.Stmt{}}
	for n := range s.automatedBuilds {
		d.insertAutomatedBuild(in, n, at)
	}
	insertPermissions(in, s, at)
	if in.err != nil {
		return in.err
	}
	return tx.Commit()
}

func (d *database) insertAutomatedBuild(in *inserter, n int, at history) {
	now := at.now.UnixMilli()
	in.insert(`INSERT INTO repositories (provider_id, id, workspace_id, full_name, default_branch, private, admin)
		VALUES ($1, $2, $3, $4, 'main', TRUE, TRUE)`,
		providerID, repositoryID(n), fmt.Sprintf("{team-%d}", n/100), fullName(n))
	in.insert(`INSERT INTO automated_builds (id, account_id, provider_id, repository_id, image, engine, autotest,
		created_by, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 'embedded', 'off', 'Jo', $6, $6)`,
		automatedID(n), accountID, providerID, repositoryID(n), image(n), now)
	for i, source := range []string{"main", "/^v([0-9.]+)$/"} {
		in.insert(`INSERT INTO rules (automated_build_id, id, position, source_type, source, tags, context, dockerfile,
			autobuild, caching, build_args, platforms, paths)
			VALUES ($1, $2, $3, $4, $5, 'latest', '/', 'Dockerfile', TRUE, TRUE, 'null', 'null', 'null')`,
			automatedID(n), fmt.Sprintf("rule-%d", i+1), i, []string{"branch", "tag"}[i], source)
	}
	in.insert(`INSERT INTO environment (automated_build_id, name, value) VALUES ($1, 'NPM_TOKEN', $2)`,
		automatedID(n), d.seal(in, "environment/value/"+automatedID(n)+"/NPM_TOKEN"))
	in.insert(`INSERT INTO hooks (id, account_id, provider_id, repository_id, remote_id, secret, previous_secret,
		previous_until, state, problem, polled_at, delivered_at)
		VALUES ($1, $2, $3, $4, $5, $6, NULL, 0, 'active', '', $7, $7)`, hookID(n), accountID, providerID,
		repositoryID(n), fmt.Sprintf("{hook-%d}", n), d.seal(in, "hooks/secret/"+hookID(n)), now)
	for _, tag := range []string{"v1.0", "v1.1", "v1.2"} {
		in.insert(
			`INSERT INTO refs (provider_id, repository_id, kind, name, head, seq) VALUES ($1, $2, 'tag', $3, $4, 1)`,
			providerID,
			repositoryID(n),
			tag,
			fmt.Sprintf("%040x", n),
		)
	}
	for _, tag := range []string{"latest", "1.0", "1.1"} {
		in.insert(
			`INSERT INTO permits (image, tag, provider_id, repository_id, ref_kind, ref_name, seq, build_id, attempt,
			granted_at) VALUES ($1, $2, $3, $4, 'branch', 'main', 1, $5, 1, $6)`,
			image(n),
			tag,
			providerID,
			repositoryID(n),
			idOf("b", n+1),
			now,
		)
	}
}

// seal seals a value for a place.
func (d *database) seal(in *inserter, place string) (sealed []byte) {
	if in.err == nil {
		sealed, in.err = d.sealer.Seal(d.sealer.Newest().ID, place, secret.New("a secret of this row"))
	}
	return sealed
}

func insertPermissions(in *inserter, s size, at history) {
	for n := range people {
		in.insert(`INSERT INTO users (id, provider_id, remote_id, name, role, created_at, had_right, signed_in_at)
			VALUES ($1, $2, $1, $3, 'none', $4, TRUE, $4)`, userID(n), providerID, fmt.Sprint("person ", n),
			at.now.UnixMilli())
		for i := range min(reposOfPerson, s.automatedBuilds) {
			insertPermission(in, userID(n), (n*37+i)%s.automatedBuilds, at)
		}
	}
	for n := range s.automatedBuilds {
		insertPermission(in, readerOfAll, n, at)
	}
	for i := range min(fewRepos, s.automatedBuilds) {
		insertPermission(in, readerOfFew, s.automatedBuilds-1-i, at)
	}
}

func insertPermission(in *inserter, user string, n int, at history) {
	in.insert(`INSERT INTO permissions (user_id, provider_id, repository_id, permission, checked_at)
		VALUES ($1, $2, $3, 'read', $4)`, user, providerID, repositoryID(n), at.now.UnixMilli())
}

// refreshPermissions makes all permissions new, so that the gateway does not read them at its provider.
func (d *database) refreshPermissions(ctx context.Context) (err error) {
	db, err := d.connectBeside(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	now := time.Now().UnixMilli()
	_, err = db.ExecContext(ctx, `UPDATE permissions SET checked_at = $1`, now)
	if err == nil {
		_, err = db.ExecContext(ctx, `UPDATE users SET permissions_at = $1`, now)
	}
	return err
}
