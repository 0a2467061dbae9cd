import type { Deps } from '../deps.ts'
import type { Knowledge } from '../policy/decide.ts'
import type { ActorFacts, Authentication, UserFacts } from '../policy/facts.ts'
import type { Facts } from './facts.ts'

/** Whom it is about and how they proved who they are, be it by a token or for the sake of argument. */
type About = Authentication & { user: UserFacts }

/** What the policy is told: the exchange and the explanation of it put it together here, from the same records. */
export const knowledge = (
  { config }: Pick<Deps, 'config'>,
  { audience, entitlement, delegation, account, block, agent }: Facts,
  about: About,
  actors: readonly ActorFacts[],
  jkt: string | undefined,
): Knowledge => ({
  agent: { client_metadata_url: agent?.client_metadata_url ?? null },
  user: about.user,
  audience,
  entitlement,
  delegation,
  account,
  block,
  actors,
  authentication: about,
  jkt,
  lifetime: config.idJagLifetime,
})
