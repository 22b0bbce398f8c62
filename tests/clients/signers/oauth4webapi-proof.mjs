// docs: begin
import { createPrivateKey, webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const { AQUILA_URL, AQUILA_CALLER, AQUILA_PRIVATE_KEY } = process.env
const der = createPrivateKey(readFileSync(AQUILA_PRIVATE_KEY)).export({ type: 'pkcs8', format: 'der' })
const rs256 = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
const key = await webcrypto.subtle.importKey('pkcs8', der, rs256, false, ['sign'])

const issuer = new URL(AQUILA_URL)
const found = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' })
const server = await oauth.processDiscoveryResponse(issuer, found)
const client = { client_id: AQUILA_CALLER }
const proof = oauth.PrivateKeyJwt(key)
const answer = await oauth.clientCredentialsGrantRequest(server, client, proof, new URLSearchParams())
const token = await oauth.processClientCredentialsResponse(server, client, answer)
// docs: end

console.log(JSON.stringify({ access_token: token.access_token }))
