// Rich authorization requests at the exchange: asked, shown, narrowed, granted (TX-15, RFC 9396).
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { decodeJwt } from 'jose'
import { type Answer, openHouse } from '../support/house.ts'
import { assertRefusal } from '../support/refusals.ts'
import { entitle, RESOURCE, type Story, tellStory } from '../support/story.ts'

const house = await openHouse({ after })
const FILES = 'https://files.paperclip.example/'

/** A relying app whose API knows payments and whose files know transfers. */
const audience = {
  resources: [
    {
      identifier: RESOURCE,
      scopes: [{ name: 'docs.read' }],
      authorization_details_types: [
        { type: 'payment', description: 'Pay in your name' },
        'account',
      ],
    },
    { identifier: FILES, scopes: [], authorization_details_types: ['transfer'] },
  ],
}
/** Told up to where the user has signed in. */
async function newStory(entitlement: object = {}) {
  const of = { audience, entitlement: { scopes: ['docs.read'], ...entitlement } }
  const story = await tellStory(house, of)
  await story.signIn()
  return story
}

const PAYMENT = { type: 'payment', actions: ['initiate', 'cancel'], locations: [RESOURCE] }
const ask = (story: Story, details: unknown, more: object = {}) =>
  story.exchange({ authorization_details: JSON.stringify(details), ...more })

/** What an ID-JAG and the answer around it say was granted. */
function granted(answer: Answer) {
  assert.equal(answer.status, 200, answer.text)
  const claim = decodeJwt(answer.body.access_token).authorization_details
  assert.deepEqual(answer.body.authorization_details, claim)
  return claim
}

async function allow(story: Story, refused: Answer) {
  const page = await story.browser.get(new URL(refused.body.interaction_uri).pathname)
  const choice = { decision: 'allow', mode: 'always', scope: 'docs.read' }
  const decided = await story.browser.submit(page, choice)
  assert.equal(decided.status, 200, decided.text)
  return page.text
}

const asked = (story: Story, details: unknown, reason: string) =>
  assertRefusal(house, () => ask(story, details), [400, 'interaction_required', reason])

test('details are asked of the user in the words of their type, and granted as shown (TX-14, TX-15)', async () => {
  const story = await newStory()
  const page = await allow(story, await asked(story, [PAYMENT], 'no_delegation'))
  assert.ok(page.includes('Pay in your name'))
  assert.ok(page.includes('initiate'))
  assert.deepEqual(granted(await ask(story, [PAYMENT])), [PAYMENT])
})

test('they are narrowed to what was delegated, and more is asked of the user (GR-04)', async () => {
  const story = await newStory()
  const initiate = { ...PAYMENT, actions: ['initiate'] }
  await allow(story, await asked(story, [initiate], 'no_delegation'))
  assert.deepEqual(granted(await ask(story, [PAYMENT])), [initiate])
  await asked(story, [{ ...PAYMENT, actions: ['cancel'] }], 'details_not_delegated')
  await asked(story, [{ ...PAYMENT, amount: 7 }], 'details_not_delegated')
  await asked(story, [{ type: 'account' }], 'details_not_delegated')
  const plain = await story.exchange()
  assert.equal(plain.status, 200, plain.text)
  assert.equal('authorization_details' in decodeJwt(plain.body.access_token), false)
})

test('a delegation of scopes alone gives no details (GR-04)', async () => {
  const story = await newStory()
  await story.delegate()
  await asked(story, [PAYMENT], 'details_not_delegated')
})

const REFUSED = 'invalid_authorization_details'

test('a type is known for the resource asked for, or it is not granted (TX-15)', async () => {
  const story = await newStory()
  const transfer = [{ type: 'transfer' }]
  await assertRefusal(house, () => ask(story, [{ type: 'unheard-of' }]), [
    400,
    REFUSED,
    'details_unknown_type',
  ])
  await assertRefusal(house, () => ask(story, [PAYMENT, { type: 'unheard-of' }]), [
    400,
    REFUSED,
    'details_unknown_type',
  ])
  await assertRefusal(house, () => ask(story, transfer, { resource: RESOURCE }), [
    400,
    REFUSED,
    'details_not_entitled',
  ])
  await assertRefusal(house, () => ask(story, [{ ...PAYMENT, locations: [FILES] }]), [
    400,
    REFUSED,
    'details_not_entitled',
  ])
})

test('an entitlement may leave types out (TX-12, TX-15)', async () => {
  const story = await newStory({ authorization_details_types: ['account'] })
  await assertRefusal(house, () => ask(story, [PAYMENT]), [400, REFUSED, 'details_not_entitled'])
  await allow(story, await asked(story, [PAYMENT, { type: 'account' }], 'no_delegation'))
  assert.deepEqual(granted(await ask(story, [PAYMENT, { type: 'account' }])), [{ type: 'account' }])
})

test('where an administrator consents for all, whatever is entitled is granted', async () => {
  const story = await newStory({ consent: 'admin', authorization_details_types: ['payment'] })
  assert.deepEqual(granted(await ask(story, [PAYMENT, { type: 'account' }])), [PAYMENT])
  await entitle(house, story.agent, story.audience, {
    scopes: ['docs.read'],
    consent: 'admin',
    authorization_details_types: [],
  })
  await assertRefusal(house, () => ask(story, [PAYMENT]), [400, REFUSED, 'details_not_entitled'])
})

test('locations come back in the spelling of the audience (TX-11)', async () => {
  const story = await newStory({ consent: 'admin' })
  const spelled = { ...PAYMENT, locations: ['HTTPS://API.paperclip.example', FILES] }
  assert.deepEqual(granted(await ask(story, [spelled])), [PAYMENT])
})

test('details that would not fit into an ID-JAG are refused as such (IJ-17)', async () => {
  const story = await newStory({ consent: 'admin' })
  await ask(story, [PAYMENT])
  await assertRefusal(house, () => ask(story, [{ type: 'payment', note: 'x'.repeat(7900) }]), [
    400,
    REFUSED,
    'details_too_large',
  ])
})

for (const [what, text] of [
  ['an object', '{}'],
  ['a string', '"payment"'],
  ['a list of strings', '["payment"]'],
  ['an entry without a type', '[{"actions":["read"]}]'],
  ['an entry whose type is a number', '[{"type":1}]'],
  ['half a list', '[{"type":"payment"}'],
  ['a list too long', JSON.stringify(Array.from({ length: 21 }, () => ({ type: 'payment' })))],
] as const) {
  test(`${what} is no authorization_details (TV-81, TX-15)`, async () => {
    const story = await newStory()
    await story.delegate()
    await assertRefusal(house, () => story.exchange({ authorization_details: text }), [
      400,
      REFUSED,
      'details_malformed',
    ])
  })
}

test('a wrong target is told before wrong details (TX-60)', async () => {
  const story = await newStory()
  await assertRefusal(
    house,
    () => story.exchange({ authorization_details: '{}', audience: 'https://nowhere.example' }),
    [400, 'invalid_target', 'unknown_audience'],
  )
})

test('an issuance keeps the types of what it granted, and nothing that a user wrote (design §2)', async () => {
  const story = await newStory({ consent: 'admin' })
  const answer = await ask(story, [PAYMENT, { type: 'account', identifier: 'DE89 3704' }])
  const { jti } = decodeJwt(answer.body.access_token)
  const { text, body } = await house.admin('GET', `/issuances?jti=${jti}`)
  assert.deepEqual(body.data[0].authorization_details_types, ['payment', 'account'])
  assert.equal(text.includes('DE89'), false)
})
