/** How those in the story talk to one another: by HTTP, each request and its answer told as it goes. */
import type { Story } from './print.ts'
import type { RelyingApp } from './relying-app.ts'

export type Scene = { issuer: string; adminKey: string; app: RelyingApp }
export type Json = Record<string, unknown>
export type Answer = { status: number; body: Json }

/** A step did not do what it should. */
export class StepFailed extends Error {
  override name = 'StepFailed'
}

export function expect(right: boolean, otherwise: string): asserts right {
  if (!right) throw new StepFailed(otherwise)
}

export type Admin = (method: string, path: string, body?: Json, show?: string[]) => Promise<Json>

export function createAdmin(story: Story, { issuer, adminKey }: Scene): Admin {
  return async (method, path, body, show = ['id', 'status']) => {
    const authorization = `Bearer ${adminKey}`
    const { status, body: answer } = await send(story, method, `${issuer}/admin/v1${path}`, {
      headers: { authorization, ...(body && { 'content-type': 'application/json' }) },
      shown: { authorization, ...body },
      ...(body && { body: JSON.stringify(body) }),
      show: [...show, 'detail'],
    })
    expect(status < 300, `${method} ${path} answered ${status}: ${answer.detail ?? ''}`)
    return answer
  }
}

export const postForm = (
  story: Story,
  url: string,
  fields: Record<string, string>,
  basic?: string,
) =>
  send(story, 'POST', url, {
    headers: basic === undefined ? {} : { authorization: basic },
    body: new URLSearchParams(fields),
    shown: basic === undefined ? fields : { authorization: basic, ...fields },
  })

/** Sends and tells. `show` names the members of the answer that are worth a line; all of them without it. */
export async function send(
  story: Story,
  method: string,
  url: string,
  sending: {
    headers: Record<string, string>
    body?: string | URLSearchParams
    shown: Json
    show?: string[]
  },
): Promise<Answer> {
  story.request(method, url, sending.shown)
  const { headers, body } = sending
  const answer = await fetch(url, { method, headers, redirect: 'error', ...(body && { body }) })
  const text = await answer.text()
  const got = readJson(text)
  const told = Object.entries(got).filter(([name]) => sending.show?.includes(name) ?? true)
  const found = Array.isArray(got.data) ? { found: got.data.length } : {}
  story.answer(answer.status, { ...found, ...Object.fromEntries(told) })
  return { status: answer.status, body: got }
}

function readJson(text: string): Json {
  try {
    return text === '' ? {} : JSON.parse(text)
  } catch {
    throw new StepFailed('the answer is not JSON')
  }
}
