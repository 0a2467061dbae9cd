import assert from 'node:assert/strict'
import type { Answer } from './house.ts'

/** That the admin door refused with this code, about this member if one is given. */
export function assertRefused(
  answer: Answer,
  status: number,
  code: string,
  pointer?: string,
): void {
  assert.equal(answer.status, status, answer.text)
  assert.equal(answer.body.type, `/problems/${code}`)
  assert.equal(answer.body.status, status)
  assert.match(String(answer.headers['content-type']), /^application\/problem\+json/)
  if (pointer !== undefined) assert.equal(answer.body.errors?.[0].pointer, pointer, answer.text)
}
