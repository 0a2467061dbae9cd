/**
 * Seconds that an attempt may be under way: longer than the guarded way out lets it take.
 */
const UNDER_WAY = 30

/**
 * A condition in SQL: this row of event_deliveries keeps mints for the subject waiting (EV-14). A late event would
 * end what a new ID-JAG has just been traded for. One that was sent again by hand does so only while an attempt
 * is under way: a newer consent drops it, and its first delivery is long over.
 *
 * The app knows `sub` and `aud`, and not by which of our audiences: one that was retired, with another registered in
 * its place, is the same to it.
 * @param of the tenant, the issuer of the audience, the asserted subject and the agent, as SQL; of several, who act for one
 *   another, `any(…)`: an event about one of them ends what it had a part in
 */
export const holdsMintsUp = (
  row: string,
  of: { tenant: string; aud: string; sub: string; agent: string },
): string =>
  `${row}.aud = ${of.aud} and ${row}.sub = ${of.sub} and ${row}.status = 'queued'
    and ${row}.tenant_id = ${of.tenant}
    and (${row}.agent_id is null or ${row}.agent_id = ${of.agent})
    and (${row}.resent_at is null or (${row}.outcome_unknown
      and ${row}.last_attempt_at > now() - interval '${UNDER_WAY} seconds'))`
