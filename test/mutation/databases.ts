import pg from 'pg'
import type { TestServer } from '../support/test-server.ts'

/** The databases of one worker: a template of its own, whose copies can be told from those of the others. */
export type Databases = {
  /** What a test file finds its server by. */
  server: string
  /** Drops what test files left behind that were not let finish. */
  clear(): Promise<void>
}

export async function openDatabases(server: TestServer, worker: string): Promise<Databases> {
  const mine = server.template.replace(/template$/, worker)
  const template = `${mine}_template`
  await query(server, `create database ${template} template ${server.template}`)
  return {
    server: JSON.stringify({ url: server.url, template }),
    async clear() {
      const { rows } = await query(
        server,
        'select datname from pg_database where starts_with(datname, $1) and datname <> $2',
        [`${mine}_`, template],
      )
      for (const { datname } of rows) {
        const drop = `drop database if exists ${datname}`
        // A vacuum that the server runs by itself is not ours to end by force: without, it is asked to go.
        await query(server, `${drop} with (force)`).catch(() => query(server, drop))
      }
    },
  }
}

async function query(server: TestServer, statement: string, values: string[] = []) {
  const client = new pg.Client(server.url)
  await client.connect()
  try {
    return await client.query<{ datname: string }>(statement, values)
  } finally {
    await client.end()
  }
}
