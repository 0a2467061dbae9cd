import { type Kysely, sql } from 'kysely'

/** Whoever delivers events is woken when one is queued, and finds what is due by audience. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of STATEMENTS) await sql.raw(statement).execute(db)
}

const STATEMENTS = [
  // Once for a statement, however many events it queues, and heard when its transaction commits.
  `create function wake_event_deliveries() returns trigger language plpgsql as $$
    begin
      notify event_deliveries;
      return null;
    end $$`,
  `create trigger event_deliveries_wake after insert on event_deliveries
    for each statement execute function wake_event_deliveries()`,

  // Which audiences wait, and of each the event that is due first: an audience with thousands hides no other.
  `create index event_deliveries_waiting on event_deliveries (audience_id, next_attempt_at)
    where status = 'queued'`,

  // What administrators look for, and what metrics count.
  `create index event_deliveries_of_user on event_deliveries (user_id, created_at, id)`,
  `create index event_deliveries_of_audience on event_deliveries (audience_id, created_at, id)`,
  `create index event_deliveries_unaccepted on event_deliveries (status, created_at, id)
    where status <> 'delivered'`,
  `create index event_deliveries_accepted on event_deliveries (audience_id, delivered_at)
    where status = 'delivered'`,
]
