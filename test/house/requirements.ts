/** Ids of the protocol reference: what docs/protocol.md answers for, and how binding each is there. */

export type Level = 'MUST' | 'SHOULD' | 'MAY'

/** A prohibition counts as a MUST, and advice against something as a SHOULD. */
const IDS: Record<Level, string> = {
  MUST: `
    FL-01…FL-04 FL-06
    TX-01…TX-05 TX-07…TX-09 TX-11…TX-28 TX-40…TX-42 TX-44 TX-50…TX-53 TX-60…TX-62
    CA-01…CA-03 CA-06 SM-01 SM-02 SM-04
    IJ-01…IJ-08 IJ-11…IJ-13 IJ-15 IJ-17 IJ-18 IJ-30…IJ-36 IJ-40…IJ-43 IJ-50…IJ-57 IJ-70 IJ-72 IJ-73
    DP-01…DP-05 DP-07…DP-12 DP-15 DP-20…DP-22
    GR-01…GR-08 GR-10
    DS-01…DS-03 DS-05…DS-07 DS-11 DS-12 DS-20…DS-23 DS-25…DS-27 DS-29
    DS-40…DS-44 DS-48 DS-49 DS-51
    DR-01 DR-02 DR-04…DR-07 DR-09 DR-20 DR-21 DR-23 DR-30…DR-36 DS-60 DS-61
    EV-01…EV-07 EV-10 EV-12…EV-15 EV-30…EV-34 OP-01…OP-06 OP-08…OP-10 OP-20…OP-28 SE-01…SE-15`,
  SHOULD: `
    FL-05 TX-43 TX-54 CA-05 CA-07 SM-03 IJ-09 IJ-10 IJ-38 IJ-59 IJ-71 DP-13 GR-09
    DS-04 DS-10 DS-24 DS-28 DS-45…DS-47 DR-08 DR-10 DR-22 DR-24 EV-11 EV-35 OP-07`,
  MAY: `
    TX-06 TX-10 TX-29 TX-30 TX-63 CA-04 IJ-14 IJ-16 IJ-37 IJ-58 DP-06 DP-14
    DS-13 DS-50 DR-03 EV-20 OP-29 OP-30`,
}

/** Of every one of these the document says what we do, or why we do not. */
const COMPLETE = /^(FL|TX|CA|SM|IJ|DP|GR|DR|EV)-|^DS-[456]/

const VECTORS = 'TV-01…TV-06 TV-10…TV-43 TV-50…TV-86 TV-90…TV-100 TV-103'

export const levels: ReadonlyMap<string, Level> = new Map(
  (['MUST', 'SHOULD', 'MAY'] as const).flatMap((level) =>
    idsIn(IDS[level]).map((id) => [id, level] as const),
  ),
)

export const complete: readonly string[] = [...levels.keys()].filter((id) => COMPLETE.test(id))

export const vectors: readonly string[] = idsIn(VECTORS)

/** The ids that a text names; `TX-26…TX-28` and `TX-26 to TX-28` are three. */
export function idsIn(text: string): string[] {
  return [...text.matchAll(/\b([A-Z]{2})-(\d{2,3})\b(?:(?:…| to )\1-(\d{2,3})\b)?/g)].flatMap(
    ([, letters, from, to = from]) => {
      const first = Number(from)
      return Array.from(
        { length: Number(to) - first + 1 },
        (_, index) => `${letters}-${String(first + index).padStart(2, '0')}`,
      )
    },
  )
}
