/**
 * Events tell a relying app that what it gave on the word of our ID-JAGs is to be dropped. This room owns
 * their outbox; what ends, and when, is decided elsewhere (revoke/, keys/).
 *
 *             ┌─ accepted ──────────────→ delivered
 *   queued ───┼─ refused for good, 72 h → failed ── sent again by hand → queued
 *             └─ a newer consent ───────→ superseded
 *
 *  1. An event is queued in the transaction that gives rise to it: neither is without the other.
 *  2. It is signed once, and each attempt sends these very bytes (EV-12). It gets another `jti`, and the one
 *     before is kept, where a key was compromised (sign-anew.ts) or where §6.3 of the protocol asks for it.
 *  3. Whoever works on a queued event holds its row; whoever else comes by leaves it out.
 *  4. The key of a queued event stays published (key-queries.ts): what it signed may be read until then.
 *  5. What was accepted is never undone: who wants it told once more has another event made (resend.ts).
 */

/** Seconds after which an event that nobody accepted is given up (EV-11). */
export const GIVE_UP_AFTER = 72 * 3600
