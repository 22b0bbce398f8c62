// docs: begin
import { createPrivateKey, webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as client from 'openid-client'

const { AQUILA_URL, AQUILA_CALLER, AQUILA_PRIVATE_KEY } = process.env
const der = createPrivateKey(readFileSync(AQUILA_PRIVATE_KEY)).export({ type: 'pkcs8', format: 'der' })
const rs256 = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
const key = await webcrypto.subtle.importKey('pkcs8', der, rs256, false, ['sign'])

const server = new URL(AQUILA_URL)
const proof = client.PrivateKeyJwt(key)
const config = await client.discovery(server, AQUILA_CALLER, undefined, proof, { algorithm: 'oauth2' })
const token = await client.clientCredentialsGrant(config)
// docs: end

console.log(JSON.stringify({ access_token: token.access_token }))
