import assert from 'node:assert/strict'
import { test } from 'node:test'
import Fastify, { type FastifyBaseLogger } from 'fastify'
import { createLogger, observeRequests } from '../../src/http/logging.ts'
import { createMetrics } from '../../src/http/metrics.ts'
import { openHouse } from '../support/house.ts'

const pool = { totalCount: 5, idleCount: 3, waitingCount: 2 }

const lines = async (metrics: ReturnType<typeof createMetrics>) =>
  (await metrics.expose()).body.split('\n').filter((line) => line && !line.startsWith('#'))

test('what was issued and refused is counted by words from closed sets', async () => {
  const metrics = createMetrics({ pool })
  metrics.issued('mcp-ema')
  metrics.issued('mcp-ema')
  metrics.issued('idjag')
  metrics.refused('invalid_target', 'no_entitlement')
  metrics.refused('invalid_target', 'unknown_audience')
  const said = await lines(metrics)
  for (const line of [
    'issuances_total{profile="mcp-ema"} 2',
    'issuances_total{profile="idjag"} 1',
    'refusals_total{error="invalid_target",reason="no_entitlement"} 1',
    'refusals_total{error="invalid_target",reason="unknown_audience"} 1',
  ]) {
    assert.ok(said.includes(line), line)
  }
})

test('requests are measured by method, route and class of status', async () => {
  const metrics = createMetrics({ pool })
  metrics.answered('POST', '/oauth2/token', 200, 0.004)
  metrics.answered('POST', '/oauth2/token', 201, 0.2)
  metrics.answered('POST', '/oauth2/token', 400, 0.001)
  const said = await lines(metrics)
  const of = (status: string) => `{method="POST",route="/oauth2/token",status="${status}"}`
  assert.ok(said.includes(`http_request_duration_seconds_count${of('2xx')} 2`))
  assert.ok(said.includes(`http_request_duration_seconds_count${of('4xx')} 1`))
  assert.ok(
    said.includes(
      'http_request_duration_seconds_bucket{le="0.005",method="POST",route="/oauth2/token",status="2xx"} 1',
    ),
  )
})

test('pools, lag, memory and the event loop are read when scraped', async () => {
  const counts = { ...pool }
  const metrics = createMetrics({
    pool: counts,
    hot: { totalCount: 4, idleCount: 4, waitingCount: 0 },
  })
  metrics.unsealed(12, 3.5)
  counts.waitingCount = 9
  const said = await lines(metrics)
  for (const line of [
    'pg_pool_connections{pool="pool",state="waiting"} 9',
    'pg_pool_connections{pool="hot",state="idle"} 4',
    'audit_unsealed_rows 12',
    'audit_unsealed_oldest_seconds 3.5',
  ]) {
    assert.ok(said.includes(line), line)
  }
  for (const name of [
    'process_memory_bytes{kind="resident"}',
    'nodejs_eventloop_lag_seconds{quantile="0.99"}',
    'nodejs_eventloop_utilization',
    'process_cpu_seconds_total',
  ]) {
    const value = Number(said.find((line) => line.startsWith(name))?.split(' ')[1])
    assert.ok(value >= 0, name)
  }
})

test('two servers in one process count apart', async () => {
  const [one, other] = [createMetrics({ pool }), createMetrics({ pool })]
  one.issued('idjag')
  assert.equal(
    (await lines(other)).some((line) => line.startsWith('issuances_total')),
    false,
  )
})

test('a path that a stranger made up becomes no label', async () => {
  const metrics = createMetrics({ pool })
  const log: FastifyBaseLogger = createLogger({ logLevel: 'silent', logFormat: 'json' })
  const app = Fastify({ loggerInstance: log })
  observeRequests(app, metrics)
  app.get('/agents/:id', async () => ({}))
  await app.inject('/agents/agt_1?secret=x')
  await app.inject('/agents/agt_2')
  await app.inject('/wp-login.php')
  await app.inject({ method: 'PROPFIND', url: '/agents/agt_2' })
  const counts = (await lines(metrics)).filter((line) => line.includes('_count{'))
  assert.deepEqual(counts.sort(), [
    'http_request_duration_seconds_count{method="GET",route="/agents/:id",status="2xx"} 2',
    'http_request_duration_seconds_count{method="GET",route="none",status="4xx"} 1',
    'http_request_duration_seconds_count{method="PROPFIND",route="none",status="4xx"} 1',
  ])
})

test('a whole server measures its requests', async (t) => {
  const house = await openHouse(t)
  await house.admin('GET', '/audit-events')
  const said = await lines(house.deps.metrics)
  assert.ok(
    said.includes(
      'http_request_duration_seconds_count{method="GET",route="/admin/v1/audit-events",status="2xx"} 1',
    ),
  )
})
