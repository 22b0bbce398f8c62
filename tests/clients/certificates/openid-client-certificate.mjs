// docs: begin
import { readFileSync } from 'node:fs'
import * as client from 'openid-client'
import * as undici from 'undici'

const { AQUILA_URL, AQUILA_CALLER, AQUILA_CERTIFICATE, AQUILA_CERTIFICATE_KEY, NODE_EXTRA_CA_CERTS } = process.env
const files = { ca: NODE_EXTRA_CA_CERTS, cert: AQUILA_CERTIFICATE, key: AQUILA_CERTIFICATE_KEY }
const connect = Object.fromEntries(Object.entries(files).map(([name, path]) => [name, readFileSync(path)]))
const dispatcher = new undici.Agent({ connect })
const byCertificate = (url, options) => undici.fetch(url, { ...options, dispatcher })
const config = await client.discovery(new URL(AQUILA_URL), AQUILA_CALLER, undefined, client.TlsClientAuth(), {
  algorithm: 'oauth2',
  [client.customFetch]: byCertificate,
})
config[client.customFetch] = byCertificate
const token = await client.clientCredentialsGrant(config)
// docs: end

const methods = config.serverMetadata().token_endpoint_auth_methods_supported
if (!methods.includes('tls_client_auth')) throw new Error(`the metadata has ${methods}`)
console.log(JSON.stringify({ access_token: token.access_token }))
await dispatcher.close()
