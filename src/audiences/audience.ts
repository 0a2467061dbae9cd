import type { AudienceResource, Row } from '../db/tables.ts'
import { describeDiscovered, describePending, type ShownDiscovery } from './discovered.ts'
import type { GivenDetailsType } from './resource-schema.ts'
import type { Audience } from './schema.ts'

/** With what has a table of its own: its aliases, and what is known by its documents. */
export type AudienceRow = Row<'audiences'> & {
  aliases: string[]
  discovery: ShownDiscovery | null
}

/** An audience as the API shows it. */
export const describeAudience = ({ discovery, ...row }: AudienceRow): Audience => ({
  ...row,
  discovered: discovery && describeDiscovered(discovery),
  // Retired is final: nobody approves anything of it any more.
  pending_change:
    discovery?.pending && row.status !== 'retired' ? describePending(discovery.pending) : null,
  resources: row.resources.map(({ authorization_details_types: types, ...resource }) => ({
    ...resource,
    ...(types && { authorization_details_types: types.map(shownType) }),
  })),
})

type DetailsType = NonNullable<AudienceResource['authorization_details_types']>[number]

/** However it was written, a type is kept in one form and shown in the shortest that says all of it. */
export const readType = (given: GivenDetailsType): DetailsType =>
  typeof given === 'string' ? { type: given } : given

const shownType = (kept: DetailsType): GivenDetailsType =>
  kept.description === undefined ? kept.type : kept
