// docs: begin
import { setTimeout as sleep } from 'node:timers/promises'
import jsforce from 'jsforce'

const { AQUILA_URL, AQUILA_KEY } = process.env

async function broker(path, more) {
  const headers = { authorization: `Bearer ${AQUILA_KEY}` }
  const answer = await fetch(AQUILA_URL + path, { headers, signal: AbortSignal.timeout(15_000), ...more })
  if (!answer.ok) throw new Error(`the broker answers ${path} with status ${answer.status}`)
  return answer
}

const ask = async () => (await broker('/token')).json()

// A report is answered when it has been looked into. A second one within 30 s has to wait for its turn.
async function another(refused) {
  for (const pause of [0, 5, 30]) {
    await sleep(pause * 1000)
    await broker('/revoke', { method: 'POST', body: new URLSearchParams({ token: refused }) })
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
