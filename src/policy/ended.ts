/** Whether the end of a record has come; one without an end has none. */
export const hasEnded = ({ expires_at }: { expires_at: Date | null }, now: Date): boolean =>
  expires_at !== null && expires_at <= now
