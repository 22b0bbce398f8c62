// docs: begin
import { setTimeout as sleep } from 'node:timers/promises'
import jsforce from 'jsforce'

const { AQUILA_URL, AQUILA_KEY } = process.env

async function ask() {
  const headers = { authorization: `Bearer ${AQUILA_KEY}` }
  const answer = await fetch(`${AQUILA_URL}/token`, { headers, signal: AbortSignal.timeout(15_000) })
  if (!answer.ok) throw new Error(`no token: status ${answer.status}`)
  return answer.json()
}

// The broker looks into a token when somebody comes back for it within 5 s, beside its answer; but once in 30 s at most,
// and somebody else may have come a moment ago. So: twice in quick succession, and again when those are over.
async function another(refused) {
  for (const pause of [0, 1, 2, 4, 24, 4, 4]) {
    await sleep(pause * 1000)
    const { access_token } = await ask()
    if (access_token !== refused) return access_token
  }
  throw new Error('Salesforce refuses the token, and the broker has no other')
}

const { instance_url, access_token } = await ask()
const salesforce = new jsforce.Connection({
  instanceUrl: instance_url,
  accessToken: access_token,
  refreshFn: ({ accessToken }, done) => another(accessToken).then((token) => done(null, token), done),
})
// docs: end

import { tell } from './through-a-death.mjs'

await tell(salesforce, access_token)
