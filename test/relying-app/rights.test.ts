import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { API, idJag, OTHER_API, ras, redeemed, refused, verify } from './paperclip.ts'

test('TV-40: a scope wider than the claim is narrowed to it, in the order asked (IJ-57)', async () => {
  const cases: [claim: unknown, asked: string | undefined, granted: string[]][] = [
    ['docs.read docs.list', 'docs.list docs.write docs.read', ['docs.list', 'docs.read']],
    ['docs.read docs.list', 'docs.list', ['docs.list']],
    ['docs.read docs.list', undefined, ['docs.read', 'docs.list']],
    ['docs.read docs.list', '', ['docs.read', 'docs.list']],
    [undefined, undefined, []],
    [undefined, '', []],
  ]
  for (const [scope, asked, granted] of cases) {
    const { scopes } = await redeemed(idJag({ scope }), ras({ asked: { scope: asked } }))
    assert.deepEqual(scopes, granted)
  }
})

test('TV-40: nothing left, or a scope that is none, is invalid_scope', async () => {
  for (const [scope, asked] of [
    ['docs.read', 'docs.write'],
    ['docs.read', 'docs.rea'],
    ['docs.read', 'DOCS.READ'],
    ['docs.read', 'docs.read  docs.list'],
    ['docs.read', ' docs.read'],
    [undefined, 'docs.read'],
  ] as const) {
    const refusal = await refused(idJag({ scope }), ras({ asked: { scope: asked } }))
    assert.deepEqual([refusal.status, refusal.error], [400, 'invalid_scope'], `${scope}, ${asked}`)
  }
})

test('a scope claim that is malformed grants nothing', async () => {
  for (const scope of [
    '',
    ' docs.read',
    'docs.read  docs.list',
    ['docs.read'],
    1,
    null,
    true,
    {},
  ]) {
    const refusal = await refused(idJag({ scope }), ras())
    const { error, error_description } = refusal
    assert.deepEqual(
      [error, error_description],
      ['invalid_grant', 'The assertion has a malformed scope'],
    )
  }
})

test('TV-41: an access token is for resources that the ID-JAG has and that are ours (IJ-57)', async () => {
  const cases: [claim: unknown, asked: string[] | undefined, granted: string[]][] = [
    [API, undefined, [API]],
    [[API, OTHER_API], undefined, [API, OTHER_API]],
    [[API, OTHER_API], [], [API, OTHER_API]],
    [[API, OTHER_API], [''], [API, OTHER_API]],
    [[API, OTHER_API], [OTHER_API], [OTHER_API]],
    [
      [OTHER_API, API],
      [OTHER_API, API],
      [API, OTHER_API],
    ],
    [[API, 'https://api.scissors.example/'], undefined, [API]],
    ['HTTPS://API.paperclip.example', undefined, [API]],
    [API, ['https://api.paperclip.example'], [API]],
    [undefined, [API], [API]],
  ]
  for (const [resource, asked, granted] of cases) {
    const context = ras({ asked: { resource: asked } })
    const { resources } = await redeemed(idJag({ resource }), context)
    assert.deepEqual(resources, granted)
  }
})

test('TV-41: a resource beyond the claim is invalid_target, also beside a right one', async () => {
  for (const asked of [
    [OTHER_API],
    [API, OTHER_API],
    ['https://api.scissors.example/'],
    [`${API}v1`],
    ['api'],
  ]) {
    const context = ras({ asked: { resource: asked } })
    const refusal = await refused(idJag({ resource: API }), context)
    const description = 'The assertion is not for the resource that was asked for'
    const { status, error, error_description } = refusal
    assert.deepEqual([status, error, error_description], [400, 'invalid_target', description])
  }
})

test('an ID-JAG for resources of others alone is refused (IJ-57)', async () => {
  for (const resource of [
    'https://api.scissors.example/',
    `${API}v1`,
    [],
    [[API]],
    '',
    'api',
    null,
    1,
    { 0: API },
  ]) {
    const { error } = await refused(idJag({ resource }), ras())
    assert.equal(error, 'invalid_grant', JSON.stringify(resource))
  }
})

test('an own resource that is no URI is nobody', async () => {
  for (const profile of ['idjag', 'mcp-ema'] as const) {
    const context = ras({ profile, resources: ['api'], defaultResources: ['api'] })
    assert.equal((await refused(idJag({ resource: 'api' }), context)).error, 'invalid_grant')
  }
})

test('an ID-JAG that names no resource is for the defaults; mcp-ema has none of itself (OQ-07)', async () => {
  const of = (profile: 'idjag' | 'mcp-ema', defaultResources?: string[]) => {
    const { defaultResources: _, ...context } = ras({ profile })
    return { ...context, ...(defaultResources && { defaultResources }) }
  }
  const granted = (context: ReturnType<typeof of>) => redeemed(idJag(), context)
  assert.deepEqual((await granted(of('idjag'))).resources, [API, OTHER_API])
  assert.deepEqual((await granted(of('idjag', [OTHER_API]))).resources, [OTHER_API])
  assert.deepEqual((await granted(of('mcp-ema', [OTHER_API]))).resources, [OTHER_API])
  const { error } = await refused(idJag(), of('mcp-ema'))
  assert.equal(error, 'invalid_grant')
  await redeemed(idJag({ resource: API }), of('mcp-ema'))
})

test('what is granted is never more than was asked for, nor than the ID-JAG has', async () => {
  const scope = fc.constantFrom('docs.read', 'docs.write', 'docs.list', 'docs', 'x')
  const scopes = fc.option(fc.uniqueArray(scope, { minLength: 1 }), { nil: undefined })
  const target = fc.constantFrom(API, OTHER_API, 'https://api.scissors.example/')
  const resources = fc.option(fc.uniqueArray(target, { minLength: 1 }), { nil: undefined })
  let grants = 0
  await fc.assert(
    fc.asyncProperty(scopes, scopes, resources, resources, async (has, asks, names, targets) => {
      const token = idJag({ scope: has?.join(' '), resource: names })
      const asked = { scope: asks?.join(' '), resource: targets }
      const verdict = await verify(token, ras({ asked }))
      if (!verdict.ok) return
      assert.ok('scopes' in verdict)
      grants += 1
      const isIn = (list: readonly string[] | undefined) => (one: string) => list?.includes(one)
      assert.ok(verdict.scopes.every(isIn(has ?? [])))
      assert.ok(!asks || verdict.scopes.every(isIn(asks)))
      assert.ok(verdict.resources.every(isIn(names ?? [API])))
      assert.ok(!targets || verdict.resources.every(isIn(targets)))
      assert.ok(verdict.resources.length > 0 && (!asks || verdict.scopes.length > 0))
    }),
  )
  assert.ok(grants > 0)
})

test('IJ-58: a user who may do nothing here gets access_denied', async () => {
  const context = ras({ isEntitled: async ({ sub }) => sub === 'p_4kD9' })
  await redeemed(idJag(), context)
  const refusal = await refused(idJag({ sub: 'p_5', jti: 'second' }), context)
  assert.deepEqual([refusal.status, refusal.error], [400, 'access_denied'])
})
