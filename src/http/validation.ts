import { Ajv2020, type Options } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import type { FastifyInstance } from 'fastify'

const settings: Options = {
  allErrors: false,
  strict: false,
  useDefaults: true,
  // What is said of a fault depends on the value; it stays with the error, and goes into no answer and no log.
  verbose: true,
}
const addFormats = formats.default

/**
 * Bodies are taken as they are: never coerced, trimmed or stripped. Paths and query strings are text by
 * nature, so numbers in them are read as numbers.
 */
export function useValidation(app: FastifyInstance): void {
  const exact = new Ajv2020({ ...settings, coerceTypes: false })
  const fromText = new Ajv2020({ ...settings, coerceTypes: true })
  addFormats(exact)
  addFormats(fromText)
  app.setValidatorCompiler(({ schema, httpPart }) =>
    (httpPart === 'body' ? exact : fromText).compile(schema as object),
  )
}
