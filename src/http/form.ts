import type { FastifyInstance } from 'fastify'

/** A form's fields: a string, or all its values in order where a field was repeated. */
export type FormFields = Record<string, string | string[]>

/** Largest form that is read, in bytes: a token exchange with two 16 KiB tokens and room to spare. */
export const FORM_LIMIT = 64 * 1024

/** Reads `application/x-www-form-urlencoded` and nothing else. An empty value counts as omitted (TX-02). */
export function readForms(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: FORM_LIMIT },
    (_request, body, done) => done(null, parseForm(String(body))),
  )
}

/** Fields of a form body. Has no prototype, so that a field named `__proto__` is a field like any other. */
export function parseForm(body: string): FormFields {
  const fields: FormFields = Object.create(null)
  for (const [name, value] of new URLSearchParams(body)) {
    if (value === '') continue
    const earlier = fields[name]
    if (earlier === undefined) fields[name] = value
    else if (Array.isArray(earlier)) earlier.push(value)
    else fields[name] = [earlier, value]
  }
  return fields
}

/** The query of a request's address, read as a form is. */
export function readQuery(url: string): FormFields {
  const start = url.indexOf('?')
  return parseForm(start < 0 ? '' : url.slice(start + 1))
}

/** The same fields, written as a query or a body. */
export function writeForm(fields: FormFields): string {
  const body = new URLSearchParams()
  for (const [name, values] of Object.entries(fields)) {
    for (const value of [values].flat()) body.append(name, value)
  }
  return body.toString()
}
