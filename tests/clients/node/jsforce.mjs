// docs: begin
import jsforce from 'jsforce'

const { AQUILA_URL, AQUILA_CALLER, AQUILA_KEY } = process.env
const salesforce = new jsforce.Connection({
  oauth2: { loginUrl: AQUILA_URL, clientId: AQUILA_CALLER, clientSecret: AQUILA_KEY },
})
await salesforce.authorize({ grant_type: 'client_credentials' })
const limits = await salesforce.request('/services/data/v60.0/limits')
// docs: end

if (!limits.DailyApiRequests) throw new Error('no limits came back')
// jsforce reads no `expires_in`: it keeps the token until Salesforce refuses it.
console.log(JSON.stringify({ access_token: salesforce.accessToken, seconds_left: null }))
