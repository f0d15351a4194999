// Makes the calls of a build service with npm's bitbucket, and checks the parsed answers. Its argument is
// the JSON that fakebitbucket prints. It prints one line per failure, and then the number of calls.
import bitbucketPackage from 'bitbucket'

const { Bitbucket } = bitbucketPackage
const world = JSON.parse(process.argv[2])
const client = new Bitbucket({ baseUrl: world.url + '/2.0', auth: { token: world.token }, notice: false })
const app = { workspace: 'acme', repo_slug: 'app' }
const pull = { ...app, pull_request_id: world.pull_request }
let calls = 0
let failures = 0

function fail(text) {
  failures++
  console.log(text)
}

function equal(name, got, want) {
  if (JSON.stringify(got) !== JSON.stringify(want)) {
    fail(`${name}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`)
  }
}

// succeed makes a call by name, and returns the parsed body.
async function succeed(name, params) {
  calls++
  const [group, method] = name.split('.')
  try {
    return (await client[group][method](params)).data
  } catch (error) {
    fail(`${name}: got error ${error.status} ${JSON.stringify(error.error ?? error.message)}, want none`)
    return { values: [] }
  }
}

// answered makes a call that Bitbucket answers with an error.
async function answered(name, params, status, message) {
  calls++
  const [group, method] = name.split('.')
  try {
    await client[group][method](params)
    fail(`${name}: got no error, want ${status}`)
  } catch (error) {
    equal(`${name}: status`, error.status, status)
    equal(`${name}: message`, error.error?.error?.message, message)
  }
}

// all returns the values of all pages of a list.
async function all(name, params) {
  let page = await succeed(name, params)
  const values = [...page.values]
  while (client.hasNextPage(page)) {
    calls++
    page = (await client.getNextPage(page)).data
    values.push(...page.values)
  }
  return values
}

async function accounts() {
  equal('user', (await succeed('user.get')).uuid, world.user)
  equal('other user', (await succeed('users.get', { selected_user: world.user })).account_status, 'active')
  await answered('users.get', { selected_user: 'alice' }, 404, 'alice')
  equal('emails', (await all('user.listEmails')).length, 1)
  equal('workspace', (await succeed('workspaces.getWorkspace', { workspace: 'acme' })).slug, 'acme')
  equal('members', (await all('workspaces.getMembersForWorkspace', { workspace: 'acme' })).length, 1)
  equal('projects', (await all('workspaces.getProjects', { workspace: 'acme' })).length, 1)
  equal('permissions', (await all('workspaces.listPermissions', { workspace: 'acme' }))[0].permission, 'owner')
  equal('permission', (await all('workspaces.listPermissionsForRepository', app))[0].permission, 'admin')
  const removed = 'CHANGE-2770 - Functionality has been deprecated'
  await answered('workspaces.getWorkspaces', {}, 410, removed)
  await answered('user.listPermissionsForRepos', {}, 410, removed)
  equal('repositories', (await all('repositories.list', { workspace: 'acme' })).length, 1)
  const repository = await succeed('repositories.get', app)
  equal('main branch', repository.mainbranch?.name, 'main')
  equal('microseconds', /\.\d{6}\+00:00$/.test(repository.created_on), true)
}

async function refs() {
  const names = (await all('refs.listTags', { ...app, sort: 'name', pagelen: 10 })).map(tag => tag.name)
  equal('tags', names, Array.from({ length: world.tags }, (_, i) => `v${i + 1}`))
  const found = await all('refs.listTags', { ...app, sort: 'name', q: 'name ~ "v2"', pagelen: 2 })
  equal('tags by name', found.map(tag => tag.name), ['v2', 'v20', 'v21', 'v22', 'v23', 'v24', 'v25'])
  await answered('refs.listTags', { ...app, q: 'name ~ "v2"', page: '1' }, 400, 'Invalid page')
  equal('branch', (await succeed('refs.getBranch', { ...app, name: 'topic/1' })).target?.hash, world.topic)
  equal('tag', (await succeed('refs.getTag', { ...app, name: 'v1' })).target?.hash, world.first)
  equal('refs', (await all('refs.list', { ...app, sort: 'name', pagelen: 20 })).length, world.tags + 2)
}

async function commits() {
  equal('commit', (await succeed('commits.get', { ...app, commit: world.second })).hash, world.second)
  await answered('commits.get', { ...app, commit: 'none' }, 404, 'Changeset not found.')
  equal('commits', (await all('commits.list', { ...app, pagelen: 1 })).map(c => c.hash), [world.second, world.first])
  equal('comments', await all('commits.listComments', { ...app, commit: world.first }), [])
  const spec = `${world.topic}..${world.first}`
  equal('changes', (await all('repositories.listDiffStats', { ...app, spec, pagelen: 1 })).length, 2)
  equal('diff', (await succeed('commits.getDiff', { ...app, spec })).includes("+print('topic')"), true)
  equal('patch', (await succeed('commits.getPatch', { ...app, spec: world.second })).includes('[PATCH] Second'), true)
}

async function sources() {
  const root = await all('source.read', { ...app, commit: world.second, path: '', pagelen: 1, max_depth: 2 })
  equal('source', root.map(entry => entry.path), ['docs', 'src', 'Dockerfile', 'docs/a.md', 'src/main.py'])
  const file = { ...app, commit: world.second, path: 'Dockerfile' }
  equal('file', await succeed('source.read', file), 'FROM scratch\n')
  equal('metadata', (await succeed('source.read', { ...file, format: 'meta' })).size, 13)
  equal('root', (await succeed('source.readRoot', app)).values.length, 3)
  await answered('source.read', { ...file, path: 'none' }, 404, 'No such file or directory: none')
}

async function webhooks() {
  const body = { description: 'ci', url: 'https://ci.example.com/hook', active: true, events: ['repo:push'], secret: 's' }
  const hook = await succeed('webhooks.create', { ...app, _body: body })
  equal('secret is set', hook.secret_set, true)
  for (const uid of [hook.uuid, hook.uuid?.replace(/[{}]/g, '')]) {
    equal('webhook', (await succeed('webhooks.get', { ...app, uid })).uuid, hook.uuid)
  }
  const changed = await succeed('webhooks.update', { ...app, uid: hook.uuid, _body: { ...body, description: 'new' } })
  equal('changed webhook', changed.description, 'new')
  equal('webhooks', (await all('webhooks.listForRepo', app)).length, 1)
  await succeed('webhooks.delete', { ...app, uid: hook.uuid })
  await answered('webhooks.delete', { ...app, uid: hook.uuid }, 404, 'app is not a valid hook')
}

async function statuses() {
  const at = { ...app, commit: world.second }
  const body = { key: 'slipway-1', state: 'INPROGRESS', url: 'https://ci.example.com/1', name: 'app' }
  equal('status', (await succeed('commitstatuses.createBuildStatus', { ...at, _body: body })).state, 'INPROGRESS')
  const done = { ...at, key: 'slipway-1', _body: { ...body, state: 'SUCCESSFUL' } }
  equal('changed status', (await succeed('commitstatuses.updateBuildStatus', done)).state, 'SUCCESSFUL')
  equal('stored status', (await succeed('commitstatuses.getBuildStatus', { ...at, key: 'slipway-1' })).key, 'slipway-1')
  equal('statuses', (await all('commitstatuses.list', at)).length, 1)
  const long = { ...at, _body: { ...body, key: 'k'.repeat(41) } }
  const message = 'key: Ensure this value has at most 40 characters (it has 41).'
  await answered('commitstatuses.createBuildStatus', long, 400, message)
}

async function pulls() {
  equal('pull requests', (await all('pullrequests.list', app)).map(p => p.id), [world.pull_request])
  equal('source', (await succeed('pullrequests.get', pull)).source?.commit?.hash, world.topic.slice(0, 12))
  equal('its commits', (await all('pullrequests.listCommits', pull)).map(c => c.hash), [world.topic])
  equal('its statuses', await all('pullrequests.listStatuses', pull), [])
  equal('its changes', (await succeed('pullrequests.getDiffStat', pull)).values?.length, 1)
  equal('its diff', (await succeed('pullrequests.getDiff', pull)).includes("+print('topic')"), true)
  const comment = await succeed('pullrequests.createComment', { ...pull, _body: { content: { raw: 'hello' } } })
  equal('comments', (await all('pullrequests.listComments', pull)).map(c => c.content.raw), ['hello'])
  await succeed('pullrequests.deleteComment', { ...pull, comment_id: comment.id })
}

// others makes every other reading call of the client. Each is answered as the API does, and never with a
// server error. 501 means that the credential suffices for a call that the server does not serve.
async function others() {
  const params = {
    ...pull, selected_user: world.user, commit: world.first, spec: world.first, path: 'Dockerfile', name: 'main',
    project_key: 'PROJ', member: world.user, revision: 'main', subject_type: 'repository',
  }
  for (const group of ['repositories', 'pullrequests', 'workspaces', 'users', 'user', 'commits', 'refs', 'webhooks']) {
    for (const method of Object.keys(client[group]).filter(name => /^(get|list|read)/.test(name))) {
      calls++
      const error = await failure(group, method, { ...params })
      if (error && ![400, 401, 403, 404, 410, 501].includes(error.status)) {
        fail(`${group}.${method}: got status ${error.status}, want one of the API`)
      }
      if (error && error.status !== 404 && error.error?.type !== 'error') {
        fail(`${group}.${method}: got ${error.status} ${error.message}, want a JSON error`)
      }
    }
  }
}

// failure makes a call, and returns its error, if any. It adds the parameters that the client requires.
async function failure(group, method, params) {
  for (;;) {
    try {
      await client[group][method](params)
      return null
    } catch (error) {
      const missing = /parameter required: '(.*)'/.exec(error.message)
      if (!missing || missing[1] in params) return error
      params[missing[1]] = 1
    }
  }
}

for (const part of [accounts, refs, commits, sources, webhooks, statuses, pulls, others]) {
  try {
    await part()
  } catch (error) {
    fail(`${part.name}: got ${error.stack}, want no exception`)
  }
}
console.log(`${calls} calls, ${failures} failures`)
process.exitCode = failures ? 1 : 0
