// Proxies that the environment names are not asked, and get no credentials (DR-34).
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import http from 'node:http'
import net from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { listen } from '../support/listeners.ts'

const OUTBOUND = pathToFileURL(join(import.meta.dirname, '../../src/http/outbound.ts')).href

/** What a process of its own says, for Node.js reads this part of the environment at its start. */
async function ask(url: string, environment: NodeJS.ProcessEnv, ...options: string[]) {
  const program = `
    import { createOutbound } from ${JSON.stringify(OUTBOUND)}
    const lookup = async () => ['127.0.0.1']
    const outbound = createOutbound({ allow: [], allowLoopbackHttp: true, lookup })
    const { json } = await outbound.getJson(process.argv[1], { maxBytes: 100 })
    console.log(JSON.stringify(json))`
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...options, '--input-type=module', '--eval', program, url],
    { env: { PATH: process.env.PATH, ...environment } },
  )
  return JSON.parse(stdout)
}

for (const [how, options, more] of [
  ['in the environment', [], {}],
  ['that Node.js is told to use', [], { NODE_USE_ENV_PROXY: '1' }],
  ['that Node.js is told to use by an option', ['--use-env-proxy'], {}],
] as const) {
  test(`a proxy ${how} is not asked (DR-34)`, async (t) => {
    const proxy = await listen(
      t,
      net.createServer((socket) => socket.destroy()),
    )
    const heads: http.IncomingHttpHeaders[] = []
    const service = http.createServer((request, response) => {
      heads.push(request.headers)
      response.end('{"here":true}')
    })
    const { port } = await listen(t, service)
    const address = `http://user:secret@127.0.0.1:${proxy.port}`
    const names = ['http_proxy', 'https_proxy', 'all_proxy', 'npm_config_proxy']
    const proxies = Object.fromEntries(
      names.flatMap((name) => [name, name.toUpperCase()].map((one) => [one, address])),
    )
    const environment = { ...proxies, ...more, NO_PROXY: '', no_proxy: '' }
    const url = `http://service.example:${port}/`
    assert.deepEqual(await ask(url, environment, ...options), { here: true })
    assert.equal(proxy.connections, 0)
    assert.equal(heads.length, 1)
    assert.equal(heads[0]?.['proxy-authorization'], undefined)
    assert.equal(heads[0]?.authorization, undefined)
  })
}
