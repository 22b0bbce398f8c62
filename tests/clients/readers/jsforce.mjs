const { AQUILA_URL, AQUILA_CALLER, AQUILA_KEY, QUERY } = process.env
// docs: begin
import jsforce from 'jsforce'

const salesforce = new jsforce.Connection({
  oauth2: { loginUrl: AQUILA_URL, clientId: AQUILA_CALLER, clientSecret: AQUILA_KEY },
})
await salesforce.authorize({ grant_type: 'client_credentials' })
const { records } = await salesforce.query(QUERY)
// jsforce reads CSV into one object for each row.
const rows = await salesforce.request(records[0].LogFile)
// docs: end

console.log(JSON.stringify({ id: records[0].Id, rows }))
