/**
 * Tells the story on the terminal. What is secret is masked here and nowhere else: members by their name,
 * and whatever is shaped like a token wherever it stands. What is shown of tokens, the ID-JAG and the event, is
 * shown decoded and without its signature.
 */
import { styleText } from 'node:util'
import { decodeJwt, decodeProtectedHeader } from 'jose'

export type Story = ReturnType<typeof createStory>

const HIDDEN = '<hidden>'
const SECRET = new Set([
  'access_token',
  'assertion',
  'authorization',
  'client_assertion',
  'client_secret',
  'code',
  'code_verifier',
  'csrf',
  'id_token',
  'password',
  'refresh_token',
  'subject_token',
])

export function createStory(write: (line: string) => void) {
  let number = 0
  let current = ''
  const line = (text = '', indent = 0) => write(`${' '.repeat(indent)}${text}`)
  const members = (of: Record<string, unknown>) => {
    for (const [name, value] of Object.entries(of)) line(`${name}: ${shown(name, value)}`, 6)
  }

  return {
    /** The step that is being told, for whoever has to say which one failed. */
    current: () => current,
    step(title: string) {
      number += 1
      current = `${number}. ${title}`
      line()
      line(styleText('bold', current))
    },
    request(method: string, url: URL | string, sent: Record<string, unknown> = {}) {
      const { pathname, origin, searchParams } = new URL(url)
      line(styleText('cyan', `→ ${method} ${origin}${pathname}`), 3)
      members({ ...Object.fromEntries(searchParams), ...sent })
    },
    answer(status: number, got: Record<string, unknown> = {}) {
      line(styleText(status < 400 ? 'green' : 'yellow', `← ${status}`), 3)
      members(got)
    },
    /** Where a redirect leads, with what it carries away from its own site. */
    redirect(status: number, from: URL, to: URL) {
      line(styleText('green', `← ${status}, on to ${to.origin}${to.pathname}`), 3)
      if (to.origin !== from.origin) members(Object.fromEntries(to.searchParams))
    },
    decoded(what: string, jws: string) {
      line(`${what}, decoded:`, 3)
      for (const part of [decodeProtectedHeader(jws), decodeJwt(jws)]) {
        for (const row of JSON.stringify(part, null, 2).split('\n')) line(row, 6)
      }
    },
    note: (text: string) => line(text, 3),
    line,
  }
}

function shown(name: string, value: unknown): string {
  if (SECRET.has(name.toLowerCase())) return HIDDEN
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.replace(/eyJ[\w-]+\.[\w-]+\.[\w-]*/g, HIDDEN)
}
