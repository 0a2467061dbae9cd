import { type Kysely, sql } from 'kysely'

/** Keys that end in an emergency, and which keys signed the ID tokens of a grant. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const STATEMENTS = [
  `alter table signing_keys
     -- The longest that anything it signs lives, in seconds. Null: before this was written down.
     add column token_lifetime    integer check (token_lifetime > 0),
     add column compromised_at    timestamptz,
     add column compromise_reason text check (compromise_reason <> ''),
     -- Until what rested on the key has ended, or was signed anew, this is null.
     add column cleared_at        timestamptz`,
  `create index signing_keys_uncleared on signing_keys (kid)
     where status = 'compromised' and cleared_at is null`,

  // Null: begun before this was written down.
  `alter table refresh_token_families add column id_token_kids text[]`,
]
