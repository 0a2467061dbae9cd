/**
 * What was read to know which rows to take, in the order of locks, was another thing once they were taken.
 * Whoever asks again finds it settled: the code is that of PostgreSQL's own such failure.
 */
export class ChangedMeanwhile extends Error {
  readonly code = '40001'
}
