/** What each pattern of the schemas means, for whoever sent something else; a test looks that none is left out. */
import { LINE_PATTERN, LINES_PATTERN } from '../oauth/plain-text.ts'
import { SCOPE_TOKEN_PATTERN } from '../oauth/scope.ts'

export const PATTERN_WORDS: Record<string, string> = {
  [SCOPE_TOKEN_PATTERN]: 'must be a scope name: ASCII without spaces, quotes and backslashes',
  [LINE_PATTERN]:
    'must be one line of text that is not blank, without characters that control or turn it',
  [LINES_PATTERN]: 'must be text that is not blank, without characters that control or turn it',
  '^[^\\p{Cc}]*$': 'must be without control characters',
  '^[^\\p{Cc}\\p{Cs}]{1,255}$': 'must be 1 to 255 characters, without control characters',
  '^[\\x20-\\x7e]+$': 'must be printable ASCII',
  '^[\\x21-\\x7e]+$': 'must be printable ASCII without spaces',
  '^\\+[1-9][0-9]{6,14}$': 'must be a phone number in E.164 form, such as +4915123456789',
  '^[^\\s@\\p{Cc}\\p{Cf}]+@[^\\s@\\p{Cc}\\p{Cf}]+$': 'must be an e-mail address',
}
