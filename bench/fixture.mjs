/**
 * Fills the agent-idp at ISSUER and prints a fixture: what any load generator needs to exchange its ID tokens.
 * ISSUER (or PORT, on loopback), ADMIN_API_KEY; BENCH_CASES, 200 unless set. Its secrets are as good as real.
 */
import { enrol } from './agent-idp.ts'

const { ADMIN_API_KEY, BENCH_CASES = '200', PORT = '4000' } = process.env
const { ISSUER = `http://127.0.0.1:${PORT}` } = process.env
if (!ADMIN_API_KEY) throw new Error('ADMIN_API_KEY is not set')
process.stdout.write(JSON.stringify(await enrol(ISSUER, ADMIN_API_KEY, Number(BENCH_CASES))))
