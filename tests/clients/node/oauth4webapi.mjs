// docs: begin
import * as oauth from 'oauth4webapi'

const { AQUILA_URL, AQUILA_CALLER, AQUILA_KEY } = process.env
const issuer = new URL(AQUILA_URL)
const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' })
const server = await oauth.processDiscoveryResponse(issuer, found)

const client = { client_id: AQUILA_CALLER }
const proof = oauth.ClientSecretBasic(AQUILA_KEY)
const answer = await oauth.clientCredentialsGrantRequest(server, client, proof, new URLSearchParams())
const token = await oauth.processClientCredentialsResponse(server, client, answer)
// docs: end

console.log(JSON.stringify({ access_token: token.access_token, seconds_left: token.expires_in }))
