import { type Kysely, sql } from 'kysely'

/**
 * What the documents of an audience say that was found by discovery. Beside its row, for that is compared at
 * every mint and must not change each time the documents are read again.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const STATEMENTS = [
  `create table audience_discoveries (
    audience_id   text primary key,
    tenant_id     text not null,
    -- Where it began.
    url           text not null check (url <> ''),
    -- As last read, with the address and the time of each.
    documents     jsonb not null check (jsonb_typeof(documents) = 'array'),
    -- What of them the record goes by.
    found         jsonb not null check (jsonb_typeof(found) = 'object'),
    -- Since when that is approved.
    approved_at   timestamptz,
    -- What awaits approval.
    pending       jsonb check (jsonb_typeof(pending) = 'object'),
    -- The audience is suspended because of it, and by no administrator.
    stopped       boolean not null default false,
    flags         text[] not null default '{}',
    read_at       timestamptz not null,
    expires_at    timestamptz not null,
    -- Since the last reading that succeeded.
    failures      integer not null default 0 check (failures >= 0),
    last_failure  text,
    failed_at     timestamptz,
    asked_at      timestamptz not null,
    next_read_at  timestamptz not null,
    -- Until then somebody is reading.
    claimed_until timestamptz,
    check (approved_at is not null or pending is not null),
    check (not stopped or pending is not null),
    foreign key (audience_id, tenant_id) references audiences (id, tenant_id))`,
  'create index audience_discoveries_next on audience_discoveries (next_read_at)',
  'create index audience_discoveries_pending on audience_discoveries (audience_id) where pending is not null',
]
