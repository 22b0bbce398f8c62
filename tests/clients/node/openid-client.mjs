// docs: begin
import * as client from 'openid-client'

const { AQUILA_URL, AQUILA_CALLER, AQUILA_KEY } = process.env
const server = new URL(AQUILA_URL)
const config = await client.discovery(server, AQUILA_CALLER, AQUILA_KEY, undefined, { algorithm: 'oauth2' })
const token = await client.clientCredentialsGrant(config)
// docs: end

console.log(JSON.stringify({ access_token: token.access_token, seconds_left: token.expiresIn() }))
