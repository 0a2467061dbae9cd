/** Keys in a token: SoftHSM, which is software, behind the same interface as hardware. */

import { openCustody } from '../../src/keys/pkcs11-custody.ts'
import { keepsTheContract } from '../support/custody-contract.ts'
import { makeToken } from '../support/soft-hsm.ts'

keepsTheContract(
  async (t) => {
    const custody = await openCustody(makeToken(t).setting)
    t.after(() => custody.close())
    return custody
  },
  { ends: true },
)
