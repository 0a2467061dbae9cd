import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../src/config.ts'
import { inWords } from '../src/operator-words.ts'

const fault = (members: object, error = new Error('as PostgreSQL says it')) =>
  inWords(Object.assign(error, members))

test('a database that does not answer is told of, by one address or several', () => {
  for (const words of [
    fault({ code: 'ECONNREFUSED', syscall: 'connect' }),
    fault({ code: 'ETIMEDOUT', syscall: 'connect' }),
    fault({ code: 'ENOTFOUND', syscall: 'getaddrinfo' }),
    fault({ code: 'ECONNREFUSED' }, new AggregateError([])),
  ]) {
    assert.match(words ?? '', /^the database does not answer \(E[A-Z]+\): check DATABASE_URL$/)
  }
})

test('a database that refuses is quoted, and for a role without rights there is a remedy', () => {
  for (const code of ['28P01', '28000', '3D000', '53300', '57P03']) {
    assert.equal(fault({ code }), 'the database refused: as PostgreSQL says it')
  }
  for (const code of ['42501', '3F000']) {
    assert.match(fault({ code }) ?? '', /as PostgreSQL says it.*run npm run migrate/)
  }
})

test('what was written for the operator is told as it is, and what nobody thought of not at all', () => {
  assert.equal(inWords(new ConfigError('PORT must be a number')), 'PORT must be a number')
  assert.equal(fault({}), undefined)
  assert.equal(fault({ code: 'EADDRINUSE', syscall: 'listen' }), undefined)
})
