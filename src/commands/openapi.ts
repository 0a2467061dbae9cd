/** Writes docs/openapi.json, which the server serves and a test compares. */
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { apiDocument } from './api-document.ts'

const path = fileURLToPath(new URL('../../docs/openapi.json', import.meta.url))
const document = await apiDocument()
await writeFile(path, `${JSON.stringify(document, null, 2)}\n`)
console.log(`Wrote ${path}: ${Object.keys(document.paths).length} paths.`)
